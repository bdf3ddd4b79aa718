"""Whether something departs from its own baseline, with a known rate of false alarms.

Everything is reduced to hits: an answer slower (dearer) than nine tenths of the baseline, a failure, a refusal.
``gain`` is a Shiryaev-Roberts e-detector over hits: while the share of hits is at most ``null``, the expected number of
observations until its value reaches a threshold c is at least c, whatever the distribution was. With c = 10,000 there
is on average at most one false alarm per 10,000 observations.
Source: Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (2022).

The bound holds as far as ``null`` is an upper bound on the normal share. Baselines are estimates, so ``null`` is
the upper end of their 99.9 % interval plus a margin. A baseline is renewed in blocks: a change slower than some blocks
becomes part of it; that is its meaning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from router_core.latency import merge

TAIL: Final = 0.1
"""Share of a baseline's values that count as high."""

WARM: Final = 100
"""Observations a baseline needs before anything is judged by it."""

BLOCK: Final = 500
"""Observations after which a baseline takes in what it saw; what is older then counts half."""

MARGIN: Final = 0.05
"""How far above its estimate a share of high values may be and still count as normal."""

RATE_MARGIN: Final = 0.01
"""The same for shares of failures and refusals."""

_Z: Final = 3.09
_HIGHEST_NULL: Final = 0.9


Evidence = tuple[float, float, float]
"""Evidence against "the share of hits is normal", one value per suspected size of the change: small, middle, large."""

NONE: Final[Evidence] = (0.0, 0.0, 0.0)


def strength(evidence: Evidence) -> float:
    """Return the evidence over all sizes; alarm when it reaches the threshold."""
    small, middle, large = evidence
    return (small + middle + large) / 3.0


def gain(evidence: Evidence, *, hit: bool, null: float) -> Evidence:
    """Return the evidence for a rise after one more observation; ``null`` in (0, 1) may differ between observations."""
    small, middle, large = evidence
    of_a_hit, of_a_miss = _ratios(null)
    by_small, by_middle, by_large = of_a_hit if hit else of_a_miss
    return (small + 1.0) * by_small, (middle + 1.0) * by_middle, (large + 1.0) * by_large


@lru_cache(maxsize=4096)
def _ratios(null: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return what a hit and what a miss multiply each suspected size by; a baseline's ``null`` serves many of them."""
    room = 1.0 - null
    small, middle, large = null + min(null, 0.15 * room), null + 0.4 * room, null + 0.8 * room
    return (
        (_ratio(null, small, hit=True), _ratio(null, middle, hit=True), _ratio(null, large, hit=True)),
        (_ratio(null, small, hit=False), _ratio(null, middle, hit=False), _ratio(null, large, hit=False)),
    )


def recede(evidence: float, *, hit: bool, null: float, normal: float) -> float:
    """Return the evidence that hits are back at ``normal``, against "still at least ``null``"; start from 1.

    A product of likelihood ratios: while the share is at least ``null``, it ever reaches c with probability below 1 / c
    (Ville). Kept at 1 or above, so that a long disturbance does not have to be paid back first; the bound is then per
    restart.
    """
    return max(1.0, evidence * _ratio(null, normal, hit=hit))


def _ratio(null: float, other: float, *, hit: bool) -> float:
    return other / null if hit else (1.0 - other) / (1.0 - null)


def upper(hits: float, n: float, margin: float) -> float:
    """Return the upper end of the 99.9 % interval of a share (Wilson, one-sided) plus a margin, at most 0.9."""
    share = hits / n
    spread = _Z * _Z / n
    centre = share + spread / 2.0
    half = _Z * math.sqrt(share * (1.0 - share) / n + spread / (4.0 * n))
    return min(_HIGHEST_NULL, (centre + half) / (1.0 + spread) + margin)


@dataclass(frozen=True, slots=True)
class Level:
    """The usual values of one quantity, in the bins of ``latency``; ``cut`` is the highest that is not high.

    ``wants`` is the number of further values that renew it (``plus``).
    """

    sketch: Mapping[int, float] = field(default_factory=dict)
    cut: int = 0
    null: float = _HIGHEST_NULL
    warm: bool = False
    wants: int = WARM

    def plus(self, block: Iterable[int]) -> Level:
        """Return this baseline having seen a block of values' bins; all it saw before counts half."""
        seen: dict[int, float] = {}
        for each in block:
            seen[each] = seen.get(each, 0.0) + 1.0
        sketch = merge({each: weight / 2.0 for each, weight in self.sketch.items() if weight >= 0.01}, seen)
        n = math.fsum(sketch.values())
        cut = _cut(sketch, n)
        above = math.fsum(weight for each, weight in sketch.items() if each > cut)
        return Level(sketch, cut, upper(above, n, MARGIN), warm=True, wants=BLOCK)

    def high(self, index: int) -> bool:
        """Whether a value's bin lies above nine tenths of the baseline."""
        return index > self.cut


def _cut(sketch: Mapping[int, float], n: float) -> int:
    seen = 0.0
    held = sorted(sketch)
    for index in held[:-1]:
        seen += sketch[index]
        if n - seen <= TAIL * n:
            return index
    return held[-1]


@dataclass(frozen=True, slots=True)
class Rate:
    """The usual share of one event, such as a failure; ``share`` is 0 and ``warm`` False before the first block.

    ``wants`` is the number of further observations that renew it (``plus``).
    """

    hits: float = 0.0
    n: float = 0.0
    null: float = _HIGHEST_NULL
    share: float = 0.0
    warm: bool = False
    wants: int = WARM

    def plus(self, hits: int, n: int) -> Rate:
        """Return this baseline having seen a block of ``n`` observations; all it saw before counts half."""
        all_hits, all_n = self.hits / 2.0 + hits, self.n / 2.0 + n
        return Rate(all_hits, all_n, upper(all_hits, all_n, RATE_MARGIN), all_hits / all_n, warm=True, wants=BLOCK)
