from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core import drift
from router_core.drift import BLOCK, NONE, WARM, Level, Rate, gain, recede, strength, upper

shares = st.floats(0.01, 0.9)


@given(shares, st.floats(0.0, 1.0), st.tuples(*[st.floats(0.0, 1e6)] * 3))
def test_while_hits_are_normal_evidence_grows_by_no_more_than_one_on_average(
    null: float, part: float, held: tuple[float, float, float]
):
    # E[M_t | M_{t-1}] <= M_{t-1} + 1 is what bounds the rate of false alarms.
    share = null * part
    hit, miss = gain(held, hit=True, null=null), gain(held, hit=False, null=null)
    expected = share * strength(hit) + (1 - share) * strength(miss)
    assert expected <= (strength(held) + 1.0) * (1 + 1e-9)


@given(shares, st.floats(0.0, 1.0))
def test_while_hits_are_still_high_evidence_of_recovery_does_not_grow_on_average(null: float, part: float):
    normal = null * 0.5
    share = null + (1 - null) * part
    grown = share * (normal / null) + (1 - share) * ((1 - normal) / (1 - null))
    assert grown <= 1.0 + 1e-9
    assert recede(8.0, hit=True, null=null, normal=normal) == pytest.approx(max(1.0, 8.0 * normal / null))
    assert recede(8.0, hit=False, null=null, normal=normal) == pytest.approx(8.0 * (1 - normal) / (1 - null))


@given(shares)
def test_a_hit_is_evidence_and_its_absence_is_not(null: float):
    start = (5.0, 5.0, 5.0)
    assert strength(gain(start, hit=True, null=null)) > strength(gain(NONE, hit=True, null=null)) > 0.0
    assert strength(gain(start, hit=False, null=null)) < strength(start) + 1.0


def test_a_tenfold_failure_rate_is_found_within_some_dozens_of_calls_and_a_normal_one_is_not():
    rng = Random(3)
    evidence = NONE
    for _ in range(5000):
        evidence = gain(evidence, hit=rng.random() < 0.03, null=0.05)
        assert strength(evidence) < 10_000
    calls = 0
    while strength(evidence) < 10_000:
        evidence = gain(evidence, hit=rng.random() < 0.5, null=0.05)
        calls += 1
        assert calls < 60


def test_recovery_is_believed_after_some_dozens_of_good_calls():
    evidence = 1.0
    for _ in range(50):
        evidence = recede(evidence, hit=True, null=0.3, normal=0.1)
    assert evidence == 1.0
    calls = 0
    while evidence < 100.0:
        evidence = recede(evidence, hit=False, null=0.3, normal=0.1)
        calls += 1
    assert calls == 19


def test_the_bound_of_a_share_shrinks_with_evidence():
    assert upper(0, 100, 0.02) == pytest.approx(0.1072, abs=1e-4)
    assert upper(0, 1000, 0.02) == pytest.approx(0.0295, abs=1e-4)
    assert upper(100, 100, 0.02) == 0.9


def test_a_level_is_warm_after_a_hundred_values_and_calls_a_tenth_of_them_high():
    level = Level()
    assert not level.warm
    assert level.wants == WARM
    level = level.plus(range(WARM))
    assert level.warm
    assert level.wants == BLOCK
    assert sum(level.high(index) for index in range(WARM)) == 10
    assert 0.1 + drift.MARGIN < level.null < 0.3


def test_a_level_renews_itself_in_blocks_and_forgets_by_halves():
    level = Level().plus([10] * WARM)
    assert level.cut == 10
    assert level.high(50)
    level = level.plus([50] * BLOCK)
    assert level.cut == 50
    assert level.sketch == {10: 50.0, 50: 500.0}
    for _ in range(20):
        level = level.plus([50] * BLOCK)
    assert set(level.sketch) == {50}


def test_equal_values_are_never_high():
    level = Level().plus([7] * WARM)
    assert not level.high(7)
    assert level.high(8)
    assert level.null == pytest.approx(upper(0, 100, drift.MARGIN))


def test_a_rate_is_warm_after_a_hundred_calls_and_renews_itself_in_blocks():
    rate = Rate()
    assert (rate.warm, rate.share, rate.wants) == (False, 0.0, WARM)
    rate = rate.plus(10, WARM)
    assert (rate.warm, rate.wants) == (True, BLOCK)
    assert rate.share == pytest.approx(0.1)
    rate = rate.plus(0, BLOCK)
    assert rate.share == pytest.approx(5 / 550)
    assert rate.null == pytest.approx(upper(5, 550, drift.RATE_MARGIN))
