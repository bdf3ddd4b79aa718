"""Anything a decision may have to deal with, for property tests."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

from hypothesis import strategies as st

from router_core.decision import Facts
from router_core.deployment import Capability
from router_core.outcome import AttemptOutcome, Reward
from router_core.policy import (
    BreakerPolicy,
    ExplorationPolicy,
    LearningPolicy,
    ParallelPolicy,
    Policy,
    RetryPolicy,
    ScoringPolicy,
    Weights,
)
from router_core.registry import Registry
from router_core.request import Hints, Mode, RoutingRequest
from router_core.snapshot import Snapshot
from router_core.task import TaskProfile, TaskType
from tests.fakes.outcomes import attempt
from tests.unit.router_core.builders import NOW, after, facts, registry

NAMES = ("acme/m1", "acme/m2", "beta/m1", "beta/m2#eu", "gamma/m3")
shares = st.floats(0.0, 1.0)
draws = st.tuples(st.floats(0.0, 1.0, exclude_max=True), st.floats(0.0, 1.0, exclude_max=True))
tasks = st.sampled_from(TaskType)
some_names = st.lists(st.sampled_from(NAMES), max_size=3, unique=True).map(tuple)
weights = st.builds(Weights, *(st.floats(0.0, 10.0),) * 7)
scorings = st.builds(
    ScoringPolicy, cost_scale_usd=st.floats(1e-6, 10.0), latency_scale_s=st.floats(1e-3, 1e3), neutral=shares
)


def any_facts(name: str = "acme/m1") -> st.SearchStrategy[Facts]:
    """Facts within their documented ranges, however unlikely."""
    return st.fixed_dictionaries(
        {
            "quality": shares,
            "expected_cost_usd": st.floats(0.0, 1e6),
            "learned": shares,
            "preference": shares,
            "performance": shares,
            "adjustment": st.floats(0.5, 2.0),
            "ramp": st.floats(0.01, 1.0),
        }
    ).map(lambda values: facts(name, **values))


hints = st.builds(
    Hints,
    policy=st.none() | st.sampled_from(["balanced", "quality", "cost", "speed"]),
    min_quality=st.none() | st.floats(0.0, 0.7),
    max_cost_usd=st.none() | st.floats(1e-4, 1.0),
    max_latency_ms=st.none() | st.floats(1.0, 1e5),
    prefer=st.none() | st.sampled_from(["acme", "beta inc", "nobody"]),
    only=st.just(()) | some_names,
    exclude=st.just(()) | st.just(()) | some_names,
    diversity=st.booleans(),
    fallbacks=st.none() | st.none() | some_names,
    mode=st.none() | st.sampled_from(Mode),
    critical=st.booleans(),
    order=st.just(()) | st.just(()) | some_names,
    max_price_prompt=st.none() | st.floats(0.5, 10.0),
    tags=st.just(("a", "b")),
)
requests = st.builds(
    RoutingRequest,
    st.builds(
        TaskProfile, tasks, shares, st.none() | tasks, st.none() | tasks, st.sampled_from([(), ("asks for tests", "Ü")])
    ),
    hints,
    st.sampled_from(["auto", "auto", "auto:cost", "m1", "acme/m1", "beta/m2#eu", "in-turn", "by-weight"]),
    st.integers(0, 120_000),
    st.none() | st.integers(1, 10_000),
    st.sampled_from([frozenset(), frozenset({Capability.STREAMING}), frozenset({Capability.TOOLS})]),
    st.booleans(),
    st.integers(1, 3),
    allowed_models=st.none() | st.just(frozenset({"acme", "m3"})),
    allowed_tasks=st.none() | st.just(frozenset({"analysis"})),
    recent_providers=st.sampled_from([(), ("acme",), ("acme", "beta")]),
    warm_tokens=st.sampled_from([{}, {"acme/m1": 900}]),
    warm_deployment=st.none() | st.just("acme/m1"),
    cost_factors=st.sampled_from([{}, {"balanced": 2.5}, {"balanced": 40.0, "cost": 1.5}]),
)
policies = st.builds(
    Policy,
    scoring=scorings,
    learning=st.builds(LearningPolicy, enabled=st.booleans()),
    exploration=st.builds(ExplorationPolicy, share=st.floats(0.0, 0.5), probe_share=st.floats(0.0, 0.5)),
    retry=st.builds(RetryPolicy, fallbacks=st.integers(0, 4)),
    breaker=st.builds(BreakerPolicy, last_resort=st.booleans()),
    parallel=st.builds(
        ParallelPolicy,
        width=st.integers(2, 4),
        trigger_tasks=st.sampled_from([(), ("analysis", "testing")]),
        trigger_critical=st.booleans(),
        trigger_min_quality=st.none() | shares,
        judges=some_names,
    ),
    version=st.just("p-1"),
)


ROUTES = {
    "in-turn": {"order": "listed", "deployments": ["gamma/m3", "acme/m1", "beta/m1"]},
    "by-weight": {"order": "weighted", "deployments": ["acme/m2", "beta/m1", "gamma/m3"]},
}


@cache
def registry_of(seed: int) -> Registry:
    """One of many registries over the same names; made once, because reading one costs more than a decision."""
    rng = Random(seed)

    def entry(name: str) -> dict[str, Any]:
        prices = {"input": rng.uniform(0, 20), "output": rng.uniform(0, 100), "cached_input": rng.uniform(0, 10)}
        plain: dict[str, Any] = {
            "id": name,
            "price_usd_per_mtok": {kind: rng.choice([price, price, 0.0]) for kind, price in prices.items()},
            "quality": {"default": {"mean": rng.random()}},
            "context_window": rng.randint(50_000, 200_000),
            "weight": rng.choice([0.0, 1.0, 2.5]),
            "capabilities": rng.choice([["streaming"], ["streaming", "tools"]]),
            "fallbacks": rng.sample([each for each in NAMES if each != name], rng.randint(0, 2)),
        }
        if rng.random() < 0.5:
            plain |= {"max_output_tokens": rng.randint(100, 8000), "latency_prior_s": rng.uniform(0.1, 60.0)}
        return plain

    return registry(*map(entry, NAMES), routes=ROUTES, judges=["gamma/m3"])


seeds = st.integers(0, 30)
outcomes: st.SearchStrategy[AttemptOutcome | Reward] = st.builds(
    attempt,
    st.sampled_from(NAMES),
    st.floats(NOW - 300.0, NOW),
    task=tasks,
    failure=st.none() | st.none() | st.sampled_from(["server", "rate_limited", "auth", "not_found"]),
    duration_s=st.floats(0.1, 60.0),
) | st.builds(Reward, st.sampled_from(NAMES), tasks, st.floats(NOW - 300.0, NOW), shares)


Recipe = list[tuple[AttemptOutcome | Reward, int]]
recipes: st.SearchStrategy[Recipe] = st.lists(st.tuples(outcomes, st.sampled_from([1, 6])), max_size=4)
"""Outcomes and how often each came in a row: bursts, so that circuits open."""


def learned(recipe: Recipe, policy: Policy | None = None) -> Snapshot:
    """What is known after some calls of varied luck."""
    snapshot = Snapshot.empty()
    for outcome, times in recipe:
        peers = [name for name in NAMES if name.startswith(outcome.deployment.partition("/")[0])]
        snapshot = after(snapshot, *[outcome] * times, peers=peers, policy=policy)
    return snapshot
