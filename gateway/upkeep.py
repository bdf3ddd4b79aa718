"""Keeps the store bounded: every few minutes expired documents, old ledger rows and unused series go."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Final

from gateway.store_errors import StoreError
from router_core.policy import CapturePolicy
from router_core.ports import StateStore

_log = logging.getLogger("gateway.upkeep")
EVERY_S: Final = 600.0
_DAY_S: Final = 86_400.0


class Upkeep:
    """One background task. Each worker runs one, at times of its own; doing it twice does no harm."""

    def __init__(
        self,
        store: StateStore,
        policy: Callable[[], CapturePolicy],
        *,
        every_s: float = EVERY_S,
        rng: random.Random | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._policy = policy
        self._every_s = every_s
        self._rng = rng or random.Random()  # noqa: S311 - spreads workers over time, no secret
        self._wall = wall
        self._task: asyncio.Task[None] | None = None
        self.done = 0

    def start(self) -> None:
        """Begin; call once, on the running loop."""
        self._task = asyncio.create_task(self._run(), name="store-upkeep")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def once(self) -> bool:
        """Prune now; returns whether the store let us."""
        before = self._wall() - self._policy().ledger_days * _DAY_S
        try:
            await self._store.prune(ledger_before=before)
        except StoreError as exc:
            _log.info("the state store could not be pruned: %s", exc)
            return False
        self.done += 1
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s * self._rng.uniform(0.5, 1.5))
            try:
                await self.once()
            except Exception:  # noqa: BLE001 - what went wrong once must not end it for good
                _log.exception("pruning the state store")
