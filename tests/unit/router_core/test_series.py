"""Sums that merge: the same observations in any order, by any worker, give the same series."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_core.latency import BINS, value_of
from router_core.series import EMPTY_RECENT, EMPTY_SERIES, FIELDS, Increment, Recent, Series

sums = st.floats(0.0, 1e6)
bins = st.none() | st.integers(0, BINS - 1)
increments = st.builds(
    Increment,
    st.just("acme/m1"),
    st.just(("analysis", "*")),
    st.floats(0.0, 4e9),
    st.floats(1e-3, 1e3),
    st.dictionaries(st.sampled_from(FIELDS), sums, max_size=5),
    bins,
    bins,
)
shuffled = st.lists(increments, max_size=8).flatmap(lambda items: st.tuples(st.just(items), st.permutations(items)))


def series(*items: Increment) -> Series:
    total = EMPTY_SERIES
    for item in items:
        total = total.plus(Series.of([item]))
    return total


def content(one: Series) -> dict[str, Any]:
    return {**one.to_fields(), "last_at": one.last_at}


@settings(max_examples=40)
@given(shuffled)
def test_observations_merge_in_any_order(orders: tuple[list[Increment], list[Increment]]):
    one, other = orders
    assert content(series(*one)) == pytest.approx(content(series(*other)))


@settings(max_examples=40)
@given(st.lists(increments, max_size=5), st.lists(increments, max_size=5))
def test_what_two_workers_saw_adds_up_to_what_one_would_have_seen(mine: list[Increment], theirs: list[Increment]):
    apart = [content(series(*mine)), content(series(*theirs))]
    together = content(series(*mine, *theirs))
    assert together.pop("last_at") == max(part.pop("last_at") for part in apart)
    assert together == pytest.approx({name: apart[0].get(name, 0.0) + apart[1].get(name, 0.0) for name in together})


@settings(max_examples=40)
@given(st.lists(increments, max_size=5))
def test_a_store_gives_back_what_it_was_given(items: list[Increment]):
    one = series(*items)
    again = Series.from_fields(one.to_fields(), one.last_at)
    assert content(again) == content(one)
    assert again.summary == one.summary


@settings(max_examples=40)
@given(st.lists(increments, max_size=5), increments)
def test_adding_never_changes_the_series_before(items: list[Increment], one_more: Increment):
    before = series(*items)
    kept = repr(content(before)), before.summary
    before.plus(Series.of([one_more]))
    assert (repr(content(before)), before.summary) == kept


@settings(max_examples=40)
@given(st.lists(increments, max_size=8))
def test_a_summary_stays_in_its_ranges(items: list[Increment]):
    one = series(*items)
    assert 0.25 <= one.input_ratio <= 4.0
    for value in (*one.summary, one.mean_output):
        assert value is None or value >= 0.0


def test_fields_of_another_version_are_left_out():
    strange = {"n": 2.0, "zeal": 3.0, "d": 1.0, "dx": 1.0, "t-4": 1.0, "d7": 5.0, "t9": 6.0, "": 1.0}
    one = Series.from_fields(strange, 1.0)
    assert one.to_fields() == {"n": 2.0, "d7": 5.0, "t9": 6.0}


def test_nothing_seen_summarises_to_nothing():
    assert EMPTY_SERIES.summary == (1.0, None, None, None, None, None)
    assert (EMPTY_SERIES.mean_output, EMPTY_SERIES.input_ratio) == (None, 1.0)


def test_a_summary_holds_the_ratios_of_the_sums():
    fields = {"n": 4.0, "ok": 2.0, "dur": 6.0, "cost": 0.5, "out": 300.0, "out_n": 2.0, "act": 240.0, "est": 200.0}
    one = Series(fields, {3: 1.0, 400: 1.0}, {5: 1.0}, 7.0)
    assert one.summary == (0.5, value_of(3), value_of(400), value_of(5), 3.0, 0.25)
    assert (one.mean_output, one.input_ratio) == (150.0, 1.2)
    assert one.summary is one.summary


# --- the recent window: the current half and the one before

halves = st.tuples(st.integers(0, 6), st.tuples(sums, sums, sums, sums))
ONE = (1.0, 1.0, 2.0, 0.5)
TWO = (2.0, 1.0, 4.0, 0.25)


def window(*items: tuple[int, tuple[float, float, float, float]]) -> Recent:
    total = EMPTY_RECENT
    for bucket, added in items:
        total = total.plus(bucket, added)
    return total


@settings(max_examples=40)
@given(st.lists(halves, max_size=8).flatmap(lambda items: st.tuples(st.just(items), st.permutations(items))))
def test_a_window_s_total_is_the_same_in_any_order(orders: tuple[list[Any], list[Any]]):
    one, other = orders
    last = max((bucket for bucket, _ in one), default=0)
    expected = [sum(added[i] for bucket, added in one if bucket >= last - 1) for i in range(4)]
    assert window(*one).total(last) == pytest.approx(expected)
    assert window(*other).total(last) == pytest.approx(expected)


@settings(max_examples=40)
@given(st.lists(halves, max_size=5), halves)
def test_adding_to_a_window_never_changes_the_one_before(items: list[Any], one_more: tuple[int, Any]):
    before = window(*items)
    kept = repr(before)
    before.plus(*one_more)
    before.with_half(*one_more)
    before.total(one_more[0])
    assert repr(before) == kept


def test_a_window_forgets_by_halves():
    seen = window((10, ONE), (11, TWO))
    assert seen.total(11) == (3.0, 2.0, 6.0, 0.75)
    assert seen.total(12) == TWO
    assert seen.total(13) == (0.0, 0.0, 0.0, 0.0)
    assert seen.total(5) == (3.0, 2.0, 6.0, 0.75)


def test_what_arrives_late_counts_in_its_half_or_not_at_all():
    seen = window((11, TWO))
    assert seen.plus(10, ONE).total(11) == (3.0, 2.0, 6.0, 0.75)
    assert seen.plus(9, ONE) is seen


def test_a_store_s_half_replaces_ours():
    seen = window((10, ONE), (11, TWO))
    assert seen.with_half(11, ONE).total(11) == (2.0, 2.0, 4.0, 1.0)
    assert seen.with_half(10, TWO).total(11) == (4.0, 2.0, 8.0, 0.5)
    assert seen.with_half(12, ONE).total(12) == (3.0, 2.0, 6.0, 0.75)
    assert seen.with_half(9, ONE) is seen
