"""The live adjustment: unusual for itself, not bad as such. Made-up hours of traffic, folded under a made-up clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.known import live_adjustment
from router_core.outcome import AttemptOutcome
from router_core.policy import Policy, ScoringPolicy
from router_core.router import decide
from router_core.series import Series
from router_core.snapshot import Snapshot, increment
from tests.unit.router_core.builders import HOUR, NOW, Draws, after, answers, registry, request, without_exploration

POLICY = without_exploration()
SETUP = registry(
    {"id": "acme/m1", "quality": {"default": {"mean": 0.62, "weight": 10}}},
    {"id": "beta/m1", "quality": {"default": {"mean": 0.6, "weight": 10}}},
)


class Traffic:
    """Calls to both deployments, ten a minute, on a clock that only this test moves."""

    def __init__(self) -> None:
        self.now = NOW
        self.snapshot = Snapshot.empty()

    def run(self, hours: float, **acme: Any) -> None:
        minutes = int(hours * 60)
        for _ in range(minutes):
            self.call("beta/m1", {})
            self.call("acme/m1", acme)
            self.now += 60.0

    def call(self, name: str, changes: dict[str, Any]) -> None:
        changes = dict(changes)
        failing = changes.pop("failing", 0)
        broken: list[AttemptOutcome] = answers(name, failing, at=self.now, failure="stream_broken", **changes)
        good: list[AttemptOutcome] = answers(name, 10 - failing, at=self.now, **changes)
        # The circuit would open as well; what is looked at here is the score alone.
        found = (increment(outcome, POLICY) for outcome in broken + good)
        self.snapshot = self.snapshot.plus([each for each in found if each is not None], POLICY)

    def adjustment(self, name: str = "acme/m1") -> float:
        decision = decide(request(), self.snapshot, SETUP, POLICY, self.now, Draws())
        return next(item.adjustment for item in decision.ranking if item.deployment == name)

    def chosen(self) -> str | None:
        return decide(request(), self.snapshot, SETUP, POLICY, self.now, Draws()).chosen


def test_one_bad_hour_pulls_traffic_away_and_recovery_gives_it_back():
    traffic = Traffic()
    traffic.run(6)
    assert traffic.chosen() == "acme/m1"
    traffic.run(1, failing=4)
    assert traffic.adjustment() < 0.7
    assert traffic.chosen() == "beta/m1"
    traffic.run(0.5)
    assert traffic.adjustment() == pytest.approx(1.0, abs=0.1)
    traffic.run(2)
    assert traffic.chosen() == "acme/m1"


def test_a_slow_spell_pulls_down_and_passes():
    traffic = Traffic()
    traffic.run(12, duration_s=2.0)
    traffic.run(0.5, duration_s=8.0)
    assert traffic.adjustment() == pytest.approx(0.7, abs=0.05)
    traffic.run(0.5, duration_s=2.0)
    assert traffic.adjustment() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    "habit",
    [
        {"duration_s": 40.0},
        {"failing": 4},
        {"failing": 4, "cost_usd": 0.05},
        {"cost_usd": 1.0},
    ],
    ids=["slow", "failing", "paying for broken streams", "dear"],
)
def test_what_is_usual_for_a_deployment_is_not_counted_twice(habit: dict[str, Any]):
    """It pays for that once, in performance and cost; the adjustment asks only what is unusual."""
    traffic = Traffic()
    traffic.run(4, **habit)
    assert traffic.adjustment() == pytest.approx(1.0, abs=0.02)


# --- the formula

BASE = Series({"n": 100.0, "ok": 90.0, "dur": 180.0, "cost": 0.9}).summary
SCORING = ScoringPolicy()
counts, shares = st.floats(0.0, 1e6), st.floats(0.0, 1.0)
amounts = st.just(0.0) | st.floats(1e-6, 1e6)
bases = st.builds(
    lambda n, ok, dur, cost: Series({"n": n, "ok": n * ok, "dur": dur, "cost": cost}).summary,
    counts,
    shares,
    amounts,
    amounts,
)


def adjust(n: float = 100.0, success: float = 0.9, latency_s: float = 2.0, cost: float = 0.01) -> float:
    return live_adjustment(n, success, latency_s, cost, BASE, SCORING)


def test_nothing_unusual_changes_nothing():
    assert adjust() == pytest.approx(1.0)


@given(st.floats(0.0, 9.99), shares, amounts, amounts, bases)
def test_below_ten_requests_it_is_exactly_one(n: float, success: float, latency: float, cost: float, base: Any):
    assert live_adjustment(n, success, latency, cost, base, SCORING) == 1.0


@given(counts, shares, amounts, amounts, bases)
def test_it_stays_between_a_half_and_two(n: float, success: float, latency: float, cost: float, base: Any):
    assert 0.5 <= live_adjustment(n, success, latency, cost, base, SCORING) <= 2.0


@given(shares, shares, amounts, amounts, bases)
def test_it_grows_with_recent_success(one: float, other: float, latency: float, cost: float, base: Any):
    low, high = sorted((one, other))
    assert live_adjustment(50, low, latency, cost, base, SCORING) <= live_adjustment(
        50, high, latency, cost, base, SCORING
    )


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_it_falls_with_recent_latency_and_cost(one: float, other: float):
    low, high = sorted((one, other))
    assert adjust(latency_s=high) <= adjust(latency_s=low)
    assert adjust(cost=high) <= adjust(cost=low)


def test_latency_and_cost_alone_move_it_only_a_little():
    assert adjust(latency_s=1e6) == pytest.approx(0.7)
    assert adjust(latency_s=1e-6) == pytest.approx(1.3)
    assert adjust(cost=1e6) == pytest.approx(0.9)
    assert adjust(cost=1e-6) == pytest.approx(1.1)


def test_an_hour_without_answers_is_as_bad_as_it_gets():
    assert adjust(success=0.0, latency_s=0.0, cost=0.0) == 0.5


def test_the_operator_may_narrow_it():
    narrow = Policy().scoring.__class__(live_low=0.9, live_high=1.1)
    assert live_adjustment(100, 0.0, 2.0, 0.01, BASE, narrow) == 0.9


def test_old_trouble_has_left_the_window():
    snapshot = after(Snapshot.empty(), *answers("acme/m1", 30, at=NOW, failure="timeout", every=0.0))
    decision = decide(request("acme/m1"), snapshot, SETUP, POLICY, NOW + HOUR, Draws())
    assert decision.ranking[0].adjustment == 1.0
