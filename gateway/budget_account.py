"""One budget in one period, as this worker sees it: what it holds, who waits, and how it asks the store for more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.store_errors import StoreError
from router_core.budget import Budget, Holding, LeaseRequest, LeaseState, Window, lease_slice
from router_core.ports import LeaseStore

_HOUR_S = 3600.0
_KEEP_S = {
    Window.HOUR: 3 * _HOUR_S,
    Window.DAY: 72 * _HOUR_S,
    Window.MONTH: 960 * _HOUR_S,
    Window.TOTAL: 9600 * _HOUR_S,
}
"""Seconds an account is remembered after its last use: always longer than its period."""
_FRESH_S = 1.0
_ASK_EVERY_S = 0.01
_IDLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Terms:
    """How accounts deal with their store: the store, the policy's numbers, and a monotonic clock in seconds."""

    store: LeaseStore
    slice_share: float
    lease_s: float
    clock: Callable[[], float]


@dataclass(slots=True)
class Account:
    """Amounts are nano-USD, times monotonic seconds, except ``ends_at``: wall clock, None for a budget in total.

    ``waiting`` maps every waiting request to the worst case it needs, the first come first. ``whole`` lets this holder
    lease everything at once: nobody shares the store. ``slice_`` is how much may be open here at a time.
    """

    name: str
    scope: str
    budget: Budget
    limit: int
    ends_at: float | None
    holder: str
    whole: bool
    slice_: int
    holding: Holding = field(default_factory=Holding)
    state: LeaseState | None = None
    reported: int = 0
    state_at: float = float("-inf")
    refused_at: float = float("-inf")
    used_at: float = float("-inf")
    away_since: float | None = None
    sequence: int = 0
    waiting: dict[object, int] = field(default_factory=dict)
    wakers: set[asyncio.Future[None]] = field(default_factory=set)
    task: asyncio.Task[None] | None = None

    def spent(self) -> int:
        """What all holders have spent, as far as known here."""
        others = 0 if self.state is None else self.state.spent - self.reported
        return others + self.holding.spent

    def exceeded_by(self, worst: int, now: float) -> bool:
        """Whether money really spent leaves no room for this call; only a fresh answer of the store may say so."""
        return now - self.state_at <= _FRESH_S and self.spent() + worst > self.limit

    def reserve(self, worst: int) -> Holding | None:
        """Return the holding with a call set aside, or None; only one large call may be open beyond a slice."""
        if self.holding.reserved and self.holding.reserved + worst > self.slice_:
            return None
        return self.holding.reserve(worst)

    def settle(self, worst: int, actual: int) -> None:
        """Book what a call cost and wake who waits for the rest."""
        self.holding = self.holding.settle(worst, actual)
        self.wake()

    def wake(self) -> None:
        """Let everyone who waits look again."""
        wakers, self.wakers = self.wakers, set()
        for waker in wakers:
            if not waker.done():
                waker.set_result(None)

    async def changed(self, seconds: float) -> None:
        """Wait until something changed here, or for a while."""
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wakers.add(waker)
        try:
            async with asyncio.timeout(seconds):
                await waker
        except TimeoutError:
            pass
        finally:
            self.wakers.discard(waker)

    def ask(self, terms: Terms) -> asyncio.Task[None] | None:
        """Ask the store for more, one question at a time; None when it said no a moment ago."""
        if self.task is None or self.task.done():
            if terms.clock() - self.refused_at < _ASK_EVERY_S:
                return None
            self.task = asyncio.create_task(self._ask(terms), name="budget-lease")
        return self.task

    async def _ask(self, terms: Terms) -> None:
        try:
            need, want = self._wish()
            await self._report(terms, need=need, want=want)
            if self.holding.room < next(iter(self.waiting.values()), 0):
                self.refused_at = terms.clock()
                if need and self.holding.room > 0:
                    # What is left here is too little for the first in line; elsewhere it may be enough for somebody.
                    await self.give_back(terms)
            if self._too_wide():
                await self.give_back(terms, self._most())
        except StoreError:
            self.refused_at = terms.clock()
            self.away_since = self.away_since or terms.clock()
        self.wake()

    def _wish(self) -> tuple[int, int]:
        """Return (need, want): additions to what is granted, so that no more than one slice is open at a time."""
        held, first = self.holding.granted - self.holding.spent, next(iter(self.waiting.values()), 0)
        room = max(0, self.slice_ - held)
        need = max(0, first - self.holding.room)
        if need > room and self.holding.reserved == 0:
            room = need  # a call larger than a slice may be open alone
        if need > room:
            return 0, 0  # this worker has its share open; its own calls make room as they end
        demand = max(0, sum(self.waiting.values()) - self.holding.room)
        if self.state is None and not self.whole:
            return need, need  # who shares this budget is not known yet
        return need, max(need, min(room, max(demand, self.slice_ // 2)))

    async def _report(self, terms: Terms, *, need: int = 0, want: int = 0) -> LeaseState:
        """Tell the store what is spent, and take over what it grants; what is held now is never lowered by it."""
        self.sequence += 1
        before = self.holding
        request = LeaseRequest(
            self.name,
            self.holder,
            self.sequence,
            self.limit,
            spent=before.spent,
            floor=max(before.granted, before.floor),
            need=need,
            want=want,
            lease_s=terms.lease_s,
            keep_s=_KEEP_S[self.budget.window],
        )
        state = await terms.store.lease(request)
        self.state, self.state_at, self.reported, self.away_since = state, terms.clock(), before.spent, None
        self.holding = self.holding.regrant(state.granted)
        self.slice_ = self.limit if self.whole else lease_slice(self.limit, terms.slice_share, state.holders)
        return state

    async def give_back(self, terms: Terms, open_at_most: int = 0) -> None:
        """Return room beyond an amount."""
        self.holding = self.holding.cut(open_at_most)
        await self._report(terms)

    def _too_wide(self) -> bool:
        """Whether this worker holds room beyond its slice: others have come, and the share is divided among more."""
        return self.holding.cut(self._most()).granted < self.holding.granted

    def _most(self) -> int:
        """How much may be held open: a slice, or the one call that is larger and comes next."""
        return max(self.slice_, next(iter(self.waiting.values()), 0))

    async def keep(self, terms: Terms) -> bool:
        """Report what changed, keep the lease alive, return the room of an idle hour; whether it is still in use."""
        clock, lease_s = terms.clock, terms.lease_s
        idle = clock() - self.used_at > _IDLE_S and not self.waiting
        stale = self.holding.spent != self.reported or clock() - self.state_at > lease_s / 3
        if idle and self.holding.room > 0:
            await self.give_back(terms)
        elif self._too_wide():
            await self.give_back(terms, self._most())
        elif stale and (self.state is not None or self.holding.spent):
            await self._report(terms)
        return bool(self.waiting or self.holding.reserved) or clock() - self.used_at <= lease_s
