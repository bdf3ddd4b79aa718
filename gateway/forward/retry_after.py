"""How long a provider wants to be left alone, from every form in which providers say it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST_WAIT_S: Final = 7 * 86_400.0


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
    seconds = _float(value)
    if seconds is not None:
        return _bounded(seconds)
    until = _date(value)
    if until is None:
        return None
    base = _date(_get(headers, "date") or "")
    if base is None:
        base = time.time() if now is None else now
    return _bounded(until - base)


def _get(headers: Mapping[str, str], name: str) -> str | None:
    """Read a header whatever its case; aiohttp's mapping needs no second look."""
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
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
