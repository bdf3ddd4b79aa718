"""A deployment that evidence demoted, and one that is new, are probed; who became good gets its traffic back."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from router_core.outcome import Reward
from router_core.policy import ExplorationPolicy, LearningPolicy, Policy
from router_core.registry import Registry
from router_core.router import decide
from router_core.snapshot import Snapshot, fold
from router_core.task import TaskType
from tests.unit.router_core.builders import NOW, registry, request

TRY = ExplorationPolicy(share=0.01, probe_share=0.02)
POLICY = Policy(exploration=TRY, learning=LearningPolicy(half_life_h=168.0))
PRICES = {"price_usd_per_mtok": {"input": 0.1, "output": 0.2}}


def live(
    snapshot: Snapshot,
    setup: Registry,
    truth: dict[str, float],
    count: int,
    *,
    policy: Policy = POLICY,
    seed: int = 0,
    begin: float = NOW,
) -> tuple[Snapshot, Counter[str], Counter[str]]:
    """Serve requests, one a minute, each answer voted on; returns what was learned, who served, whose was probed."""
    rng = random.Random(seed)
    served: Counter[str] = Counter()
    probed: Counter[str] = Counter()
    for index in range(count):
        at = begin + 60.0 * index
        decision = decide(request(), snapshot, setup, policy, at, rng)
        assert decision.chosen is not None
        assert 0.0 < decision.propensity <= 1.0
        served[decision.chosen] += 1
        probed[decision.chosen] += decision.explored
        vote = Reward(decision.chosen, TaskType.ANALYSIS, at, float(rng.random() < truth[decision.chosen]))
        snapshot = fold(snapshot, vote, policy)
    return snapshot, served, probed


@pytest.mark.parametrize(
    "price", [PRICES, {"price_usd_per_mtok": {"input": 1.0, "output": 2.0}}], ids=["cheap", "dear"]
)
def test_a_demoted_deployment_that_became_good_gets_its_traffic_back(price):
    setup = registry({"id": "acme/m1", **price}, {"id": "beta/m1", **PRICES})
    demoted, served, probed = live(Snapshot.empty(), setup, {"acme/m1": 0.05, "beta/m1": 0.5}, 3000)
    assert served["acme/m1"] < 400
    assert 5 <= probed["acme/m1"] < 150
    truth = {"acme/m1": 0.95, "beta/m1": 0.5}
    healed, _, again = live(demoted, setup, truth, 9000, seed=1, begin=NOW + 180_000.0)
    assert again["acme/m1"] > 0
    _, served, _ = live(healed, setup, truth, 400, seed=2, begin=NOW + 720_000.0)
    assert served["acme/m1"] > 320


def test_without_exploration_it_never_does():
    setup = registry({"id": "acme/m1", **PRICES}, {"id": "beta/m1", **PRICES})
    off = Policy(exploration=ExplorationPolicy(share=0.0, probe_share=0.0), learning=POLICY.learning)
    demoted, _, _ = live(Snapshot.empty(), setup, {"acme/m1": 0.05, "beta/m1": 0.5}, 500, policy=off)
    _, served, probed = live(demoted, setup, {"acme/m1": 0.95, "beta/m1": 0.5}, 500, policy=off, begin=NOW + 30_000.0)
    assert served["acme/m1"] == 0
    assert not any(probed.values())


def test_a_new_deployment_with_a_modest_prior_is_tried_and_found_out():
    setup = registry(
        {"id": "acme/m1", "quality": {"default": {"mean": 0.7, "weight": 10}}, **PRICES},
        {"id": "beta/new", "quality": {"default": {"mean": 0.5, "weight": 10}}, **PRICES},
    )
    _, served, probed = live(Snapshot.empty(), setup, {"acme/m1": 0.7, "beta/new": 0.95}, 6000)
    assert probed["beta/new"] > 5
    assert served["beta/new"] > 2000
