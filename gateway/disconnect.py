"""Racing work against the client leaving: the moment the connection is gone, the work is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

LEAVING: Final = "gateway.leaving"
"""The extension of a scope by which our server lets a request hear of its connection's end: a set of callbacks."""
WHOLE: Final = "gateway.whole"
"""The extension by which our server says that the request has come whole: nothing of it has to be waited for."""


class ClientWatch:
    """Cancels a request's task when the client disconnects. ``gone`` tells that from other cancellations.

    Under our own server that costs one entry in a set; under any other, a task that waits for the message.
    """

    __slots__ = ("_leaving", "_receive", "_task", "_watcher", "gone")

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, task: asyncio.Task[Any]) -> None:
        """``receive`` must have delivered the whole body already; ``task`` answers the request."""
        self._leaving: set[Callable[[], None]] | None = (scope.get("extensions") or {}).get(LEAVING)
        self._receive = receive
        self._task = task
        self._watcher: asyncio.Task[None] | None = None
        self.gone = False

    def start(self) -> None:
        """Begin to watch."""
        if self._leaving is not None:
            self._leaving.add(self._left)
        else:
            self._watcher = asyncio.create_task(self._watch())

    def stop(self) -> None:
        """Stop watching; safe to call twice."""
        if self._leaving is not None:
            self._leaving.discard(self._left)
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    def _left(self) -> None:
        self.gone = True
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._left()
                return
