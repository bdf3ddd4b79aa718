from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.budget import (
    FOLDED,
    NANO,
    ROWS_KEPT_S,
    Budget,
    Holding,
    LeaseRequest,
    LeaseRow,
    Window,
    fold_rows,
    grant,
    lease_slice,
    nano,
    period_of,
    usd,
)
from router_core.errors import ConfigError

AT = 1_772_323_199.0  # 2026-02-28T23:59:59Z


@pytest.mark.parametrize(
    ("window", "label", "ends_in"),
    [
        (Window.HOUR, "2026-02-28T23", 1.0),
        (Window.DAY, "2026-02-28", 1.0),
        (Window.MONTH, "2026-02", 1.0),
        (Window.TOTAL, "total", None),
    ],
)
def test_periods_begin_at_full_hours_days_and_months(window, label, ends_in):
    period = period_of(window, AT)
    assert period.label == label
    assert period.ends_at == (None if ends_in is None else AT + ends_in)
    if ends_in is not None:
        assert period_of(window, AT + ends_in).label != label


def test_december_ends_with_the_year():
    assert period_of(Window.MONTH, 1_767_225_599.0).ends_at == 1_767_225_600.0


def test_amounts_are_whole_and_rounded_up():
    assert nano(0.013) == 13_000_000
    assert nano(1e-10) == 1
    assert nano(0.0) == 0
    assert usd(nano(1.25)) == 1.25
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="USD"):
            nano(wrong)


@pytest.mark.parametrize("amount", [0.0, -1.0, float("nan"), float("inf"), 1e7])
def test_a_budget_of_nothing_is_refused(amount):
    with pytest.raises(ConfigError):
        Budget(Window.DAY, amount)


def test_a_holding_reserves_settles_and_gives_up():
    held = Holding().regrant(100)
    assert held.reserve(101) is None
    held = held.reserve(60)
    assert (held.room, held.floor) == (40, 60)
    held = held.settle(60, 25)
    assert (held.spent, held.reserved, held.room) == (25, 0, 75)
    assert held.cut() == Holding(25, 25, 0)
    assert held.cut(30).granted == 55
    assert held.cut(1000) == held
    assert held.overrun(500).room == -425
    assert held.regrant(0).granted == 25
    assert Holding(10, 0, 5).settle(9, 1).reserved == 0


@pytest.mark.parametrize(
    "amounts", [{"spent": 2, "floor": 1}, {"need": 2, "want": 1}, {"spent": -1}, {"limit": -1}, {"need": -1}]
)
def test_a_request_that_contradicts_itself_is_refused(amounts):
    with pytest.raises(ValueError, match="impossible"):
        LeaseRequest("a", "h", 1, **{"limit": 10, **amounts})


@given(
    st.integers(1, 10**6),
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 10**5), st.integers(0, 10**5), st.integers(0, 10**5), st.integers(-40, 40)
        ),
        max_size=40,
    ),
)
def test_however_holders_act_they_never_hold_more_than_the_limit(limit, steps):
    """Holders reserve within what they hold, settle at any cost up to the worst, crash and come back."""
    rows: dict[str, LeaseRow] = {}
    holdings: dict[int, Holding] = {}
    now = 1000.0
    for sequence, (holder, need, more, cost, passed) in enumerate(steps):
        now += abs(passed)
        held = holdings.get(holder, Holding())
        reserved = held.reserve(min(cost, held.room)) if held.room > 0 else None
        if reserved is not None:
            held = reserved.settle(min(cost, held.room), cost % (min(cost, held.room) + 1))
        request = LeaseRequest(
            "a", str(holder), sequence, limit, spent=held.spent, floor=held.floor, need=need, want=need + more
        )
        row, state = grant(rows, request, now)
        rows[request.holder] = row
        holdings[holder] = held.regrant(state.granted)
        assert sum(row.granted for row in rows.values()) <= limit
        assert state.committed == sum(row.granted for row in rows.values())
        assert state.spent <= state.committed
        assert state.granted == request.floor or state.granted >= request.floor + need
        assert 1 <= state.holders <= 4


def test_the_dead_are_added_up_and_the_living_stay():
    rows = {
        "alive": LeaseRow(10, 5, 1, 2000.0),
        "silent": LeaseRow(20, 5, 1, 900.0),
        "dead": LeaseRow(30, 5, 1, 1000.0 - ROWS_KEPT_S),
        FOLDED: LeaseRow(7, 7, 0, 0.0),
    }
    folded = fold_rows(rows, 1000.0)
    assert set(folded) == {"alive", "silent", FOLDED}
    assert folded[FOLDED].granted == 37
    assert set(fold_rows(rows, 1000.0, forgive=True)) == {"alive"}
    assert fold_rows({"alive": rows["alive"]}, 1000.0) == {"alive": rows["alive"]}


def test_a_slice_divides_the_share_among_the_living():
    assert lease_slice(NANO, 0.15, 1) == 150_000_000
    assert lease_slice(NANO, 0.15, 4) == 37_500_000
    assert lease_slice(1, 0.0, 0) == 1


def test_a_late_request_changes_nothing():
    rows = {"h": LeaseRow(40, 10, 5, 2000.0)}
    row, state = grant(rows, LeaseRequest("a", "h", 5, 100, need=60, want=60), 1000.0)
    assert row is rows["h"]
    assert (state.granted, state.spent, state.committed) == (40, 10, 40)


def test_what_the_dead_held_is_spent_or_forgiven():
    rows = {"dead": LeaseRow(40, 10, 5, 900.0)}
    assert grant(rows, LeaseRequest("a", "h", 1, 100, need=70, want=70), 1000.0)[1].granted == 0
    state = grant(rows, LeaseRequest("a", "h", 1, 100, need=70, want=70, forgive=True), 1000.0)[1]
    assert (state.granted, state.spent, state.holders) == (70, 0, 1)


def test_a_budget_is_what_it_says():
    assert Budget(Window.DAY, 5.0).usd == 5.0
