from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.sequential import Interval, Moments, compare, interval


def moments(values: list[float]) -> Moments:
    found = Moments()
    for value in values:
        found = found.plus(value)
    return found


def test_mean_and_variance():
    found = moments([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.variance() == pytest.approx(1.0)
    assert Moments().mean == 0.0


def test_little_is_known_of_one_value_and_equal_ones_prove_little():
    assert moments([1.0]).variance() == 0.25
    assert moments([1.0]).variance(scale=2.0) == 1.0
    assert moments([1.0] * 100).variance() == pytest.approx(1e-4)
    assert moments([1.0] * 100).variance(scale=100.0) == pytest.approx(1.0)


@given(st.lists(st.floats(0, 1), max_size=30), st.lists(st.floats(0, 1), max_size=30))
def test_merging_is_measuring_together(a: list[float], b: list[float]):
    together, merged = moments(a + b), moments(a).merged(moments(b))
    assert merged.n == together.n
    assert merged.mean == pytest.approx(together.mean)
    assert merged.variance() == pytest.approx(together.variance(), abs=1e-9)


def test_an_interval_narrows_and_holds_its_mean():
    few, many = interval(moments([0.0, 1.0] * 10)), interval(moments([0.0, 1.0] * 1000))
    assert few.low < 0.5 < few.high
    assert many.high - many.low < few.high - few.low
    assert interval(moments([0.3])) == Interval(0.3, -math.inf, math.inf)


def test_the_formula_at_a_point_worked_out_by_hand():
    # s = 0.5, t = 1000, alpha = 0.05: r^2 = (-2 ln a + ln(-2 ln a + 1)) / 500
    found = moments([0.0, 1.0] * 500)
    r2 = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 500
    t = 1000
    width = math.sqrt(2 * (t * r2 + 1) / (t * t * r2) * math.log(math.sqrt(t * r2 + 1) / 0.05))
    low = 0.5 - math.sqrt(found.variance()) * width
    assert interval(found).low == pytest.approx(low)


def test_the_unit_of_measure_does_not_matter():
    rng = random.Random(4)
    a, b = [rng.uniform(1, 2) for _ in range(80)], [rng.uniform(2, 3) for _ in range(80)]
    small, large = (
        compare("b", moments([f * x for x in b]), moments([f * x for x in a]), unit=False) for f in (1e-6, 1e6)
    )
    assert small.decided
    assert large.decided
    assert small.low * 1e12 == pytest.approx(large.low)


def test_nothing_is_said_of_too_few():
    found = compare("b", moments([1.0]), moments([0.0] * 100))
    assert (found.difference, found.low, found.high) == (1.0, -math.inf, math.inf)
    assert not found.decided
    assert not compare("b", moments([1.0] * 100), moments([0.0])).decided


def test_a_difference_is_told_in_its_direction():
    better = compare("b", moments([0.0, 1.0, 1.0, 1.0] * 100), moments([0.0, 1.0] * 200))
    worse = compare("b", moments([0.0, 1.0] * 200), moments([0.0, 1.0, 1.0, 1.0] * 100))
    assert better.low > 0.0
    assert worse.high < 0.0
    assert better.low == pytest.approx(-worse.high)


def test_looking_after_every_value_rarely_creates_a_winner():
    rng = random.Random(11)
    false = 0
    for _ in range(120):
        a = b = Moments()
        for count in range(1, 300):
            a, b = a.plus(float(rng.random() < 0.7)), b.plus(float(rng.random() < 0.7))
            if count >= 50 and compare("b", b, a).decided:
                false += 1
                break
    assert false <= 12, "5 % of 120 are 6; twice as many is far out in the tail"
