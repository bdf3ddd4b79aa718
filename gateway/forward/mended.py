"""JSON that a strict reader refuses and a client's would take: read for what it says, never passed on as it is."""

from __future__ import annotations

import json
import math
from typing import Any, Final

import orjson

_DEEP: Final = 400
"""Levels that nobody has trouble with."""
_SPARE: Final = 200
"""Levels left for whoever writes, or reads, from deeper in a program than we are here."""


def mended(data: bytes) -> Any:
    """Return what bytes say that orjson refuses; None when that is no JSON either.

    Forgiven: bytes that are not UTF-8 (U+FFFD), a byte order mark, NaN, Infinity and 1e999 (null), control characters
    within a string, and half a surrogate pair: providers that cut a stream by UTF-16 units send the halves of one emoji
    in two events. A half stays as it is in the string; joined to its other half it is a character again
    (``chunks.joined``).
    """
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        return json.loads(text, parse_constant=_nothing, parse_float=_finite, strict=False)
    except (ValueError, RecursionError):
        return None


def passable(data: bytes) -> bool:
    """Say whether bytes that ``mended`` could read may go on as they came: halves of characters, nothing worse."""
    try:
        json.loads(data.decode("utf-8"), parse_constant=_refuse, parse_float=_within)
    except (ValueError, RecursionError):
        return False
    return True


def sound(value: Any) -> Any:
    """Return JSON data without lone halves of characters: pairs are joined, halves become U+FFFD."""
    text = json.dumps(value, ensure_ascii=False)
    return orjson.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def too_deep(data: bytes, value: Any) -> bool:
    """Say whether a value that was read from ``data`` nests so deeply that not everybody could write it again.

    Mostly there is no need to try.
    """
    if len(data) <= 2 * _DEEP or data.count(b"[") + data.count(b"{") <= _DEEP:
        return False
    for _ in range(_SPARE):
        value = [value]
    try:
        json.dumps(value)
    except RecursionError:
        return True
    return False


def _finite(text: str) -> float | None:
    """Read a number; one too large for a double is none, as Infinity is."""
    number = float(text)
    return number if math.isfinite(number) else None


def _within(text: str) -> float:
    if _finite(text) is None:
        raise ValueError(text)
    return 0.0


def _nothing(name: str) -> None:
    del name


def _refuse(name: str) -> None:
    raise ValueError(name)
