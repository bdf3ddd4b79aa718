"""Quantiles of durations from logarithmic bins that merge by plain addition.

A duration falls into the bin whose bounds grow by gamma = (1 + ALPHA) / (1 - ALPHA); the bin's representative value is
then within ALPHA of every duration in it, so any quantile is within ALPHA of the true one, whatever the shape.
Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees" (2019).

A series holds at most ``BINS`` numbers (an int and a float each); durations are clamped to ``LOW_S`` … ``HIGH_S``.
Weights may be fractional: decayed sums (``decay.py``) and plain counts work alike.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from typing import Final

ALPHA: Final = 0.01
"""Greatest relative error of a quantile between ``LOW_S`` and ``HIGH_S``."""

LOW_S: Final = 0.0001
"""Shorter durations count as this: 0.1 ms."""

HIGH_S: Final = 3600.0
"""Longer durations count as this: one hour."""

_GAMMA: Final = (1.0 + ALPHA) / (1.0 - ALPHA)
_LOG_GAMMA: Final = math.log(_GAMMA)
_MIDDLE: Final = 2.0 / (_GAMMA + 1.0)
_LAST: Final = math.ceil(math.log(HIGH_S / LOW_S) / _LOG_GAMMA)

BINS: Final = _LAST + 1
"""Greatest number of bins of one series: 871."""


def bin_of(seconds: float) -> int:
    """Return the bin of a duration in seconds, within [0, BINS - 1]; what is no positive number goes to the first."""
    if not seconds > LOW_S:
        return 0
    if seconds >= HIGH_S:
        return _LAST
    return math.ceil(math.log(seconds / LOW_S) / _LOG_GAMMA)


def value_of(index: int) -> float:
    """Return the duration in seconds that stands for a bin; indexes outside [0, BINS - 1] count as its ends."""
    if not 0 <= index <= _LAST:
        index = min(max(index, 0), _LAST)
    return LOW_S * _MIDDLE * float(_GAMMA**index)


def quantile(bins: Mapping[int, float], q: float) -> float | None:
    """Return the ``q``-quantile in seconds of binned durations, None when nothing was counted.

    The smallest duration that at least the share ``q`` of all weight does not exceed. Weights that are not positive are
    left out (subtracting sums can leave a rounding error behind). Raises ValueError for ``q`` outside [0, 1].
    """
    return quantiles(bins, (q,))[0]


def quantiles(bins: Mapping[int, float], shares: tuple[float, ...]) -> tuple[float | None, ...]:
    """Return ``quantile`` of each share: the bins are put in order once for all of them."""
    for q in shares:
        if not 0.0 <= q <= 1.0:
            msg = f"a quantile must be within [0, 1], not {q!r}"
            raise ValueError(msg)
    if not bins:
        return (None,) * len(shares)
    held = sorted(bins)
    if min(bins.values()) <= 0.0:
        held = [index for index in held if bins[index] > 0.0]
        if not held:
            return (None,) * len(shares)
    weights = list(map(bins.__getitem__, held))
    bounds, total, last = list(accumulate(weights)), math.fsum(weights), len(held) - 1
    return tuple([value_of(held[min(bisect_left(bounds, q * total), last)]) for q in shares])


def merge(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
    """Return the bins of both together: the sketch of the union, exact up to rounding of the weights."""
    merged = dict(a)
    for index, weight in b.items():
        merged[index] = merged.get(index, 0.0) + weight
    return merged
