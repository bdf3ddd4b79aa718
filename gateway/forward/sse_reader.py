"""Server-sent events out of bytes: no socket in it, a buffer and a rule for where an event ends.

Rules (https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.5 and 9.2.6):
lines end with CR LF, LF or CR; a blank line ends an event; ``data`` lines are joined by LF; a line that begins with a
colon is a comment; one leading byte order mark is skipped. Unlike a browser we also deliver an event that the end of
the stream cut its blank line off, and a bare line of JSON as if it were data: providers forget both.
"""

from __future__ import annotations

from typing import Final

Item = tuple[bytes, bytes | None]
"""(event name, data); data is None for a comment or a block without data: a sign of life, nothing more."""

_ALIVE: Final[Item] = (b"", None)
_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = (b"", b"\n")
"""What a run of blank lines leaves between two ends of events."""
_EVENT: Final = b"event: "
_DATA: Final = b"data: "
_NEXT_DATA: Final = b"\n\n" + _DATA


class EventTooLarge(Exception):
    """One event grew beyond the limit before it ended."""


class SseReader:
    """Collects bytes, hands out whole events. ``limit`` bounds one event in bytes."""

    __slots__ = ("_buffer", "_carriage", "_limit", "_scanned", "_started")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._scanned = 0
        self._carriage = False
        self._started = False

    def feed(self, data: bytes) -> list[Item]:
        """Take bytes and return the events they complete, in order. Raises ``EventTooLarge``."""
        if self._carriage or data.find(b"\r") >= 0:  # ``in`` would first take it for a number, at great length
            data = self._line_feeds(data)
        if not self._buffer and self._started and data.endswith(b"\n\n") and len(data) <= self._limit:
            return _items(data[:-2])
        buffer = self._buffer
        buffer += data
        if not self._started and not self._begin():
            return []
        end = buffer.rfind(b"\n\n", max(0, self._scanned - 1))
        self._scanned = len(buffer)
        if end < 0:
            if len(buffer) > self._limit:
                raise EventTooLarge
            return []
        whole = bytes(buffer[:end])
        del buffer[: end + 2]
        self._scanned = len(buffer)
        if len(buffer) > self._limit or (len(whole) > self._limit and _longest(whole) > self._limit):
            raise EventTooLarge
        return _items(whole)

    def finish(self) -> list[Item]:
        """Return what is left when the stream has ended cleanly."""
        rest = bytes(self._buffer).strip(b"\n")
        self._buffer.clear()
        return [_parse(rest)] if rest else []

    def _begin(self) -> bool:
        """Skip one byte order mark; wait while it may still be coming."""
        if len(self._buffer) < len(_BOM) and _BOM.startswith(bytes(self._buffer)):
            return False
        if self._buffer.startswith(_BOM):
            del self._buffer[: len(_BOM)]
        self._started = True
        return True

    def _line_feeds(self, data: bytes) -> bytes:
        """Return the bytes with every kind of line end turned into LF; CR and LF may come in two pieces."""
        if self._carriage and data.startswith(b"\n"):
            data = data[1:]  # the LF of a CR LF whose CR was already counted
        self._carriage = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _longest(whole: bytes) -> int:
    return max(map(len, whole.split(b"\n\n")))


def _items(whole: bytes) -> list[Item]:
    """Return events out of their text, which is without the last one's blank line."""
    if whole.startswith(_DATA):
        lines = whole[len(_DATA) :].split(_NEXT_DATA)
        if b"".join(lines).find(b"\n") < 0:  # one line of data an event and nothing else, as OpenAI sends them
            return [(b"", line) for line in lines]
    return [_parse(block) for block in whole.split(b"\n\n") if block not in _BLANK]


def _parse(block: bytes) -> Item:
    first, _, second = block.partition(b"\n")
    if first.startswith(_EVENT) and second.startswith(_DATA) and second.find(b"\n") < 0:  # as Anthropic sends them
        return first[len(_EVENT) :], second[len(_DATA) :]
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif line.startswith(b"{"):
            data.append(line)
    return (name, b"\n".join(data)) if data else _ALIVE
