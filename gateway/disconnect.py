"""Racing work against the client leaving: the moment the connection is gone, the work is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class ClientWatch:
    """Cancels the current task when the client disconnects. ``gone`` tells that from other cancellations."""

    __slots__ = ("_receive", "_task", "_watcher", "gone")

    def __init__(self, receive: Receive) -> None:
        """``receive`` must have delivered the whole body already."""
        self._receive = receive
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self.gone = False

    def start(self) -> None:
        """Begin to watch."""
        self._watcher = asyncio.create_task(self._watch())

    def stop(self) -> None:
        """Stop watching; safe to call twice."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def _watch(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                if self._task is not None:
                    self._task.cancel()
                return
