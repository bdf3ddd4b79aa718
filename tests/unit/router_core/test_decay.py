from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core import decay
from router_core.decay import LANDMARK_S
from tests.unit.router_core.builders import HOUR

half_lives = st.floats(HOUR, 10_000 * HOUR)


@given(st.floats(0.0, 4e9), half_lives)
def test_one_half_life_older_counts_half(at: float, half_life: float):
    older, newer = decay.weight(at - half_life, half_life), decay.weight(at, half_life)
    if 2.0**-899 < older < newer < 2.0**899:
        assert older / newer == pytest.approx(0.5)


@given(st.floats(allow_nan=False, allow_infinity=False), half_lives)
def test_a_weight_is_finite_and_positive_at_any_time(at: float, half_life: float):
    assert 0.0 < decay.weight(at, half_life) < math.inf


def test_the_landmark_weighs_one():
    assert decay.weight(LANDMARK_S, HOUR) == 1.0


@pytest.mark.parametrize(("half_life_h", "years"), [(720, 70), (168, 17)])
def test_the_default_half_life_and_the_shortest_still_tell_old_from_new_after_years(half_life_h: int, years: int):
    half_life = half_life_h * HOUR
    at = LANDMARK_S + years * 365.25 * 24 * HOUR
    assert decay.weight(at - half_life, half_life) / decay.weight(at, half_life) == pytest.approx(0.5)
