"""Rate limits of callers and deployments, from slices of credit borrowed from the shared buckets.

Where the store is private the buckets are here. Where it is shared, a worker serves from its credit and borrows the
next slice before the last is used up; only a call that finds no credit waits for the store, a tenth of a second at
most. A store that is away leaves every worker with a bucket of its own: limits then hold per worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.keys import Principal
from gateway.rate_credit import Credit, Places
from gateway.store_errors import StoreError
from router_core.limits import Measure, ratelimit_headers
from router_core.ports import StateStore

__all__ = ["UNLIMITED", "Pass", "RateLimits", "TooMany"]

_KEEP_EVERY_S: Final = 5.0


class Limited(Protocol):
    """Anything with limits per minute: a key's, a deployment's."""

    @property
    def requests_per_minute(self) -> int | None:
        """Requests per minute; None: unlimited."""
        ...

    @property
    def tokens_per_minute(self) -> int | None:
        """Tokens per minute; None: unlimited."""
        ...

    @property
    def max_in_flight(self) -> int | None:
        """Calls open at the same time; None: unlimited."""
        ...


@dataclass(frozen=True, slots=True)
class TooMany:
    """A limit that is reached: ``what`` is requests, tokens or in_flight; waiting helps after ``retry_after_s``."""

    what: str
    limit: int
    retry_after_s: float


@dataclass(slots=True, eq=False)
class Pass:
    """Leave to make one call; given back when it ends, with the tokens it really used."""

    tokens: float = 0.0
    requests_from: Credit | None = None
    tokens_from: Credit | None = None
    places: Places | None = None
    returned: bool = False


UNLIMITED: Final = Pass(returned=True)
"""The shared pass of everybody without limits."""


class RateLimits:
    """All limits this worker enforces, of keys and of deployments."""

    def __init__(
        self,
        store: StateStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall = wall
        self._holder = uuid.uuid4().hex
        self._credits: dict[str, Credit] = {}
        self._places: dict[str, Places] = {}
        self._task: asyncio.Task[None] | None = None
        self.refused = 0

    def start(self) -> None:
        """Begin to keep leased places alive and to give unused ones back."""
        self._task = asyncio.create_task(self._run(), name="rate-keeper")

    async def stop(self) -> None:
        """Give all places back."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._tell_all()

    async def admit(self, principal: Principal, tokens: float) -> Pass | TooMany:
        """Ask whether a caller may make one call of about so many tokens; give the pass back with ``done``."""
        if principal.limits.unlimited:
            return UNLIMITED
        return await self.ask(f"key:{principal.key_id}", principal.limits, tokens)

    async def ask(self, subject: str, limits: Limited, tokens: float) -> Pass | TooMany:
        """Ask for one call under the limits of a subject, such as ``deployment:acme/m1``."""
        given = Pass(tokens)
        refusal = await self._places_for(subject, limits, given)
        if refusal is None:
            refusal = await self._credit_for(subject, limits, given)
        if refusal is not None:
            self.refused += 1
            self._undo(given)
            return refusal
        return given

    def done(self, given: Pass, tokens: float | None = None) -> None:
        """Take a pass back when its call ended; ``tokens`` None: it used what was asked for. Twice counts once."""
        if given.returned:
            return
        given.returned = True
        if given.places is not None:
            given.places.leave()
        if given.tokens_from is not None and tokens is not None:
            given.tokens_from.give(given.tokens - tokens)

    def headers(self, principal: Principal) -> dict[str, str]:
        """Return OpenAI's ``x-ratelimit-*`` headers for a caller; empty without limits."""
        limits = principal.limits
        left: dict[Measure, tuple[int, float]] = {}
        for measure, limit in (
            (Measure.REQUESTS, limits.requests_per_minute),
            (Measure.TOKENS, limits.tokens_per_minute),
        ):
            if limit is not None:
                left[measure] = (limit, self._credit(f"key:{principal.key_id}", measure, limit).left())
        return ratelimit_headers(left)

    async def _places_for(self, subject: str, limits: Limited, given: Pass) -> TooMany | None:
        if limits.max_in_flight is None:
            return None
        name = f"open:{subject}"
        places = self._places.get(name)
        if places is None:
            places = Places(name, limits.max_in_flight, self._store, self._holder, self._clock)
            self._places[name] = places
        places.limit = limits.max_in_flight
        if not await places.enter():
            return TooMany("in_flight", limits.max_in_flight, 1.0)
        given.places = places
        return None

    async def _credit_for(self, subject: str, limits: Limited, given: Pass) -> TooMany | None:
        if limits.requests_per_minute is not None:
            credit = self._credit(subject, Measure.REQUESTS, limits.requests_per_minute)
            wait = await credit.take(1.0)
            if wait > 0.0:
                return TooMany("requests", limits.requests_per_minute, wait)
            given.requests_from = credit
        if limits.tokens_per_minute is not None:
            credit = self._credit(subject, Measure.TOKENS, limits.tokens_per_minute)
            wait = await credit.take(given.tokens)
            if wait > 0.0:
                return TooMany("tokens", limits.tokens_per_minute, wait)
            given.tokens_from = credit
        return None

    @staticmethod
    def _undo(given: Pass) -> None:
        """Return what a refused call had taken already."""
        given.returned = True
        if given.places is not None:
            given.places.leave()
        if given.requests_from is not None:
            given.requests_from.give(1.0)

    def _credit(self, subject: str, measure: Measure, limit: int) -> Credit:
        name = f"{measure}:{subject}"
        credit = self._credits.get(name)
        if credit is None:
            if len(self._credits) > 50_000:
                self._credits.clear()
            credit = self._credits[name] = Credit(name, limit, self._store, self._wall, level=float(limit))
        credit.capacity = limit
        return credit

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_KEEP_EVERY_S)
            await self._tell_all()

    async def _tell_all(self) -> None:
        if not self._store.shared:
            return
        for name, places in list(self._places.items()):
            if places.granted == 0 and places.used == 0:
                del self._places[name]
                continue
            with contextlib.suppress(StoreError):
                async with places.turn:
                    await places.tell()
