"""Connections of clients, taken as many at a time as wait.

uvloop takes one in each turn of its loop (libuv 1.45 and later). Under load a turn answers many requests: of sixty
clients that came at once the last would be heard a second or two later, while the first are served again and again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

_log = logging.getLogger("gateway.http")
_AT_ONCE: Final = 32
"""A few milliseconds of work; the rest is taken in the next turn."""
_PAUSE_S: Final = 0.2


class Acceptor:
    """Listens on an open socket until closed; ``make`` returns the protocol of a new connection."""

    def __init__(self, listener: socket.socket, make: Callable[[], asyncio.Protocol], backlog: int) -> None:
        """Begin to listen; must run in the loop that will serve."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make = make
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listener.settimeout(0)
        listener.listen(backlog)
        self._listen()

    def close(self) -> None:
        """Take no more; those that were taken stay."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Wait until those that were taken are open."""
        if self._opening:
            await asyncio.wait(self._opening)

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._take)

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                taken, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # gone again before it was taken
            except OSError as exc:  # no descriptors, no memory: without a pause this would be all we do
                _log.error("no connection can be taken: %s", exc.strerror or type(exc).__name__)
                self._loop.remove_reader(self._listener)
                self._pause = self._loop.call_later(_PAUSE_S, self._listen)
                return
            task = self._loop.create_task(self._open(taken))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, taken: socket.socket) -> None:
        try:
            taken.settimeout(0)
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._make, taken)
        except OSError:
            taken.close()  # gone again before it was open
