"""Time buckets of the statistics, the windows read from them, and the names under which stores keep them.

Four spans: minutes, hours, days (UTC) and ``boot``: since this gateway was started, for Prometheus, whose counters must
begin at zero with the process and must not contain another host's. ``all`` has no time.

A series is stored as ``~EXPIRY~obs|SPAN|START|LABEL|LABEL…``: a store may forget a series whose name begins with
``~SECONDS~`` after that wall-clock second. Series of ``all`` have no such beginning and stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

Labels = tuple[str, ...]
"""What a series is about: its kind, its scope (empty, or the id of the key it is kept for), then names of things."""

PREFIX: Final = "obs"

BOOT_SPAN_S: Final = 30 * 86_400
"""Boot counters begin at zero again after this, so that their names can expire; Prometheus takes that for a restart."""


_NAMES: Final = 8192
"""So many names are remembered: the same few series change all the time."""


class Span(StrEnum):
    """How much time one bucket covers."""

    MINUTE = "m"
    HOUR = "h"
    DAY = "d"
    ALL = "a"
    BOOT = "b"


_SECONDS: Final = {Span.MINUTE: 60, Span.HOUR: 3600, Span.DAY: 86_400}
_KEPT: Final = {Span.MINUTE: 62, Span.HOUR: 26, Span.DAY: 33}


class Bucket(NamedTuple):
    """One stretch of time: ``start`` in wall-clock seconds; 0 for ``all``; for ``boot`` the name of the start."""

    span: Span
    start: int | str


EVER: Final = Bucket(Span.ALL, 0)


class Window(StrEnum):
    """What a reader may ask for. Never less than its name, at most one bucket more: buckets are not cut."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    ALL = "all"

    def buckets(self, now: float, *, coarse: bool = False) -> list[Bucket]:
        """Return the buckets to add up, oldest first. ``coarse`` reads hours where minutes are not kept."""
        if self is Window.ALL:
            return [EVER]
        span, count = _WINDOWS[self]
        if coarse and span is Span.MINUTE:
            span, count = Span.HOUR, 1
        size = _SECONDS[span]
        last = int(now // size) * size
        return [Bucket(span, last - step * size) for step in range(count, -1, -1)]

    def begins(self, now: float, *, coarse: bool = False) -> float | None:
        """Return the wall-clock second the window begins at, None for ``all``."""
        first = self.buckets(now, coarse=coarse)[0]
        return None if first is EVER else float(first.start)


_WINDOWS: Final = {
    Window.HOUR: (Span.MINUTE, 60),
    Window.DAY: (Span.HOUR, 24),
    Window.WEEK: (Span.DAY, 7),
    Window.MONTH: (Span.DAY, 30),
}


def bucket_of(span: Span, at: float) -> Bucket:
    """Return the minute, hour or day that holds a wall-clock second."""
    size = _SECONDS[span]
    return Bucket(span, int(at // size) * size)


def steps(buckets: Iterable[Bucket]) -> dict[int, list[Bucket]]:
    """Return buckets by the beginning of the step a chart shows them in: minutes by threes, others as they are."""
    found: dict[int, list[Bucket]] = {}
    for bucket in buckets:
        start = int(bucket.start)
        found.setdefault(start - start % 180 if bucket.span is Span.MINUTE else start, []).append(bucket)
    return found


def expiry(bucket: Bucket) -> float | None:
    """Return the wall-clock second after which no window reads a bucket, None for never."""
    if bucket.span is Span.ALL:
        return None
    if bucket.span is Span.BOOT:
        generation, _, started = str(bucket.start).partition(".")
        return float(started.partition(".")[0]) + (int(generation) + 1) * BOOT_SPAN_S + 86_400
    size = _SECONDS[bucket.span]
    return float(bucket.start) + (_KEPT[bucket.span] + 1) * size


def boot_bucket(boot: str, now: float) -> Bucket:
    """Return the bucket of one start: ``boot`` is ``SECONDS`` or ``SECONDS.NAME``, the same in all workers."""
    started = float(boot.partition(".")[0])
    generation = max(0, int((now - started) // BOOT_SPAN_S))
    return Bucket(Span.BOOT, f"{generation}.{boot}")


@lru_cache(_NAMES)
def encode(bucket: Bucket, labels: Labels) -> str:
    """Return the stored name of a series."""
    end = expiry(bucket)
    head = "" if end is None else f"~{int(end)}~"
    parts = "|".join(label.replace("%", "%25").replace("|", "%7C") for label in labels)
    return f"{head}{PREFIX}|{bucket.span}|{bucket.start}|{parts}"


@lru_cache(_NAMES)
def decode(name: str) -> tuple[Bucket, Labels] | None:
    """Return what a stored name is about, None when it is not one of ours or of a later version."""
    body = name
    if name[:1] == "~":
        body = name[1:].partition("~")[2]
    prefix, _, rest = body.partition("|")
    parts = rest.split("|")
    if prefix != PREFIX or len(parts) < 4:
        return None
    try:
        span = Span(parts[0])
        start: int | str = parts[1] if span is Span.BOOT else int(parts[1])
    except ValueError:
        return None
    return Bucket(span, start), tuple(part.replace("%7C", "|").replace("%25", "%") for part in parts[2:])
