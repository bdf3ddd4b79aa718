"""uvicorn's HTTP/1.1 protocol with bounds on everything that comes before, beside and after a request.

| what                                                       | what happens                                       |
|------------------------------------------------------------|----------------------------------------------------|
| a request head that is larger than ``limits.header_bytes`` | 431, closed                                        |
| a request head slower than ``limits.header_timeout_s``     | closed                                             |
| bytes that are no HTTP, or could be read in two ways       | 400, closed: what follows cannot be trusted        |
| a body that goes on after its answer (401, 413, …)         | read and thrown away for ``LINGER_S``, then closed |
| a client that reads nothing of its answer for ``STALL_S``  | closed, so that its call upstream ends, too        |
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.disconnect import LEAVING, WHOLE
from gateway.http.errors import ApiError
from gateway.http.joined import JoinedTransport
from router_core.policy import InputLimits

LINGER_S: Final = 5.0
"""Long enough for a client to finish sending and read why it was refused."""
STALL_S: Final = 60.0
_REASONS: Final = {400: b"Bad Request", 431: b"Request Header Fields Too Large"}


class GuardedProtocol(HttpToolsProtocol):
    """One connection. ``limits`` is read for each, so that a reload of the configuration counts for the next."""

    limits: Callable[[], InputLimits] = InputLimits
    linger_s = LINGER_S
    stall_s = STALL_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Start outside of any request head."""
        super().__init__(*args, **kwargs)
        found = type(self).limits()
        self._most_head_bytes = int(found.header_bytes)
        self._head_timeout_s = found.header_timeout_s
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._head_bytes = 0
        self._in_head = True
        self._leaving: set[Callable[[], None]] = set()
        self._joined: JoinedTransport

    def connection_made(self, transport: Any) -> None:
        """Expect a request head soon."""
        joined: Any = JoinedTransport(transport, self.loop)  # answers all that a transport is asked
        self._joined = joined
        super().connection_made(joined)
        self._arm("head", self._head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers, and tell the requests under way that nobody waits for them."""
        for name in tuple(self._timers):
            self._disarm(name)
        super().connection_lost(exc)
        for left in tuple(self._leaving):
            left()

    def data_received(self, data: bytes) -> None:
        """Hand no more of a head to the parser than a head may have; a body is counted where it is read."""
        while self._in_head:
            room = self._most_head_bytes - self._head_bytes
            part, data = data[:room], data[room:]
            self._head_bytes += len(part)
            super().data_received(part)
            if self.transport.is_closing():
                return
            if self._head_bytes >= self._most_head_bytes:  # still in it, or it would be 0
                self._refuse(ApiError(431, "the request's headers are too large", "headers_too_large"))
                return
            if self._head_bytes:
                self._arm("head", self._head_timeout_s)
            if not data:
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The head is whole: what follows is a body or the next request."""
        self._in_head = False
        self._head_bytes = 0
        self._disarm("head")
        self._joined.expect()
        extensions: Any = self.scope.setdefault("extensions", {})
        extensions[LEAVING] = self._leaving
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole: the next bytes begin another head."""
        self._in_head = True
        self._disarm("linger")
        extensions: Any = self.scope["extensions"]
        extensions[WHOLE] = True
        super().on_message_complete()
        if not self.pipeline:
            self.flow.resume_reading()  # a large body paused it, and a client's leaving is heard only while we read

    def on_response_complete(self) -> None:
        """Keep a connection whose request is not whole for a moment only: it was refused, and nobody reads the rest."""
        if not self._in_head and not self._answering():  # of pipelined requests, the last is looked at
            self._arm("linger", self.linger_s)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give a client that reads nothing some time; ``send`` waits meanwhile, and so does the provider."""
        self._arm("stall", self.stall_s)
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client reads on."""
        self._disarm("stall")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP in the shape of every other refusal."""
        del msg
        self._refuse(ApiError(400, "this is not a valid HTTP request", "invalid_http"))

    def _refuse(self, error: ApiError) -> None:
        """Answer and close; an answer that is under way already is cut, for two must never be mixed."""
        if self._answering(started=True):
            self.transport.close()
            return
        body = error.render()
        head = [
            b"HTTP/1.1 %d %s" % (error.status, _REASONS[error.status]),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"x-request-id: req_" + secrets.token_hex(12).encode(),
            b"x-router-overhead-ms: 0.00",
            b"x-should-retry: false",
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join((*head, b"", body)))
        self.transport.close()

    def _answering(self, *, started: bool = False) -> bool:
        """Whether the last request is still being answered; ``started``: whether its answer has begun."""
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete and (cycle.response_started or not started)

    def _arm(self, name: str, seconds: float) -> None:
        """Close the connection in so many seconds unless disarmed; an armed timer stays as it is."""
        if name not in self._timers:
            self._timers[name] = self.loop.call_later(seconds, self._expire, name)

    def _disarm(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _expire(self, name: str) -> None:
        self._timers.pop(name, None)
        if name == "stall":
            self.transport.abort()  # closing would wait for what nobody reads
        elif name == "head" and self._answering():
            self._arm(name, self._head_timeout_s)  # bytes after a request must not cost it its answer
        elif not self.transport.is_closing():
            self.transport.close()


def guarded(limits: Callable[[], InputLimits]) -> type[GuardedProtocol]:
    """Return the protocol with the limits of a configuration."""
    return type("BoundedProtocol", (GuardedProtocol,), {"limits": staticmethod(limits)})
