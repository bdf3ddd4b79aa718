"""What is put off until after an answer: begun a moment later, a little in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from logging import Logger
from typing import Final, Generic, TypeVar

from gateway.stages import Steps, together

T = TypeVar("T")

_SHARE: Final = 8
"""A turn works off an eighth of what waits, if that is more than usual: what waits holds whole requests."""


class Backlog(Generic[T]):
    """Items that wait for ``work`` in its stages, the oldest first; nobody's answer waits for all of them.

    A turn takes ``at_once``, or a share of a longer queue. An item whose work fails is logged as ``fault``, lost alone.
    """

    def __init__(self, work: Callable[[T], Steps[None]], *, at_once: int, log: Logger, fault: str) -> None:
        """Begin with nothing that waits."""
        self._work = work
        self._at_once = at_once
        self._log = log
        self._fault = fault
        self._waiting: deque[T] = deque()
        self._scheduled = False

    def __len__(self) -> int:
        """Count what waits."""
        return len(self._waiting)

    def put(self, item: T, delay_s: float) -> None:
        """Take an item; work on what waits begins in ``delay_s`` seconds unless it is under way."""
        self._waiting.append(item)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(delay_s, self._some)

    def drain(self) -> None:
        """Work off all that waits, now."""
        self._take(len(self._waiting))

    def pieces(self) -> Iterator[None]:
        """Work off as many as wait now, ``at_once`` between two pauses in which others may have their turn."""
        for _ in range(0, len(self._waiting), self._at_once):
            self._take(self._at_once)
            yield

    def _some(self) -> None:
        self._take(max(self._at_once, len(self._waiting) // _SHARE))
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._some)
        else:
            self._scheduled = False

    def _take(self, most: int) -> None:
        together([self._guarded(self._waiting.popleft()) for _ in range(min(most, len(self._waiting)))])

    def _guarded(self, item: T) -> Steps[None]:
        try:
            yield from self._work(item)
        except Exception:  # noqa: BLE001 - one odd item must not stop the others
            self._log.exception(self._fault)
