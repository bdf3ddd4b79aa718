"""One connection: a request goes out, its answer comes in, and then perhaps another."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final, cast

import httptools

from gateway.forward.http1.errors import CutShort, Disconnected, Malformed
from gateway.forward.http1.response import Headers, Response
from gateway.forward.http1.target import Origin

HEAD_BYTES: Final = 32 * 1024
"""The most the fields of a head may have together, and the most that may come without a byte of the body."""
KEEP_S: Final = 30.0
"""How long a connection is kept whose provider does not say how long it keeps it."""
_MARGIN_S: Final = 1.0
"""The provider counts from when it wrote, and a request is on its way for a while."""
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"content-encoding", b"keep-alive"})
"""The fields that say how to read on."""
_KEEPS = re.compile(rb"timeout *= *\"?(\d{1,6})", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """A socket to one origin with at most one request under way.

    ``kept`` is called when an answer has ended and another request may follow, ``lost`` when the socket is closed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        kept: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        """Wait to be connected."""
        self.origin = origin
        self._loop = loop
        self._kept = kept
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        # What others read without a word: bare LF as a line's end, blanks after a chunk's size.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._transport: asyncio.Transport | None = None
        self._socket: asyncio.Transport | None = None
        self._response: Response | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._bodiless = 0
        self._interim = False
        self._to_the_end = False
        self._keep = False
        self._paused = False
        self.keep_s = KEEP_S
        """How long it may be kept without a request, in s: what the last answer said, if it said something."""
        self.idle_until = 0.0
        """Until when it may be used, in seconds of the loop's clock."""

    @property
    def usable(self) -> bool:
        """Whether a request can be sent."""
        transport = self._transport
        return transport is not None and self._response is None and not transport.is_closing()

    def send(self, request: bytes) -> Response:
        """Send a request, whole; its answer comes later."""
        assert self._transport is not None, "a connection is used after it was made"  # noqa: S101 - narrows the type
        self._bodiless = 0
        self._keep = False
        response = self._response = Response(self._loop, self.abort, self._read_on)
        self._transport.write(request)
        return response

    def abort(self) -> None:
        """Close the socket now."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = self._socket = cast("asyncio.Transport", transport)

    def secured(self, transport: asyncio.Transport) -> None:
        """Speak through TLS from now on.

        What is unsent is known below it alone; and reading is held back there, for what TLS still holds is thrown away
        by uvloop when the socket closes.
        """
        self._transport = transport

    def eof_received(self) -> None:
        """End an answer that ends with the connection; what we have still to write changes nothing any more.

        uvloop calls this in TLS only after its farewell, without which such an answer is not whole (RFC 9112, 9.8).
        """
        if self._response is not None and self._response.status and self._to_the_end:
            self._response.end()
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the reader that nothing more comes, which is well for an answer that has ended."""
        del exc
        self._transport = self._socket = None
        self._lost(self)
        response, self._response = self._response, None
        if response is not None:
            response.end(CutShort() if response.status else Disconnected(self._bodiless))
            response.wake()

    def data_received(self, data: bytes) -> None:
        """Parse what came, then let the reader look at it once."""
        response = self._response
        if response is None:
            self.abort()  # nobody asked: what it belongs to can never be told
            return
        self._bodiless += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._keep = False
            if not response.ended:
                self._fail(response, exc)
                return
        if response.ended:
            self._let_go()
        elif response.unbearable or self._bodiless > HEAD_BYTES:
            self._fail(response, None)
        elif response.full and not self._paused and self._socket is not None:
            self._paused = True
            self._socket.pause_reading()
        response.wake()

    def _fail(self, response: Response, cause: BaseException | None) -> None:
        fault = Malformed()
        fault.__cause__ = cause
        response.end(fault)
        self.abort()
        response.wake()

    def _let_go(self) -> None:
        """Keep the connection for another request if both sides are done with this one."""
        self._response = None
        self._read_on()
        if self._keep and self._socket is not None and not self._socket.get_write_buffer_size():
            self._kept(self)
        else:
            self.abort()

    def _read_on(self) -> None:
        if self._paused and self._socket is not None:
            self._paused = False
            self._socket.resume_reading()

    # what the parser calls

    def on_message_begin(self) -> None:
        """Begin a head; one that follows a whole answer belongs to nobody."""
        if self._response is None or self._response.ended:
            raise Malformed
        self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; those behind a body (trailers) are left out."""
        response = self._response
        if response is not None and not response.status:
            self._fields.append((name.rstrip().lower(), value))  # the parser puts up with blanks before the colon

    def on_headers_complete(self) -> None:
        """Take the head, unless it is a word in between (100, 103)."""
        status = self._parser.get_status_code()
        self._interim = status < 200
        if self._interim or self._response is None:
            if status < 100:
                raise Malformed
            return
        coding, size, bounded = b"", 0, False
        self.keep_s = KEEP_S
        for name, value in self._fields:
            size += len(name) + len(value)
            if name not in _FRAMING:
                continue
            if name == b"content-length":
                bounded = True
            elif name == b"transfer-encoding":
                if value.strip().lower() != b"chunked":
                    raise Malformed  # a coding that nobody asked for: its bytes would be taken for the body
                bounded = True
            elif name == b"content-encoding":
                coding = value.strip().lower()
            elif name == b"keep-alive" and (said := _KEEPS.search(value)) is not None:
                self.keep_s = min(KEEP_S, int(said[1]) - _MARGIN_S)
        if size > HEAD_BYTES:
            raise Malformed
        self._to_the_end = not bounded
        self._response.begin(status, Headers(self._fields), coding.decode("latin-1"))

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body; a word in between has none."""
        response = self._response
        if response is None or self._interim:
            raise Malformed
        self._bodiless = 0
        response.add(data)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._response is not None and not self._interim:
            self._keep = self._parser.should_keep_alive()
            self._response.end()
