"""Money that cannot be spent twice: periods, reservations, and leases of one budget to many holders.

A budget is an *account*: one limit in one period. Every holder (a worker process) has one row in it with two
totals that only it may change: ``granted``, what it may spend at most, and ``spent``, what it has spent for certain.
Both are totals since the account began, never differences, so that a report sent twice, or again after a lost
answer, changes nothing.

The sum of all ``granted`` never exceeds the limit; that is the whole proof. A holder reserves the worst case of a
call within what it was granted, on its own memory. A holder that dies keeps its row: what it was granted counts as
spent once its lease ran out, because nobody can know how much of it was.

Amounts are whole numbers: nano-USD (1e-9 USD) for money, calls for concurrency. Sums of them are exact, in Python,
in SQLite, and in Lua up to 2^53 (nine million USD).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil

from router_core.errors import ConfigError

__all__ = [
    "FOLDED",
    "NANO",
    "ROWS_KEPT_S",
    "ROWS_MAX",
    "Budget",
    "Holding",
    "LeaseRequest",
    "LeaseRow",
    "LeaseState",
    "Period",
    "Window",
    "fold_rows",
    "grant",
    "lease_slice",
    "nano",
    "period_of",
    "usd",
]

NANO = 1_000_000_000
"""Nano-USD in one USD."""

ROWS_KEPT_S = 7 * 86_400.0
"""Seconds a silent holder keeps a row of its own."""

ROWS_MAX = 64
"""Rows of one account above which a store folds the long dead together."""

FOLDED = ""
"""The holder's name of the row that stands for all folded ones."""


def nano(amount_usd: float) -> int:
    """Return an amount in whole nano-USD, rounded up; raises ValueError when it is negative or not finite."""
    if not 0.0 <= amount_usd < float("inf"):
        msg = f"an amount must be a finite number of USD >= 0, not {amount_usd!r}"
        raise ValueError(msg)
    # A price such as 0.013 has no exact binary form; rounding first keeps 0.013 at 13,000,000 and not one more.
    return ceil(round(amount_usd * NANO, 3))


def usd(amount: int) -> float:
    """Return nano-USD as USD."""
    return amount / NANO


class Window(StrEnum):
    """How long a budget lasts; periods begin at full hours, days and months in UTC."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Period:
    """One period of a window: ``label`` is part of the account's name, ``ends_at`` wall-clock seconds (None: never)."""

    label: str
    ends_at: float | None


def period_of(window: Window, now: float) -> Period:
    """Return the period a wall-clock second falls into."""
    at = datetime.fromtimestamp(now, UTC)
    if window is Window.TOTAL:
        return Period("total", None)
    if window is Window.MONTH:
        start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        end = (start + timedelta(days=32)).replace(day=1)
        return Period(start.strftime("%Y-%m"), end.timestamp())
    if window is Window.DAY:
        start = at.replace(hour=0, minute=0, second=0, microsecond=0)
        return Period(start.strftime("%Y-%m-%d"), (start + timedelta(days=1)).timestamp())
    start = at.replace(minute=0, second=0, microsecond=0)
    return Period(start.strftime("%Y-%m-%dT%H"), (start + timedelta(hours=1)).timestamp())


@dataclass(frozen=True, slots=True)
class Budget:
    """``usd`` may be spent per ``window``."""

    window: Window
    usd: float

    def __post_init__(self) -> None:
        """Refuse a budget of nothing: it would only be a slow way to revoke a key."""
        if not 0.0 < self.usd <= 9e6:
            msg = f"a budget must be a number of USD above 0 and at most 9,000,000, not {self.usd!r}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class Holding:
    """One holder's own side of an account, in whole units. ``reserved`` is the worst case of its open calls."""

    granted: int = 0
    spent: int = 0
    reserved: int = 0

    @property
    def room(self) -> int:
        """What can still be reserved without asking anybody."""
        return self.granted - self.spent - self.reserved

    @property
    def floor(self) -> int:
        """What cannot be given back: spent and reserved."""
        return self.spent + self.reserved

    def reserve(self, worst: int) -> Holding | None:
        """Set the worst case of a call aside; None when it does not fit."""
        if worst > self.room:
            return None
        return replace(self, reserved=self.reserved + worst)

    def overrun(self, worst: int) -> Holding:
        """Set a call aside although it does not fit: only where the operator prefers overspending to refusing."""
        return replace(self, reserved=self.reserved + worst)

    def settle(self, worst: int, actual: int) -> Holding:
        """Turn a reservation into what the call really cost; the rest becomes room again."""
        return replace(self, spent=self.spent + actual, reserved=max(0, self.reserved - worst))

    def cut(self, open_at_most: int = 0) -> Holding:
        """Give up room beyond an amount, before the account hears of it: a lost answer must not leave it twice."""
        return replace(self, granted=max(self.floor, min(self.granted, self.spent + open_at_most)))

    def regrant(self, granted: int) -> Holding:
        """Take over what the account answered, but never less than what is already promised."""
        return replace(self, granted=max(granted, self.floor))


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """One holder's report and wish; all amounts are totals since the account began except ``need`` and ``want``.

    ``sequence`` grows with every request of a holder; one that arrives late and out of order is ignored. ``floor``
    is spent plus reserved. ``need`` is the smallest addition that helps, ``want`` the one hoped for; when not even
    ``need`` can be given, the holder's room is taken back at once: the last cents must not lie scattered among holders.
    ``lease_s`` is how long the holder counts as alive, ``keep_s`` how long the account is remembered, in seconds.
    ``forgive``: what a dead holder held is free again (concurrency) instead of spent (money).
    """

    account: str
    holder: str
    sequence: int
    limit: int
    spent: int = 0
    floor: int = 0
    need: int = 0
    want: int = 0
    lease_s: float = 30.0
    keep_s: float = 7200.0
    forgive: bool = False

    def __post_init__(self) -> None:
        """Refuse amounts that contradict each other."""
        if not 0 <= self.spent <= self.floor or not 0 <= self.need <= self.want or self.limit < 0:
            msg = f"a lease asks for impossible amounts: {self!r}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """What the account remembers of one holder; ``expires`` is wall-clock seconds."""

    granted: int
    spent: int
    sequence: int
    expires: float


@dataclass(frozen=True, slots=True)
class LeaseState:
    """The account's answer: what the holder may spend in all, and what all holders together spent and were granted.

    ``spent`` counts dead holders with everything they were granted. ``holders`` is how many are alive, with the asker.
    """

    granted: int
    spent: int
    committed: int
    holders: int


def grant(rows: Mapping[str, LeaseRow], request: LeaseRequest, now: float) -> tuple[LeaseRow, LeaseState]:
    """Judge one request against an account; pure, and the same arithmetic as ``lease.lua``.

    Returns the holder's new row and the answer. ``now`` is wall-clock seconds; a wrong clock can only make a living
    holder look dead, which spends its room but never more than the limit.
    """
    committed = spent = 0
    holders = 1
    for name, row in rows.items():
        if name == request.holder:
            continue
        alive = row.expires > now
        if alive or not request.forgive:
            committed += row.granted
            spent += row.spent if alive else row.granted
        holders += alive
    mine = rows.get(request.holder)
    if mine is not None and request.sequence <= mine.sequence:
        row = mine
    else:
        best = min(request.floor + request.want, request.limit - committed)
        granted = best if best >= request.floor + request.need else request.floor
        row = LeaseRow(granted, request.spent, request.sequence, now + request.lease_s)
    return row, LeaseState(row.granted, spent + row.spent, committed + row.granted, holders)


def fold_rows(rows: Mapping[str, LeaseRow], now: float, *, forgive: bool = False) -> dict[str, LeaseRow]:
    """Return an account with the rows of the long dead added up in one, so that its size stays bounded.

    A holder silent for a week is not expected back; with ``forgive`` dead rows simply go.
    """
    kept = {name: row for name, row in rows.items() if name != FOLDED and row.expires > now - ROWS_KEPT_S}
    if forgive:
        return {name: row for name, row in kept.items() if row.expires > now}
    total = sum(row.granted for name, row in rows.items() if name not in kept)
    return {FOLDED: LeaseRow(total, total, 0, 0.0), **kept} if total else kept


def lease_slice(limit: int, share: float, holders: int) -> int:
    """Return how much one holder may have open at a time: all of them together at most ``share`` of the limit.

    It bounds what one crash can take out of a budget, and with it how many calls a worker can have open at once.
    """
    return max(1, int(limit * share / max(1, holders)))
