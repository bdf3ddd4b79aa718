"""A transport that sends an answer's head together with what follows it.

uvicorn writes the head when the answer starts and the body when it comes: two system calls, two packets, and a client
that wakes for a head it can do nothing with.
"""

from __future__ import annotations

import asyncio
from typing import Any


class JoinedTransport:
    """Holds the first write after ``expect`` until the second one, for a turn of the loop at most.

    Everything else is the transport's own: what is not defined here is asked of it.
    """

    __slots__ = ("_first", "_held", "_loop", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Stand before ``transport``; nothing is held until an answer is expected."""
        self._transport = transport
        self.is_closing = transport.is_closing
        self._loop = loop
        self._first = False
        self._held: bytes | None = None

    def expect(self) -> None:
        """Say that the next write begins an answer."""
        self._first = True

    def write(self, data: bytes) -> None:
        """Send ``data`` with what was held, or hold it."""
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.writelines((held, data))
        elif self._first:
            self._first = False
            self._held = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send what is held."""
        if self._held is not None:
            held, self._held = self._held, None
            if not self.is_closing():
                self._transport.write(held)

    def close(self) -> None:
        """Send what is held, and close."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._held = None
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
