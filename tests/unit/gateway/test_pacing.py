from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.pacing import Pacing
from gateway.sharing import Sharing
from router_core.policy import Policy, SpendCeiling
from router_core.ports import Pull
from router_core.record import recompute, to_record
from tests.fakes.contexts import context, served, services
from tests.unit.router_core.builders import NOW, without_exploration

HOURLY = Policy(ceilings={"balanced": SpendCeiling(usd_per_hour=1.0)})
START = 1_790_000_000.0 // 3600 * 3600


def pacing(policy: Policy = HOURLY, now: float = START) -> Pacing:
    return Pacing(lambda: policy, lambda: now)


def overspend(desk: Pacing, until: float = 1800.0, usd: float = 0.02, policy: str = "balanced") -> None:
    for second in range(0, int(until), 5):
        desk.factors(START + second)
        desk.spend(policy, START + second, usd)


def exchange(one: Pacing, other: Pacing, held: dict[str, dict[str, float]], levels: dict[str, float]) -> None:
    for desk in (one, other):
        sums, maxima = desk.collect()
        for key, fields in sums.items():
            total = held.setdefault(key, {"usd": 0.0, "n": 0.0})
            for name, value in fields.items():
                total[name] += value
        levels |= {key: max(value, levels.get(key, 0.0)) for key, value in maxima.items()}
    for desk in (one, other):
        desk.apply(held, levels)


def test_without_a_ceiling_nothing_is_kept():
    desk = pacing(Policy())
    desk.spend("balanced", START, 5.0)
    assert desk.factors(START) == {}
    assert desk.collect() == ({}, {})
    assert desk.rows() == []


def test_spending_too_fast_multiplies_the_cost_weight_of_that_policy_only():
    other = pacing()
    overspend(other, policy="quality")
    assert other.factors(START + 1800.0) == {}
    desk = pacing(now=START + 1800.0)
    overspend(desk)
    assert desk.factors(START + 1800.0)["balanced"] > 5.0
    (row,) = desk.rows()
    assert row["spent_usd"] == pytest.approx(7.2)
    assert row["cost_factor"] == pytest.approx(desk.factors(START + 1800.0)["balanced"], rel=0.01)
    assert (row["policy"], row["period_s"], row["ceiling_usd"]) == ("balanced", 3600.0, 1.0)


def test_of_two_ceilings_the_tighter_one_counts():
    both = Policy(ceilings={"balanced": SpendCeiling(usd_per_hour=1.0, usd_per_day=1000.0)})
    desk, hourly = pacing(both), pacing()
    overspend(desk)
    overspend(hourly)
    assert desk.factors(START + 1800.0) == hourly.factors(START + 1800.0)
    assert len(desk.rows()) == 2


def test_two_workers_keep_one_ceiling_together():
    one, other, alone = pacing(), pacing(), pacing()
    held: dict[str, dict[str, float]] = {}
    levels: dict[str, float] = {}
    for second in range(0, 1800, 5):
        for desk in (one, other, alone):
            desk.factors(START + second)
        (one if second % 10 else other).spend("balanced", START + second, 0.02)
        alone.spend("balanced", START + second, 0.02)
        exchange(one, other, held, levels)
    found = [desk.factors(START + 1800.0)["balanced"] for desk in (one, other, alone)]
    assert found[0] == pytest.approx(found[1])
    assert found[0] == pytest.approx(found[2], rel=0.1)
    fresh = pacing()
    fresh.apply(held, levels)
    assert fresh.factors(START + 1800.0)["balanced"] == pytest.approx(found[0], rel=0.1)


def test_what_is_pending_stays_on_top_of_totals_and_foreign_keys_are_left_alone():
    desk = pacing()
    desk.spend("balanced", START, 0.25)
    ((key, _),) = desk.collect()[0].items()
    desk.spend("balanced", START + 1.0, 0.5)
    desk.apply(
        {key: {"usd": 2.0, "n": 3.0}, "row|acme/m1|*": {"n": 1.0}, "pace|x": {}, "pace|60|1~2~|gone": {"usd": 9.0}}, {}
    )
    assert desk.rows()[0]["spent_usd"] == pytest.approx(2.5)


def test_a_reload_that_changes_the_ceiling_keeps_what_was_spent():
    held: dict[str, Any] = {"policy": HOURLY}
    desk = Pacing(lambda: held["policy"], lambda: START + 10.0)
    desk.spend("balanced", START, 0.5)
    held["policy"] = HOURLY.replace(ceilings={"balanced": SpendCeiling(usd_per_hour=2.0, usd_per_day=9.0)})
    rows = {row["period_s"]: row for row in desk.rows()}
    assert (rows[3600.0]["ceiling_usd"], rows[3600.0]["spent_usd"]) == (2.0, 0.5)
    assert rows[86_400.0]["spent_usd"] == 0.0


def test_a_decision_carries_the_weight_it_was_made_with_and_can_be_made_again():
    parts = services(policy=without_exploration().replace(ceilings={"balanced": SpendCeiling(usd_per_day=0.001)}))
    policy = parts.config.current.policy
    parts.pacing = Pacing(lambda: policy, parts.steady)
    before = context(parts)
    assert before.decision.weights.cost == 1.0
    for _ in range(50):
        parts.pacing.finished(before, SimpleNamespace(at=NOW, cost_usd=0.01))  # type: ignore[arg-type]
    parts.pacing._until = 0.0
    ctx = context(parts)
    decision = ctx.decision
    assert decision.weights.cost > 1.2
    assert to_record(ctx.routing, decision)["weights"]["cost"] == decision.weights.cost
    for item in decision.ranking:
        weights = [getattr(decision.weights, name) for name in item.terms._fields]
        total = sum(weight * term for weight, term in zip(weights, item.terms, strict=True))
        assert item.score == pytest.approx(total * item.adjustment)
    assert recompute(to_record(ctx.routing, decision), parts.config.current.registry, policy) == decision


def test_the_exchange_carries_ceilings():
    parts = services(policy=HOURLY)
    parts.pacing = Pacing(lambda: HOURLY, parts.steady)
    ctx = context(parts)
    parts.pacing.finished(ctx, served(ctx))
    (batch,) = Sharing(parts).collect()
    other = services(policy=HOURLY)
    other.pacing = Pacing(lambda: HOURLY, other.steady)
    Sharing(other).apply(Pull("c", batch.sums, batch.maxima))
    assert other.pacing.rows() == parts.pacing.rows()
    assert other.pacing.rows()[0]["spent_usd"] == pytest.approx(ctx.spent_usd)
