from __future__ import annotations

import pytest

from router_core.errors import ConfigError
from router_core.pacing import Pace


def spend(pace: Pace, usd: float, seconds: int, start: int = 0) -> Pace:
    for second in range(start, start + seconds):
        pace = pace.after(float(second), usd)
    return pace


def test_within_the_ceiling_the_cost_weight_is_the_policy_s_own():
    assert spend(Pace.of(3600.0, 3600.0), 0.5, 1000).factor == 1.0


def test_spending_too_much_raises_the_cost_weight_until_it_falls():
    pace = Pace.of(3600.0, 3600.0)
    high = spend(pace, 3.0, 1800)
    assert high.factor > 2.0
    higher = spend(high, 3.0, 600, 1800)
    assert higher.factor > high.factor
    assert spend(higher, 0.1, 3600, 2400).factor < high.factor


def test_money_left_over_never_makes_cost_count_less_than_the_policy_says():
    assert spend(Pace.of(100.0, 60.0), 0.0, 600).factor == 1.0


def test_the_factor_is_bounded_and_time_that_stands_still_moves_nothing():
    pace = spend(Pace.of(1e-6, 10.0), 1000.0, 500)
    assert pace.factor == pytest.approx(1e6)
    again = pace.after(100.0, 0.0)
    assert again.log_factor == pace.log_factor


def test_a_controlled_spender_ends_near_its_ceiling():
    pace, total = Pace.of(100.0, 100.0), 0.0
    for second in range(400):
        spent = 4.0 / pace.factor  # demand that halves when cost counts twice
        total += spent if second >= 200 else 0.0
        pace = pace.after(float(second), spent)
    assert total / 200.0 == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("given", [(0.0, 1.0), (1.0, 0.0), (float("inf"), 1.0), (-1.0, 5.0)])
def test_ceilings_that_are_none_are_refused(given):
    with pytest.raises(ConfigError, match="spend ceiling"):
        Pace.of(*given) if given[1] else Pace(given[0], given[1])
