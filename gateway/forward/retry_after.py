"""How long a provider wants to be left alone, from every form in which providers say it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST_WAIT_S: Final = 7 * 86_400.0
_UNITS: Final = {"ms": 0.001, "mi": 60.0, "m": 60.0, "s": 1.0, "h": 3600.0, "d": 86_400.0}
_PIECE: Final = re.compile(
    r"(\d+(?:\.\d+)?)\s*(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h|days?|d)(?![a-z])[\s,]*",
    re.IGNORECASE,
)
_SPOKEN: Final = re.compile(r"(?:try again|retry)\s+(?:in|after)\s+(?=\d)", re.IGNORECASE)
_LEFT: Final = re.compile(r"(x-ratelimit)-remaining-(\w[\w-]*)|(anthropic-ratelimit)-(\w[\w-]*)-remaining")


def retry_after_s(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Read how long a provider wants to be left alone, in seconds (0 to 7 days), from all forms of Retry-After.

    A date is counted from the answer's own ``Date`` where it has one, so that a wrong clock does not matter.
    """
    milliseconds = _float(_get(headers, "retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000.0)
    value = _get(headers, "retry-after")
    if not value:
        return None
    seconds = _float(value.partition(",")[0])
    if seconds is None:
        seconds = span_s(value)
    if seconds is not None:
        return _bounded(seconds)
    return _until(value, headers, now)


def spoken_s(message: str) -> float | None:
    """Read the wait that a message speaks of, as OpenAI's does: "Please try again in 1m12.5s."."""
    found = _SPOKEN.search(message)
    return None if found is None else span_s(message[found.end() :], whole=False)


def reset_s(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Read when a limit that is used up is renewed, as OpenAI's and Anthropic's headers say; the longest of several."""
    waits: list[float] = []
    for name, value in headers.items():
        found = _LEFT.fullmatch(name.lower())
        if found is None or value.strip() != "0":
            continue
        family, what, other, thing = found.groups()
        until = _get(headers, f"{family}-reset-{what}" if family else f"{other}-{thing}-reset")
        if until:
            wait = span_s(until)
            waits.append(_bounded(wait) if wait is not None else _until(until, headers, now) or 0.0)
    return max(waits, default=0.0) or None


def span_s(text: str, *, whole: bool = True) -> float | None:
    """Read a span such as ``345ms``, ``20s``, ``1m12.5s``; ``whole``: nothing else may stand in the text."""
    text, at, seconds = text.strip(), 0, 0.0
    while (piece := _PIECE.match(text, at)) is not None:
        unit = piece[2].lower()
        seconds += float(piece[1]) * _UNITS.get("ms" if unit.startswith("mill") else unit[:2], _UNITS[unit[0]])
        at = piece.end()
    if at == 0 or (whole and at < len(text)):
        return None
    return _bounded(seconds)


def _until(text: str, headers: Mapping[str, str], now: float | None) -> float | None:
    until = _date(text)
    if until is None:
        return None
    base = _date(_get(headers, "date") or "")
    if base is None:
        base = time.time() if now is None else now
    return _bounded(until - base)


def _get(headers: Mapping[str, str], name: str) -> str | None:
    """Read a header whatever its case; the transport's mapping needs no second look."""
    value = headers.get(name)
    if value is not None:
        return value
    return next((text for key, text in headers.items() if key.lower() == name), None)


def _float(text: str | None) -> float | None:
    try:
        number = float(text) if text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)


def _date(text: str) -> float | None:
    """Read HTTP's dates and RFC 3339's."""
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, IndexError, TypeError, OverflowError):
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
