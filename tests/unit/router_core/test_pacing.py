from __future__ import annotations

import math

import pytest

from router_core.errors import ConfigError
from router_core.pacing import LIMIT, PERIODS, SLICES, STEEPEST, Ceiling, Pace, Slice

DAY = PERIODS["day"]


def buy(pace: Pace, days: range, per_day: int, usd_at_factor_1: float, elasticity: float = 1.0, shape=lambda u: u):
    """Serve requests whose cost falls as cost counts more; returns what each day cost."""
    spent = []
    for day in days:
        total = 0.0
        for i in range(per_day):
            at = (day + shape(i / per_day)) * DAY
            usd = usd_at_factor_1 * pace.factor(at) ** -elasticity
            pace.spend(at, usd)
            total += usd
        spent.append(total)
    return spent


def test_within_the_ceiling_the_cost_weight_is_the_policy_s_own():
    pace = Pace(Ceiling(100.0, DAY))
    buy(pace, range(2), 500, 0.15)
    assert pace.factor(2 * DAY) == 1.0


def test_money_left_over_never_makes_cost_count_less_than_the_policy_says():
    pace = Pace(Ceiling(100.0, DAY))
    assert pace.factor(5 * DAY) == 1.0


@pytest.mark.parametrize(("demand", "elasticity"), [(3.0, 1.0), (10.0, 1.0), (3.0, 2.0), (1.2, 1.0), (3.0, 0.5)])
def test_a_spender_who_heeds_the_price_ends_at_the_ceiling(demand, elasticity):
    pace = Pace(Ceiling(100.0, DAY))
    spent = buy(pace, range(3), 960, demand * 100.0 / 960, elasticity)
    assert spent == pytest.approx([100.0] * 3, rel=0.03)


def test_after_a_day_seen_money_is_kept_for_the_hours_that_have_requests():
    pace = Pace(Ceiling(100.0, DAY))
    office = buy(pace, range(3), 960, 300.0 / 960, shape=lambda u: (8.0 + 10.0 * u) / 24.0)
    assert office[0] < 80.0
    assert office[1:] == pytest.approx([100.0, 100.0], rel=0.05)


def test_one_dear_request_is_no_trend_and_a_ceiling_nobody_heeds_is_bounded():
    pace = Pace(Ceiling(1.0, DAY))
    pace.spend(10.0, 50.0)
    assert 0.0 < math.log(pace.factor(20.0)) <= 12.0 * STEEPEST / SLICES + 1e-9
    spent = buy(pace, range(6), 192, 1000.0, elasticity=0.0)
    assert spent[-1] == pytest.approx(192_000.0)
    assert pace.factor(6 * DAY) == pytest.approx(math.exp(LIMIT))


def test_what_is_spent_counts_within_its_period_only_and_old_slices_are_forgotten():
    pace = Pace(Ceiling(10.0, 3600.0))
    pace.spend(100.0, 2.0)
    pace.spend(3000.0, 3.0)
    assert pace.spent(3599.0) == pytest.approx(5.0)
    assert pace.spent(3601.0) == 0.0
    pace.factor(3 * 3600.0)
    assert pace.slices == {}
    assert len(pace.began) <= 2 * SLICES


def test_workers_that_share_slices_and_levels_pace_alike():
    ceiling = Ceiling(10.0, 3600.0)
    alone, mine, other = Pace(ceiling), Pace(ceiling), Pace(ceiling)
    for second in range(0, 2000, 5):
        at = float(second)
        alone.factor(at)
        alone.spend(at, 0.1)
        taker, idle = (mine, other) if second % 10 else (other, mine)
        number = taker.spend(at, 0.1)
        idle.join(number, taker.slices[number], taker.began.get(number, 0.0))
        assert mine.factor(at + 1.0) == pytest.approx(other.factor(at + 1.0))
    assert mine.factor(2000.0) == pytest.approx(alone.factor(2000.0), rel=0.05)
    assert alone.factor(2000.0) > 2.0


def test_a_worker_that_starts_late_takes_up_the_level_it_is_told():
    pace, fresh = Pace(Ceiling(10.0, 3600.0)), Pace(Ceiling(10.0, 3600.0))
    for second in range(0, 1800, 5):
        pace.factor(float(second))
        pace.spend(float(second), 0.1)
    for number, held in pace.slices.items():
        fresh.join(number, held, pace.began.get(number, 0.0))
    assert fresh.factor(1800.0) == pytest.approx(pace.factor(1800.0))
    only_sums = Pace(Ceiling(10.0, 3600.0))
    for number, held in pace.slices.items():
        only_sums.join(number, held, 0.0)
    assert only_sums.factor(1800.0) == pytest.approx(pace.factor(1800.0), rel=0.05)


def test_a_level_is_joined_by_the_greater_one_and_bounded():
    pace = Pace(Ceiling(10.0, 3600.0))
    pace.join(0, Slice(0.1, 1.0), 3.0)
    pace.join(0, Slice(0.2, 2.0), 2.0)
    assert pace.began[0] == 3.0
    assert pace.slices[0] == Slice(0.2, 2.0)
    pace.join(0, Slice(0.2, 2.0), 1e9)
    assert pace.began[0] == LIMIT


@pytest.mark.parametrize("given", [(0.0, 1.0), (1.0, 0.0), (float("inf"), 1.0), (-1.0, 5.0)])
def test_ceilings_that_are_none_are_refused(given):
    with pytest.raises(ConfigError, match="spend ceiling"):
        Ceiling(*given)
