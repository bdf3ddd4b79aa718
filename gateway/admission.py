"""Overload: bounded open requests, a bounded queue, and shedding when the event loop lags.

Full means a fast 503 with a jittered Retry-After, never a 429: that would blame the client for our load.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

from gateway.http.errors import ApiError
from gateway.turns import Turns
from router_core.policy import AdmissionPolicy

_PROBE_S = 0.25
_BUSY_SHARE = 0.1
_DRAINING = "the gateway is shutting down"
_KEY_FULL = "too many open requests for this key"
_FULL = "the gateway is overloaded"


class Admission:
    """Counts open requests. ``policy`` is read at each admission, so a reload counts at once."""

    def __init__(self, policy: Callable[[], AdmissionPolicy], rng: random.Random | None = None) -> None:
        """Begin empty and open."""
        self._policy = policy
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrets
        self._turns = Turns()
        self._idle = asyncio.Event()
        self._idle.set()
        self._per_key: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self.in_flight = 0
        self.shed = 0
        self.lag_s = 0.0
        self.draining = False
        self.expelled = False

    def start(self) -> None:
        """Begin to measure the event loop's lag."""
        self._task = asyncio.create_task(self._probe(), name="loop-lag")

    async def stop(self) -> None:
        """Stop measuring."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def enter(self, key_id: str) -> None:
        """Take a place, waiting in the queue for at most ``queue_wait_s``; raises ApiError 503."""
        policy = self._policy()
        if self.draining:
            raise self._full(_DRAINING, "draining")
        most, held = policy.max_in_flight_per_key, self._per_key.get(key_id, 0)
        if most is not None and held >= most:
            raise self._full(_KEY_FULL, "overloaded")
        if self.lag_s > policy.max_loop_lag_s and self.in_flight > _BUSY_SHARE * policy.max_in_flight:
            raise self._full(_FULL, "overloaded")
        self._per_key[key_id] = held + 1  # while it waits, too: a key must not fill the queue beyond its own limit
        if self.in_flight < policy.max_in_flight and not self._turns:
            self.in_flight += 1
            self._idle.clear()
            return
        try:
            await self._wait(policy)
        except BaseException:
            self._forget(key_id)
            raise

    def leave(self, key_id: str) -> None:
        """Give the place back; the first in the queue gets it."""
        self._forget(key_id)
        self._pass_on()

    def _forget(self, key_id: str) -> None:
        left = self._per_key.get(key_id, 0) - 1
        if left > 0:
            self._per_key[key_id] = left
        else:
            self._per_key.pop(key_id, None)

    def _pass_on(self) -> None:
        """Hand a place to the first in the queue: it never counts as free meanwhile, so nobody can slip in between.

        After a reload with a higher limit, more than one place is there to be had.
        """
        self.in_flight -= 1
        most = self._policy().max_in_flight
        while self.in_flight < most and self._turns.hand_over():
            self.in_flight += 1
        if not self.in_flight:
            self._idle.set()

    async def idle(self, seconds: float) -> bool:
        """Wait until nothing is open, for at most so long; returns whether nothing is."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        return not self.in_flight

    async def _wait(self, policy: AdmissionPolicy) -> None:
        if len(self._turns) >= policy.max_queue or not await self._turns.wait(policy.queue_wait_s, self._pass_on):
            raise self._full(_FULL, "overloaded")

    def _full(self, message: str, code: str) -> ApiError:
        self.shed += 1
        return ApiError(503, message, code, retry_after_s=1.0 + 4.0 * self._rng.random())

    async def _probe(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(_PROBE_S)
            late = max(0.0, loop.time() - before - _PROBE_S)
            # One hiccup is no overload: the lag counts only when it lasts.
            self.lag_s = 0.5 * self.lag_s + 0.5 * late
