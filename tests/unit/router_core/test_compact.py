"""A record is stored as columns, and the whole record comes back from them: same keys, same order, same values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_core.compact import compact, expanded, known_row
from router_core.decision import Decision, Known
from router_core.policy import BreakerPolicy, Policy
from router_core.record import recompute, to_record
from router_core.registry import Registry
from router_core.request import Mode, RoutingRequest
from router_core.router import decide
from router_core.snapshot import Snapshot
from router_core.task import TaskProfile, TaskType
from tests.fakes.outcomes import attempt
from tests.unit.router_core.builders import NOW, Draws, after, registry, request, without_exploration
from tests.unit.router_core.strategies import (
    ROUTES,
    Recipe,
    draws,
    learned,
    policies,
    recipes,
    registry_of,
    requests,
    seeds,
    weights,
)

EMPTY = Snapshot.empty()
SETUP = registry(
    {"id": "acme/m1", "fallbacks": ["gamma/m3"]}, "acme/m2", "beta/m1", "gamma/m3", routes=ROUTES, judges=["beta/m1"]
)


def stored(asked: RoutingRequest, decision: Decision) -> dict[str, Any]:
    return dict(orjson.loads(orjson.dumps(compact(asked, decision))))


def comes_back(asked: RoutingRequest, decision: Decision) -> bool:
    """Whether the stored form yields the whole record to the byte."""
    return orjson.dumps(expanded(stored(asked, decision))) == orjson.dumps(to_record(asked, decision))


def decided(asked: RoutingRequest, setup: Registry = SETUP, snapshot: Snapshot = EMPTY, **policy: Any) -> Decision:
    return decide(asked, snapshot, setup, without_exploration(**policy), NOW, Draws())


@settings(max_examples=150)
@given(requests, recipes, seeds, policies, draws)
def test_the_whole_record_comes_back(
    asked: RoutingRequest, recipe: Recipe, seed: int, policy: Policy, two: tuple[float, float]
):
    setup = registry_of(seed)
    decision = decide(asked, learned(recipe), setup, policy, NOW, Draws(*two))
    assert comes_back(asked, decision)
    assert recompute(stored(asked, decision), setup, policy) == decision


@given(requests, weights, st.booleans())
def test_weights_and_modes_come_back(asked: RoutingRequest, found: Any, explored: bool):
    decision = decided(asked, registry_of(0))._replace(
        weights=found, mode=Mode.JUDGE, judge="beta/m1", explored=explored
    )
    assert comes_back(asked, decision)


TROUBLED = after(EMPTY, *[attempt(name, NOW, failure="not_found") for name in ("acme/m1", "gamma/m3")])


@pytest.mark.parametrize(
    ("asked", "snapshot", "rules"),
    [
        (request(exclude=("beta",)), TROUBLED, {"excluded", "breaker"}),
        (request(exclude=("acme",), min_quality=0.99), EMPTY, {"excluded", "quality"}),
        (request(only=("nobody",)), EMPTY, {"not_listed"}),
        (request(task=TaskType.TESTING, mode=Mode.VOTING, explain=True, session="s"), EMPTY, set()),
    ],
    ids=["facts and none", "nobody left", "no facts at all", "nobody refused"],
)
def test_refusals_come_back_with_their_facts_and_without(asked: RoutingRequest, snapshot: Snapshot, rules: set[str]):
    decision = decided(asked, snapshot=snapshot)
    assert rules <= {str(item.rule) for item in decision.rejections}
    assert comes_back(asked, decision)


def test_a_last_resort_stands_among_candidates_and_refusals():
    down = after(EMPTY, *[attempt(name, NOW, failure="not_found") for name in SETUP.deployments])
    decision = decided(request(), snapshot=down, breaker=BreakerPolicy(last_resort=True))
    assert decision.last_resort
    assert comes_back(request(), decision)


def test_a_profile_of_the_request_s_own_comes_back():
    asked, decision = request(), decided(request())
    other = replace(asked, profile=TaskProfile(TaskType.PLANNING, 0.25, evidence=("another",)))
    assert "profile" not in stored(replace(asked, profile=decision.profile), decision)["request"]
    assert comes_back(other, decision)


def test_what_is_whole_comes_back_as_it_is():
    whole = orjson.loads(orjson.dumps(to_record(request(), decided(request()))))
    assert expanded(whole) == whole
    assert expanded({"outcome": {}}) == {"outcome": {}}
    assert expanded(compact(request(), decided(request())))["candidates"] == whole["candidates"]


def test_what_stands_beside_the_decision_stays_in_its_place():
    document = {"id": "d", **stored(request(), decided(request())), "outcome": {"status": 200}}
    assert list(expanded(document)) == list(document)
    assert expanded(document)["outcome"] == {"status": 200}


def test_fields_of_another_version_are_read_by_their_names():
    document = stored(request(), decided(request()))
    facts, count = document["candidates"]["facts"], len(document["candidates"]["deployment"])
    facts["moon"] = list(range(count))
    del facts["ramp"]
    facts["known"]["fields"].insert(0, "star")
    for row in facts["known"]["rows"]:
        row.insert(0, "bright")
    document["request"]["hints"] = {"colour": "red"}
    record = expanded(document)
    assert [each["facts"]["moon"] for each in record["candidates"]] == list(range(count))
    assert "ramp" not in record["candidates"][0]["facts"]
    assert {each["facts"]["known"]["star"] for each in record["candidates"]} == {"bright"}
    assert record["candidates"][0]["facts"]["known"]["vendor"] == "acme inc"
    assert record["request"]["hints"]["colour"] == "red"


@pytest.mark.parametrize(
    "odd",
    [
        {"candidates": {}},
        {"candidates": {"deployment": ["a"]}},
        {"candidates": {"deployment": ["a"], "score": ["b"], "terms": {}, "facts": {}}},
    ],
)
def test_a_document_that_is_no_record_is_refused(odd: dict[str, Any]):
    with pytest.raises((KeyError, TypeError, ValueError)):
        expanded({**stored(request(), decided(request(only=("nobody",)))), "request": {}, **odd})


def test_what_is_known_may_be_written_in_another_form():
    decision = decided(request())
    document = compact(request(), decision, lambda known: [orjson.Fragment(orjson.dumps(known_row(k))) for k in known])
    assert orjson.loads(orjson.dumps(document)) == stored(request(), decision)


def test_a_row_has_all_that_is_known_but_the_names():
    known: Known = decided(request()).ranking[0].facts.known
    fields = stored(request(), decided(request()))["candidates"]["facts"]["known"]["fields"]
    assert dict(zip(fields, known_row(known), strict=True)) == {name: getattr(known, name) for name in fields}
    assert ["deployment", "provider", *fields] == list(Known.__dataclass_fields__)


def test_the_stored_form_is_less_than_half_of_the_whole():
    asked = request()
    decision = decided(asked, registry(*[f"acme/model-number-{n}" for n in range(10)]))
    assert 2.2 * len(orjson.dumps(compact(asked, decision))) < len(orjson.dumps(to_record(asked, decision)))
