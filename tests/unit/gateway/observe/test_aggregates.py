from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.aggregates import MOST_FRESH, OTHER, Aggregates, Booking, added_up
from gateway.observe.buckets import EVER, Window, decode
from router_core.ports import Sums
from tests.fakes.store_of_sums import StoreOfSums

NOW = 1_760_000_123.0
BOOT = "1760000000"


class Sharing:
    """Aggregates as the exchange sees them."""

    def __init__(self, sums: Aggregates) -> None:
        self.collect = sums.collect
        self.sums = sums

    def apply(self, totals: Sums) -> None:
        self.sums.apply(totals, NOW)


def total(sums: Aggregates, window: Window = Window.ALL, scope: str = "", now: float = NOW) -> float:
    sums.settle()
    found = sums.select("a", window.buckets(now, coarse=bool(scope)), scope)
    return sum(fields["n"] for fields in found.values())


def book(sums: Aggregates, count: int = 1, *, scope: str = "", name: str = "x", at: float = NOW) -> None:
    for _ in range(count):
        sums.add(("a", scope, name), at, Booking(("n",), {}))


BOOKINGS = st.builds(
    Booking,
    st.lists(st.sampled_from("abcd"), max_size=4).map(tuple),
    st.dictionaries(st.sampled_from("cdef"), st.floats(0.0, 1e6), max_size=4),
)


@given(st.lists(BOOKINGS, min_size=1, max_size=12))
def test_many_events_at_once_add_up_to_the_sum_of_each(bookings: list[Booking]):
    wanted: dict[str, float] = {}
    for counts, sums in bookings:
        for name, value in [*((name, 1.0) for name in counts), *sums.items()]:
            wanted[name] = wanted.get(name, 0.0) + value
    found = added_up(bookings)
    assert found == pytest.approx(wanted)
    assert {type(value) for value in found.values()} <= {float}


def test_events_that_nobody_asks_for_do_not_pile_up():
    sums = Aggregates(BOOT)
    book(sums, MOST_FRESH + 5)
    assert sum(map(len, sums._fresh.values())) == 5
    assert total(sums) == MOST_FRESH + 5


@pytest.mark.parametrize("window", list(Window))
def test_what_was_booked_is_seen_at_once_in_every_window(window: Window):
    sums = Aggregates(BOOT)
    book(sums, 3)
    assert total(sums, window) == 3


def test_each_window_sees_its_own_stretch_of_time():
    sums = Aggregates(BOOT)
    for hours in (0, 2, 30, 24 * 8, 24 * 40):
        book(sums, at=NOW - hours * 3600)
    assert [total(sums, window) for window in Window] == [1, 2, 3, 4, 5]


def test_two_workers_and_a_restarted_one_see_the_same_numbers_through_a_store():
    store = StoreOfSums()
    one, two = Aggregates(BOOT), Aggregates(BOOT)
    book(one, 5)
    book(two, 7)
    for _ in range(2):
        store.cycle(Sharing(one))
        store.cycle(Sharing(two))
    assert total(one) == total(two) == 12
    later = Aggregates("1760000500")
    store.cycle(Sharing(later))
    assert total(later) == 12
    assert later.since_boot("a") == {}
    assert sum(fields["n"] for fields in one.since_boot("a").values()) == 12


def test_numbers_never_step_back_between_booking_handing_out_and_hearing_back():
    store = StoreOfSums()
    sums = Aggregates(BOOT)
    seen = []
    for _ in range(5):
        book(sums)
        seen.append(total(sums))
        store.cycle(Sharing(sums), after=lambda: seen.append(total(sums)))
        seen.append(total(sums))
    assert seen == sorted(seen)
    assert seen[-1] == 5


def test_what_was_handed_out_to_a_store_that_is_away_stays_visible():
    sums = Aggregates(BOOT)
    for _ in range(3):
        book(sums)
        sums.collect()
    assert total(sums) == 3


def test_nothing_new_hands_out_nothing():
    sums = Aggregates(BOOT)
    book(sums)
    assert sums.collect()
    assert sums.collect() == {}


def test_names_of_others_are_left_alone():
    sums = Aggregates(BOOT)
    foreign: Sums = {"perf|acme/m1|analysis": {"n": 5.0}, "obs|a": {"n": 1.0}}
    sums.apply(foreign, NOW)
    assert sums.size == 0


def test_totals_of_times_that_no_window_reads_are_left_alone():
    sums, later = Aggregates(BOOT), Aggregates(BOOT)
    book(sums)
    later.apply(sums.collect(), NOW + 7 * 3600)
    assert total(later, Window.HOUR, now=NOW) == 0
    assert total(later, Window.DAY, now=NOW) == 1


def test_labels_beyond_the_bound_are_counted_together_and_keys_cannot_push_out_the_registry():
    sums = Aggregates(BOOT, max_series_per_kind=3)
    for number in range(10):
        book(sums, scope=f"key{number}", name="x")
    book(sums, 2, name="x")
    assert total(sums) == 2
    assert total(sums, scope="key0") == 1
    assert total(sums, scope=OTHER) == 7


def test_what_no_window_reads_is_forgotten():
    sums = Aggregates(BOOT)
    book(sums, at=NOW)
    sums.collect()
    before = sums.size
    sums.prune(NOW + 40 * 86_400)
    held = {bucket for bucket in (EVER,) if sums.select("a", [bucket])}
    assert held == {EVER}
    assert sums.size < before
    assert total(sums) == 1


def test_one_key_is_kept_by_the_hour_and_not_by_the_minute():
    sums = Aggregates(BOOT)
    book(sums, scope="k1")
    spans = {found[0].span.value for name in sums.collect() if (found := decode(name))}
    assert spans == {"h", "d", "a"}
