"""What a worker holds of shared limits: credit of a bucket, places among the calls that are open at the same time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.store_errors import StoreError
from router_core.budget import LeaseRequest
from router_core.limits import Bucket, BucketRequest, slice_of, take
from router_core.ports import StateStore

__all__ = ["WAIT_S", "Credit", "Places"]

WAIT_S: Final = 0.1
"""Seconds a call without credit waits for the store at most."""
_LEASE_S: Final = 30.0


@dataclass(slots=True, eq=False)
class Credit:
    """One bucket, as this worker sees it."""

    name: str
    capacity: int
    store: StateStore
    wall: Callable[[], float]
    credit: float = 0.0
    level: float = 0.0
    own: Bucket | None = None
    task: asyncio.Task[None] | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def left(self) -> float:
        """Units left, as far as known here."""
        if self.store.shared:
            return max(0.0, self.level + self.credit)
        own = self.own or Bucket(float(self.capacity), self.wall())
        return max(0.0, own.now(float(self.capacity), self.wall()).level)

    async def take(self, need: float) -> float:
        """Take units; returns 0, or the seconds until it helps to wait."""
        if not self.store.shared:
            return self._take_own(need)
        if self.credit < need:
            wait = await self._refill(need)
            if wait is None:
                return self._take_own(need)
            if self.credit < need:
                return max(wait, 0.001)
        self.credit -= need
        if self.credit < slice_of(self.capacity, 1.0) / 2 and (self.task is None or self.task.done()):
            self.task = asyncio.create_task(self._top_up(), name="rate-credit")
        return 0.0

    def give(self, units: float) -> None:
        """Return what was not used (negative: take what was used beyond the estimate)."""
        if self.store.shared:
            self.credit += units
        elif self.own is not None:
            self.own = Bucket(min(float(self.capacity), self.own.level + units), self.own.at)

    def _take_own(self, need: float) -> float:
        self.own, state = take(self.own, BucketRequest(self.name, self.capacity, need, need), self.wall())
        return state.retry_after_s

    async def _refill(self, need: float) -> float | None:
        """Borrow until a call fits; returns the seconds to wait, or None when the store does not answer in time."""
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(WAIT_S):
                async with self.turn:
                    if self.credit >= need:
                        return 0.0
                    return await self._borrow(need - max(0.0, self.credit))
        return None

    async def _top_up(self) -> None:
        with contextlib.suppress(StoreError):
            async with self.turn:
                await self._borrow(0.0)

    async def _borrow(self, need: float) -> float:
        # Credit beyond two slices goes back: it came from calls that used less than they asked for.
        slice_ = slice_of(self.capacity, need)
        back, self.credit = (self.credit, 0.0) if self.credit < 0.0 or self.credit > 2 * slice_ else (0.0, self.credit)
        need = max(need, 0.0)
        try:
            state = await self.store.take(BucketRequest(self.name, self.capacity, need, max(need, slice_), back))
        except StoreError:
            self.credit += back
            raise
        self.credit += state.granted
        self.level = state.level
        return state.retry_after_s


@dataclass(slots=True, eq=False)
class Places:
    """Calls open at the same time: of this worker, within places leased for all workers."""

    name: str
    limit: int
    store: StateStore
    holder: str
    clock: Callable[[], float]
    used: int = 0
    granted: int = 0
    sequence: int = 0
    told_at: float = float("-inf")
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def enter(self) -> bool:
        """Take a place; False when all are taken."""
        if not self.store.shared:
            if self.used >= self.limit:
                return False
        elif self.used >= self.granted and not await self._more():
            return False
        self.used += 1
        return True

    def leave(self) -> None:
        """Give the place back."""
        self.used = max(0, self.used - 1)

    async def _more(self) -> bool:
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(WAIT_S), self.turn:
                if self.used < self.granted:
                    return True
                await self.tell(need=1, want=max(1, self.limit // 10))
                return self.used < self.granted
        return self.used < self.limit  # the store is away: the limit holds for this worker alone

    async def tell(self, *, need: int = 0, want: int = 0) -> None:
        """Report the places in use, and ask for more."""
        self.sequence += 1
        request = LeaseRequest(
            self.name, self.holder, self.sequence, self.limit, 0, self.used, need, want, _LEASE_S, 3600.0, forgive=True
        )
        state = await self.store.lease(request)
        self.granted, self.told_at = state.granted, self.clock()
