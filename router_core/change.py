"""Whether a stream of values in [0, 1] has left what was expected of it: rewards after a silent change of a model.

Each value comes with its own expectation, so a harder prompt is no change. How far values usually lie from their
expectations (critics complain more than they praise) is learned in blocks. Two Shiryaev-Roberts e-detectors
(``drift``) then watch for values above and below; with the linear bet a value in between counts as a share of a hit, so
the bound on false alarms holds for any distribution on [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from router_core.drift import NONE, Evidence, gain, strength

ALARM: Final = 20_000.0
"""Evidence that counts as a change: on average at most one false alarm per 10,000 values, both sides together."""
WARM: Final = 60
"""Values until it is known how far they usually lie from their expectations."""
BLOCK: Final = 500
"""Values after which that is renewed, what is older then counting half; until so many are known, it doubles."""
MARGIN: Final = 0.05
"""Shift of the mean that is no change worth starting over for."""
RECENT: Final = 24
"""Last rewards that are kept when a deployment starts over: most of them came after the change."""

_Z: Final = 2.33
_LEAST, _MOST = 0.02, 0.95


class Usual(NamedTuple):
    """How far values lie from their expectations: count, sum and sum of squares, and those of the block under way."""

    n: float = 0.0
    off: float = 0.0
    squares: float = 0.0
    block_n: int = 0
    block_off: float = 0.0
    block_squares: float = 0.0

    def plus(self, off: float) -> Usual:
        """Return this having seen one more distance."""
        n, total, squares = self.block_n + 1, self.block_off + off, self.block_squares + off * off
        if n < max(WARM, min(BLOCK, self.n)):
            return Usual(self.n, self.off, self.squares, n, total, squares)
        keep = 0.5 if n >= BLOCK else 1.0
        return Usual(keep * self.n + n, keep * self.off + total, keep * self.squares + squares)

    def bounds(self) -> tuple[float, float]:
        """Return the ends of the 98 % interval of the mean distance, widened by the margin; needs ``n`` above 0."""
        mean = self.off / self.n
        spread = math.sqrt(max(0.01, self.squares / self.n - mean * mean) / self.n)
        reach = _Z * spread + MARGIN
        return mean - reach, mean + reach


_FRESH: Final = Usual()


@dataclass(frozen=True, slots=True)
class Change:
    """What is known of one stream; ``plus`` is its only way forward. ``up`` and ``down`` are the two detectors."""

    usual: Usual = _FRESH
    up: Evidence = NONE
    down: Evidence = NONE

    def plus(self, value: float, expected: float) -> Change:
        """Return this having seen ``value`` where ``expected`` was expected, both in [0, 1]."""
        usual = self.usual.plus(value - expected)
        if not self.usual.n:
            return Change(usual)
        low, high = self.usual.bounds()
        return Change(
            usual,
            _bet(self.up, value, expected + high),
            _bet(self.down, 1.0 - value, 1.0 - expected - low),
        )

    @property
    def alarm(self) -> int:
        """1 when values have risen, -1 when they have fallen, 0 when neither is certain."""
        up, down = strength(self.up), strength(self.down)
        if max(up, down) < ALARM:
            return 0
        return 1 if up > down else -1


def _bet(evidence: Evidence, value: float, null: float) -> Evidence:
    """Return the evidence for a mean above ``null`` after a value in [0, 1]: the linear mix of a hit and a miss."""
    bound = min(_MOST, max(_LEAST, null))
    hit, miss = gain(evidence, hit=True, null=bound), gain(evidence, hit=False, null=bound)
    small, middle, large = [value * a + (1.0 - value) * b for a, b in zip(hit, miss, strict=True)]
    return small, middle, large
