"""One answer, as far as it has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from gateway.forward.http1.errors import CutShort, Http1Error, Malformed
from gateway.forward.http1.inflate import CODINGS, Inflate

_MOST_HELD_BYTES: Final = 256 * 1024
"""What is read ahead of the reader; the provider waits then."""
_MOST_UNREAD_BYTES: Final = 1024 * 1024
"""What is thrown away of a body that nobody can read."""
_PLAIN: Final = frozenset({"", "identity", "none", "utf-8", "utf8"})
"""Codings that are none; some servers put the character set here."""


class Headers(Mapping[str, str]):
    """Header fields; equal names are joined by commas. They are put in order when first looked at."""

    __slots__ = ("_fields", "_known")

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Take the fields as they came, their names in lower case."""
        self._fields = fields
        self._known: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        """Return a value, whatever the case of its name."""
        return self._by_name()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in lower case."""
        return iter(self._by_name())

    def __len__(self) -> int:
        """Count the names."""
        return len(self._by_name())

    def _by_name(self) -> dict[str, str]:
        if self._known is None:
            known: dict[str, str] = {}
            for name, value in self._fields:
                key, text = name.decode("latin-1"), value.decode("utf-8", "surrogateescape").rstrip()
                known[key] = f"{known[key]}, {text}" if key in known else text
            self._known = known
        return self._known


class Response:
    """An answer whose bytes come as they are read from the socket. One reader at a time.

    ``close`` closes that socket, ``more`` lets the provider go on after the reader had fallen behind.
    """

    __slots__ = (
        *("_close", "_fault", "_held", "_inflate", "_left", "_loop", "_more", "_parts", "_waiter"),
        *("ended", "headers", "status"),
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, close: Callable[[], None], more: Callable[[], None]) -> None:
        self.status = 0
        """0 until the head is there."""
        self.headers: Mapping[str, str] = {}
        self.ended = False
        """Whether the body's last byte has come; it may not have been read yet."""
        self._loop = loop
        self._close = close
        self._more = more
        self._parts: list[bytes] = []
        self._held = 0
        self._left: int | None = None
        self._inflate: Inflate | None = None
        self._fault: Http1Error | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case; empty when none is named."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def ready(self) -> bool:
        """Whether ``read_some`` surely returns or raises without waiting."""
        return self.ended or (bool(self._parts) and self._inflate is None) or self._fault is not None

    async def begun(self) -> Response:
        """Return this answer as soon as its head is there. Raises ``Http1Error``; then, or cancelled, it is closed."""
        try:
            while not self.status:
                if self._fault is not None:
                    raise self._fault  # noqa: TRY301 - one place closes the socket
                await self._news()
        except BaseException:
            self.abort()
            raise
        return self

    async def read_some(self) -> bytes:
        """Return what has come of the body, decoded, waiting for more; nothing at its end. Raises ``Http1Error``."""
        while True:
            inflate = self._inflate
            if self._parts or (inflate is not None and inflate.pending):
                if inflate is not None and inflate.pending:
                    await asyncio.sleep(0)  # a little that came may be a lot: others get their turn between the pieces
                data = self._take()
                if data:
                    return data
            elif self._fault is not None:
                raise self._fault
            elif self.ended:
                if inflate is not None and inflate.cut:
                    raise CutShort
                return b""
            else:
                await self._news()

    def abort(self) -> None:
        """Close the socket now, without a TLS farewell, unless the answer has come whole. Safe to call twice.

        A whole answer has let go of its connection, which may be another call's by now.
        """
        if not self.ended and self._fault is None:
            self._close()

    def discard(self, limit: int) -> None:
        """Throw the rest away as it comes; more than ``limit`` bytes of it are not put up with."""
        self._parts.clear()
        self._held = 0
        self._left = limit
        if not self.ended:
            self._more()

    def begin(self, status: int, headers: Headers, coding: str) -> None:
        """Take the head; ``coding`` is the body's content coding.

        One that nobody asked for raises ``Malformed``, except where the status says enough without a body.
        """
        if coding in CODINGS:
            self._inflate = Inflate()
        elif coding not in _PLAIN:
            if 200 <= status < 300:
                raise Malformed
            self._left = _MOST_UNREAD_BYTES
        self.headers = headers
        self.status = status

    def add(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self._left is None:
            self._parts.append(data)
            self._held += len(data)
        else:
            self._left -= len(data)

    @property
    def full(self) -> bool:
        """Whether more is held than a reader wants at a time."""
        return self._held > _MOST_HELD_BYTES

    @property
    def unbearable(self) -> bool:
        """Whether more was thrown away than is put up with."""
        return self._left is not None and self._left < 0

    def end(self, fault: Http1Error | None = None) -> None:
        """Note that nothing more will come; the first fault stays."""
        if fault is None:
            self.ended = True
        elif not self.ended and self._fault is None:
            self._fault = fault

    def wake(self) -> None:
        """Let the reader look again."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _news(self) -> asyncio.Future[None]:
        """Return what is done as soon as there is something to look at again."""
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def _take(self) -> bytes:
        inflate, parts = self._inflate, self._parts
        if inflate is not None and inflate.pending:
            return inflate.piece()  # and the provider waits, however much there is in the little that came
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        if self.full and not self.ended:  # else the connection may be another call's by now
            self._more()
        self._held = 0
        if inflate is None:
            return data
        inflate.feed(data)
        return inflate.piece()
