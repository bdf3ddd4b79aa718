from __future__ import annotations

import pytest

from router_core import errors
from router_core.errors import AttemptFailed, NoCandidate, RequestError, RouterError, UnknownModel
from router_core.outcome import FailureKind
from router_core.router import decide
from router_core.snapshot import Snapshot
from tests.unit.router_core.builders import NOW, Draws, failure, registry, request, without_exploration


def test_everything_raised_on_purpose_has_one_root_and_is_exported():
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, RouterError)}
    assert kinds == set(errors.__all__)


def test_the_tree_in_the_docstring_names_every_kind():
    drawn = errors.__doc__ or ""
    assert all(name in drawn for name in errors.__all__)


def test_a_request_error_names_the_field_it_is_about():
    error = UnknownModel("no such model", param="model")
    assert (str(error), error.message, error.param) == ("no such model", "no such model", "model")
    assert RequestError("odd").param is None


def test_a_failed_attempt_carries_its_failure():
    what = failure(FailureKind.SERVER, status=500)
    assert AttemptFailed(what).failure is what
    assert str(AttemptFailed(what)) == "server: it failed"


def test_no_candidate_carries_the_decision_that_explains_it():
    setup = registry({"id": "acme/m1", "enabled": False})
    decision = decide(request(), Snapshot.empty(), setup, without_exploration(), NOW, Draws())
    with pytest.raises(NoCandidate, match="no deployment") as caught:
        raise NoCandidate(decision)
    assert [item.rule for item in caught.value.decision.rejections] == ["disabled"]
