from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.outcome import Feedback, Reward, Usage
from router_core.task import TaskType
from tests.fakes.outcomes import attempt
from tests.fakes.outcomes import request as finished

NAN = float("nan")
counts = st.integers(0, 10**9)
usages = st.builds(Usage, counts, counts, counts, counts, counts, st.booleans())


@given(usages, usages)
def test_usage_adds_kind_by_kind(a: Usage, b: Usage):
    both = a + b
    assert both == b + a
    assert both.total == a.total + b.total
    assert (both.prompt, both.completion) == (a.prompt + b.prompt, a.completion + b.completion)
    assert both.estimated == (a.estimated or b.estimated)


def test_the_five_kinds_are_disjoint():
    usage = Usage(1, 20, 300, 4000, 50000)
    assert (usage.prompt, usage.completion, usage.total) == (321, 54000, 54321)


@pytest.mark.parametrize("kind", ["input", "cached_input", "cache_write", "output", "reasoning"])
def test_no_kind_of_usage_is_negative(kind: str):
    with pytest.raises(ValueError, match="negative"):
        Usage(**{kind: -1})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"score": 1.5}, "score"),
        ({"score": NAN}, "score"),
        ({"rating": 0}, "rating"),
        ({"rating": 6}, "rating"),
        ({"outcome": "splendid"}, "success, partial or failure"),
        ({}, "at least one of"),
    ],
)
def test_feedback_says_something_and_stays_in_its_ranges(values: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        Feedback("d-1", 0.0, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"score": 0.0},
        {"rating": 5},
        {"outcome": "partial"},
        {"pr_merged": True},
        {"pr_reverted": True},
        {"label": "wrong language"},
        {"correction": "print(2)"},
    ],
)
def test_one_signal_is_enough_for_feedback(values: dict[str, Any]):
    assert Feedback("d-1", 0.0, **values).has_signal


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"value": 1.1}, "reward must"),
        ({"value": NAN}, "reward must"),
        ({"value": 0.5, "weight": 0.0}, "weight"),
        ({"value": 0.5, "weight": 1.5}, "weight"),
    ],
)
def test_a_reward_and_its_weight_stay_in_their_ranges(values: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        Reward("acme/m1", TaskType.ANALYSIS, 0.0, **values)


def test_an_attempt_without_a_failure_went_well():
    assert attempt().ok
    assert not attempt(failure="server").ok


def test_a_request_went_well_when_somebody_served_it():
    assert finished(attempt()).ok
    assert not finished(attempt(failure="server")).ok
    assert not finished(attempt(), status=499).ok
