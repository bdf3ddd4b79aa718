"""A decision's record holds all that it was made from: it can be decided again from the record alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from router_core.decision import Decision
from router_core.deployment import Capability
from router_core.policy import BreakerPolicy, ExplorationPolicy, Policy
from router_core.record import known_record, recompute, request_of, request_record, to_record
from router_core.registry import Registry
from router_core.request import Hints, Mode, RoutingRequest, StreamRecovery
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
)

EMPTY = Snapshot.empty()
SETUP = registry(
    {"id": "acme/m1", "fallbacks": ["gamma/m3"]}, "acme/m2", "beta/m1", "gamma/m3", routes=ROUTES, judges=["beta/m1"]
)


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def again(asked: RoutingRequest, decision: Decision, setup: Registry, policy: Policy) -> Decision:
    return recompute(through_json(to_record(asked, decision)), setup, policy)


@settings(max_examples=80)
@given(requests, recipes, seeds, policies, draws)
def test_a_decision_is_made_again_from_its_record(
    asked: RoutingRequest, recipe: Recipe, seed: int, policy: Policy, two: tuple[float, float]
):
    snapshot, setup = learned(recipe), registry_of(seed)
    decision = decide(asked, snapshot, setup, policy, NOW, Draws(*two))
    assert again(asked, decision, setup, policy) == decision


@given(requests)
def test_a_request_comes_back_from_its_record_without_its_text(asked: RoutingRequest):
    assert request_of(through_json(request_record(asked))) == asked


def test_a_request_with_everything_said_comes_back():
    asked = request(
        profile=TaskProfile(TaskType.TOOL_USE, 0.5, TaskType.TESTING, TaskType.PLANNING, ("tools are offered",)),
        needs=frozenset(Capability),
        mode=Mode.SYNTHESIZE,
        stream_recovery=StreamRecovery.CONTINUE,
        fallbacks=("beta/m1",),
        session="s-1",
        explain=True,
        require_parameters=True,
        features=object(),
    )
    plain = through_json(request_record(asked))
    assert "features" not in plain
    assert request_of(plain) == asked


def test_a_hinted_task_is_a_task_again():
    asked = RoutingRequest(TaskProfile(TaskType.TESTING), Hints(task=TaskType.TESTING))
    assert request_of(through_json(request_record(asked))).hints.task is TaskType.TESTING


TRYING = Policy(exploration=ExplorationPolicy(share=0.5, probe_share=0.0))
RESORTING = without_exploration(breaker=BreakerPolicy(last_resort=True))
DOWN = after(EMPTY, *[attempt(name, NOW, failure="not_found") for name in SETUP.deployments])


@pytest.mark.parametrize(
    ("asked", "snapshot", "policy", "two", "what"),
    [
        (request(), EMPTY, TRYING, (0.1, 0.5), {"explored": True, "chosen": "beta/m1"}),
        (request("by-weight"), EMPTY, Policy(), (0.4, 0.0), {"order": "weighted"}),
        (request("in-turn"), EMPTY, Policy(), (0.4, 0.0), {"order": "listed", "chosen": "gamma/m3"}),
        (request("acme/m1"), EMPTY, Policy(), (0.4, 0.0), {"chosen": "acme/m1", "fallbacks": ["gamma/m3"]}),
        (request(exclude=("acme",), min_quality=0.9), EMPTY, Policy(), (0.4, 0.0), {"chosen": None, "attempts": []}),
        (request(), DOWN, RESORTING, (0.4, 0.0), {"last_resort": True, "chosen": "acme/m1"}),
        (request(mode=Mode.VOTING), EMPTY, Policy(), (0.4, 0.0), {"legs": 3, "judge": None, "mode": "voting"}),
    ],
    ids=["explored", "weighted", "listed", "pinned", "refused", "last resort", "fan-out"],
)
def test_a_record_says_what_was_decided_and_decides_it_again(
    asked: RoutingRequest, snapshot: Snapshot, policy: Policy, two: tuple[float, float], what: dict[str, Any]
):
    decision = decide(asked, snapshot, SETUP, policy, NOW, Draws(*two))
    record = through_json(to_record(asked, decision))
    assert {name: record[name] for name in what} == what
    assert recompute(record, SETUP, policy) == decision


def test_a_record_keeps_every_term_and_every_fact_of_every_candidate():
    asked = request(min_quality=0.2)
    decision = decide(asked, EMPTY, SETUP, without_exploration(), NOW, Draws())
    record = to_record(asked, decision)
    assert len(record["candidates"]) == 4
    for written, candidate in zip(record["candidates"], decision.ranking, strict=True):
        facts = candidate.facts._asdict()
        assert written["terms"] == candidate.terms._asdict()
        assert written["facts"] == {**facts, "known": known_record(facts["known"])}
    assert record["expected_cost_usd"] == decision.attempts[0].expected_cost_usd


def test_a_refusal_keeps_its_rule_its_facts_and_when_to_come_back():
    troubled = after(EMPTY, attempt("acme/m1", NOW, failure="not_found"))
    asked = request(exclude=("beta",))
    record = to_record(asked, decide(asked, troubled, SETUP, without_exploration(), NOW, Draws()))
    by_name = {item["deployment"]: item for item in record["rejections"]}
    assert by_name["beta/m1"] == {"deployment": "beta/m1", "rule": "excluded", "detail": "excluded by the request"}
    assert by_name["acme/m1"]["retry_after_s"] == 600.0
    assert by_name["acme/m1"]["facts"]["breaker"] == "open"


def test_another_policy_can_be_asked_what_it_would_have_done():
    dear = {"input": 5000, "output": 9000}
    setup = registry(
        {"id": "acme/m1", "quality": {"default": {"mean": 0.9}}, "price_usd_per_mtok": dear},
        {"id": "beta/m1", "quality": {"default": {"mean": 0.2}}},
    )
    record = to_record(request(), decide(request(), EMPTY, setup, without_exploration(), NOW, Draws()))
    other = without_exploration(default_policy="cost")
    assert record["chosen"] == "acme/m1"
    assert recompute(record, setup, other).chosen == "beta/m1"


def test_a_deployment_that_is_gone_is_left_out():
    record = to_record(request(), decide(request(), EMPTY, SETUP, without_exploration(), NOW, Draws()))
    smaller = registry("acme/m2", "beta/m1")
    assert {item.deployment for item in recompute(record, smaller, without_exploration()).ranking} == {
        "acme/m2",
        "beta/m1",
    }
