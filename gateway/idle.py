"""A watchdog for silence that costs two assignments per event instead of a timer each."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self


class IdleWatch:
    """Cancels the current task's wait when an upstream is silent for ``limit_s``, or when ``until`` has come.

    Only time between ``waiting`` and ``got`` counts: a client that reads slowly is not the upstream's silence. Used
    as a context manager inside one task; ``expired`` tells a silence from a cancellation by somebody else.
    """

    __slots__ = ("_handle", "_limit", "_loop", "_since", "_task", "_until", "expired")

    def __init__(self, limit_s: float, until: float) -> None:
        """``until`` is on the event loop's clock."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        self._limit = limit_s
        self._until = until
        self._since: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        self.expired = False

    def waiting(self) -> None:
        """Begin to wait for the upstream; silence counts from now."""
        self._since = self._loop.time()

    def got(self) -> None:
        """Stop counting: something came."""
        self._since = None

    def shorten(self, limit_s: float) -> None:
        """Lower the silence allowed from now on."""
        self._limit = limit_s
        if self._handle is not None:
            self._handle.cancel()
        self._arm(self._loop.time() + limit_s)

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._arm(self._loop.time() + self._limit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        self.stop()

    def stop(self) -> None:
        """Stop watching; safe to call twice."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def uncancel(self) -> None:
        """Take back the cancellation this watch made, once it was caught."""
        task: Any = self._task
        if task is not None:
            task.uncancel()

    def _arm(self, at: float) -> None:
        self._handle = self._loop.call_at(min(at, self._until), self._check)

    def _check(self) -> None:
        now = self._loop.time()
        since = self._since
        if since is not None and (now - since >= self._limit or now >= self._until):
            self.expired = True
            if self._task is not None:
                self._task.cancel()
            return
        if since is None:
            self._handle = self._loop.call_later(min(self._limit, 1.0), self._check)
        else:
            self._arm(max(since + self._limit, now + 0.001))
