from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core import latency

durations = st.floats(min_value=latency.LOW_S, max_value=latency.HIGH_S)
weights = st.floats(min_value=0.001, max_value=1000.0)
sketches = st.dictionaries(st.integers(0, latency.BINS - 1), weights, max_size=30)


def sketch(values: list[float]) -> dict[int, float]:
    bins: dict[int, float] = {}
    for value in values:
        bins = latency.merge(bins, {latency.bin_of(value): 1.0})
    return bins


def exact(values: list[float], q: float) -> float:
    return sorted(values)[max(0, math.ceil(q * len(values) - 1e-9) - 1)]


@given(durations)
def test_a_bin_stands_for_its_durations_within_alpha(value: float):
    assert latency.value_of(latency.bin_of(value)) == pytest.approx(value, rel=latency.ALPHA * 1.000001)


@given(st.lists(durations, min_size=1, max_size=60), st.sampled_from([0.0, 0.25, 0.5, 0.95, 0.99, 1.0]))
def test_any_quantile_is_within_alpha_of_the_exact_one(values: list[float], q: float):
    found = latency.quantile(sketch(values), q)
    assert found == pytest.approx(exact(values, q), rel=latency.ALPHA * 1.000001)


@given(st.lists(durations, min_size=1, max_size=30), durations)
def test_quantiles_grow_with_the_share(values: list[float], other: float):
    bins = sketch([*values, other])
    found = [latency.quantile(bins, q) for q in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert found == sorted(found, key=lambda value: -1.0 if value is None else value)


@given(sketches, sketches, sketches)
def test_merging_commutes_and_associates(a: dict[int, float], b: dict[int, float], c: dict[int, float]):
    assert latency.merge(a, b) == latency.merge(b, a)
    left, right = latency.merge(latency.merge(a, b), c), latency.merge(a, latency.merge(b, c))
    assert left.keys() == right.keys()
    assert all(left[index] == pytest.approx(right[index]) for index in left)


@given(sketches)
def test_merging_changes_neither_side(a: dict[int, float]):
    before = dict(a)
    latency.merge(a, {1: 1.0})
    latency.merge({1: 1.0}, a)
    assert a == before


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-9, float("nan"), float("-inf")])
def test_what_is_too_short_or_no_number_goes_to_the_first_bin(value: float):
    assert latency.bin_of(value) == 0


@pytest.mark.parametrize("value", [3600.0, 1e9, float("inf")])
def test_what_is_too_long_goes_to_the_last_bin(value: float):
    assert latency.bin_of(value) == latency.BINS - 1


def test_the_number_of_bins_is_the_stated_one():
    assert latency.BINS == 871
    assert latency.value_of(-5) == latency.value_of(0)
    assert latency.value_of(10**6) == latency.value_of(latency.BINS - 1)


def test_nothing_counted_has_no_quantile():
    assert latency.quantile({}, 0.5) is None
    assert latency.quantile({3: 0.0, 4: -1e-12}, 0.5) is None


def test_fractional_weights_move_the_quantile():
    fast, slow = latency.bin_of(0.1), latency.bin_of(10.0)
    assert latency.quantile({fast: 0.6, slow: 0.4}, 0.5) == latency.value_of(fast)
    assert latency.quantile({fast: 0.4, slow: 0.6}, 0.5) == latency.value_of(slow)


def test_rounding_of_many_weights_never_runs_off_the_end():
    bins = dict.fromkeys(range(200), 0.1)
    bins[200] = 1e-18
    assert latency.quantile(bins, 1.0) is not None


@given(
    st.dictionaries(st.integers(0, 870), st.floats(-1e-12, 1e9), max_size=30),
    st.lists(st.floats(0.0, 1.0), max_size=4).map(tuple),
)
def test_several_quantiles_at_once_are_those_asked_for_one_by_one(bins: dict[int, float], shares: tuple[float, ...]):
    assert latency.quantiles(bins, shares) == tuple(latency.quantile(bins, q) for q in shares)


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_share_outside_zero_and_one_is_refused(q: float):
    with pytest.raises(ValueError, match="quantile"):
        latency.quantile({1: 1.0}, q)
