"""Whose turn it is: those who wait for a place, first come, first served; each for at most so long."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable


class Turns:
    """A queue for places that somebody else counts. A place that is handed over never counts as free meanwhile."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def hand_over(self) -> bool:
        """Give a place to the first who still waits; False when nobody does."""
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
                return True
        return False

    async def wait(self, seconds: float, give_back: Callable[[], None]) -> bool:
        """Wait for a place, for at most so long; returns whether it was handed over.

        ``give_back`` is called with a place that came in the very moment this one gave up: it is the next one's.
        """
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            async with asyncio.timeout(seconds):
                await mine
        except BaseException as exc:
            if mine.done() and not mine.cancelled():
                give_back()
            else:
                with contextlib.suppress(ValueError):  # taken out already when a place came by after it gave up
                    self._waiting.remove(mine)
            if isinstance(exc, TimeoutError):
                return False
            raise
        return True
