"""Rate limits: token buckets that refill with time, lend credit to workers, and take back what was not used.

A bucket is two numbers: how much it held, and when. It may hold at most one minute's worth, so a limit of 60 requests
per minute allows 60 at once and then one a second. One bucket is shared by all workers; each borrows a slice of it as
*credit* and serves from that on its own memory. What all of them let through exceeds the limit by at most one slice per
worker: the credit they still hold when the bucket is full again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from router_core.deployment import Limits

__all__ = [
    "MINUTE_S",
    "SLICE_SHARE",
    "Bucket",
    "BucketRequest",
    "BucketState",
    "KeyLimits",
    "Measure",
    "ratelimit_headers",
    "reset_text",
    "slice_of",
    "take",
]

MINUTE_S = 60.0
SLICE_SHARE = 0.1
"""Share of a limit a worker borrows at a time."""


class Measure(StrEnum):
    """What a bucket counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class KeyLimits(Limits):
    """What a virtual key may use: requests and tokens per minute, calls open at the same time; None: unlimited."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """``level`` units at wall-clock second ``at``. A negative level is debt: it must refill before anything passes."""

    level: float
    at: float

    def now(self, capacity: float, now: float) -> Bucket:
        """Return the bucket refilled up to now; a clock that went back refills nothing."""
        passed = max(0.0, now - self.at)
        return Bucket(min(capacity, self.level + passed * capacity / MINUTE_S), now)


@dataclass(frozen=True, slots=True)
class BucketRequest:
    """One worker's wish for credit.

    ``capacity`` is the limit per minute. ``need`` is the least that helps (granted whole or not at all), ``want`` the
    amount hoped for. ``back`` is returned first: credit not used, or (negative) what a call used beyond its estimate.
    """

    name: str
    capacity: int
    need: float = 0.0
    want: float = 0.0
    back: float = 0.0

    def __post_init__(self) -> None:
        """Refuse wishes that contradict themselves."""
        if self.capacity < 1 or not 0.0 <= self.need <= self.want:
            msg = f"a bucket is asked for impossible amounts: {self!r}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class BucketState:
    """The answer: credit granted, what is left in the bucket, seconds until ``need`` could be granted (0: it was)."""

    granted: float
    level: float
    retry_after_s: float = 0.0


def take(bucket: Bucket | None, request: BucketRequest, now: float) -> tuple[Bucket, BucketState]:
    """Judge one wish; pure, and the same arithmetic as ``bucket.lua``. A bucket never seen before is full."""
    capacity = float(request.capacity)
    filled = Bucket(capacity, now) if bucket is None else bucket.now(capacity, now)
    level = min(capacity, filled.level + request.back)
    # A single call larger than the whole bucket may pass when it is full; else no wait would ever be long enough.
    need = min(request.need, capacity)
    if level < need or level <= 0.0:
        wait = (max(need, 1e-9) - level) * MINUTE_S / capacity
        return Bucket(level, filled.at), BucketState(0.0, level, wait)
    granted = request.need if request.need > level else min(request.want, level)
    return Bucket(level - granted, filled.at), BucketState(granted, level - granted)


def slice_of(capacity: int, need: float) -> float:
    """Return how much credit to borrow at a time: a tenth of the limit, at least one call."""
    return max(need, float(int(capacity * SLICE_SHARE)), 1.0)


def reset_text(seconds: float) -> str:
    """Write seconds as OpenAI does in its ``x-ratelimit-reset-*`` headers: ``17ms``, ``1s``, ``6m0s``, ``1h2m3s``."""
    if seconds < 1.0:
        return f"{max(0, round(seconds * 1000))}ms"
    whole, fraction = divmod(round(seconds, 3), 1.0)
    hours, rest = divmod(int(whole), 3600)
    minutes, secs = divmod(rest, 60)
    text = f"{secs}" if fraction == 0.0 or minutes or hours else f"{secs + fraction:.3f}".rstrip("0")
    if hours:
        return f"{hours}h{minutes}m{text}s"
    return f"{minutes}m{text}s" if minutes else f"{text}s"


def ratelimit_headers(left: Mapping[Measure, tuple[int, float]]) -> dict[str, str]:
    """Return OpenAI's rate-limit headers; ``left`` maps a measure to (limit per minute, units left now)."""
    headers: dict[str, str] = {}
    for measure, (limit, level) in left.items():
        headers[f"x-ratelimit-limit-{measure}"] = str(limit)
        headers[f"x-ratelimit-remaining-{measure}"] = str(max(0, int(level)))
        headers[f"x-ratelimit-reset-{measure}"] = reset_text(max(0.0, limit - level) * MINUTE_S / limit)
    return headers
