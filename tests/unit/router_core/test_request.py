from __future__ import annotations

from typing import Any

import pytest

from router_core.deployment import Capability
from router_core.errors import RequestError
from router_core.request import Hints, RoutingRequest
from router_core.task import TaskType
from tests.unit.router_core.builders import request

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_quality", 1.1),
        ("min_quality", NAN),
        ("max_cost_usd", 0.0),
        ("max_cost_usd", INFINITE),
        ("max_latency_ms", -1.0),
        ("max_price_prompt", NAN),
        ("max_price_completion", -0.5),
    ],
)
def test_a_hint_out_of_range_is_refused_by_name(field: str, value: float):
    with pytest.raises(RequestError, match=field) as caught:
        Hints(**{field: value})
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"input_tokens": -1}, None), ({"max_output_tokens": 0}, "max_tokens"), ({"n": 0}, "n")],
)
def test_a_count_that_cannot_be_is_refused(changes: dict[str, Any], param: str | None):
    with pytest.raises(RequestError) as caught:
        request(**changes)
    assert caught.value.param == param


def test_the_library_s_entrance_takes_plain_values():
    made = RoutingRequest.of(
        task="testing",
        needs={"tools", Capability.VISION},
        only=["acme"],
        exclude=["beta"],
        max_cost_usd=0.5,
        min_quality=0.4,
        max_latency_ms=900,
        prefer="acme",
        policy="cost",
        diversity=True,
        stream=True,
        max_output_tokens=64,
    )
    assert made.profile.task is TaskType.TESTING
    assert made.needs == {Capability.TOOLS, Capability.VISION}
    assert made.hints == Hints(
        policy="cost",
        min_quality=0.4,
        max_cost_usd=0.5,
        max_latency_ms=900,
        prefer="acme",
        only=("acme",),
        exclude=("beta",),
        diversity=True,
    )
    assert (made.stream, made.max_output_tokens, made.input_tokens, made.model) == (True, 64, 500, "auto")


@pytest.mark.parametrize("values", [{"task": "poetry"}, {"needs": {"telepathy"}}])
def test_the_library_s_entrance_refuses_words_nobody_knows(values: dict[str, Any]):
    with pytest.raises(RequestError, match="is not a valid"):
        RoutingRequest.of(**values)
