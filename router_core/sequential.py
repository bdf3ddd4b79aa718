"""Intervals that hold at every look: two means may be compared after each new value without creating winners.

Everything is computed from three sums per metric and arm (count, sum, sum of squares), which merge between workers.

Source: the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central
limit theory and asymptotic confidence sequences" (arXiv:2103.06476), theorem 2.2: after t values of standard deviation
s, the mean lies for all t at once, with probability 1 - alpha, within

    s x sqrt(2 (t r^2 + 1) / (t^2 r^2) x log(sqrt(t r^2 + 1) / alpha))

of the sample's mean; r is chosen so that this is tightest around t = 500.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

ALPHA: Final = 0.05
_TUNED_FOR: Final = 500.0
"""The interval is tightest around this many samples; it is valid at any number."""
_LEAST_DEVIATION: Final = 0.01
"""A standard deviation is never taken to be below this, in units of the metric's scale: equal values prove little."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squares of one metric in one arm; adding is merging."""

    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, value: float) -> Moments:
        """Return the moments with one value added."""
        return Moments(self.n + 1.0, self.total + value, self.squares + value * value)

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both samples together."""
        return Moments(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """The mean; 0 for no values."""
        return self.total / self.n if self.n else 0.0

    def variance(self, scale: float = 1.0) -> float:
        """Return the sample variance, at least that of a hundredth of ``scale``; a quarter of scale^2 below two values.

        ``scale`` is 1 for values in [0, 1]; for money and seconds it is their size.
        """
        if self.n < 2.0:
            return 0.25 * scale * scale
        found = (self.squares - self.total * self.total / self.n) / (self.n - 1.0)
        return max((_LEAST_DEVIATION * scale) ** 2, found)


class Interval(NamedTuple):
    """A mean and the interval that holds at all times at once; infinite while there are fewer than two values."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm against the control: difference of means and the interval that holds at all times at once."""

    arm: str
    difference: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether the interval excludes "no difference"."""
        return self.low > 0.0 or self.high < 0.0


def interval(found: Moments, *, alpha: float = ALPHA, unit: bool = True) -> Interval:
    """Return one arm's mean with its anytime-valid interval; ``unit`` False for values that are not within [0, 1]."""
    if found.n < 2.0:
        return Interval(found.mean, -math.inf, math.inf)
    radius = math.sqrt(found.variance(_scale(unit, found))) * _width(found.n, alpha)
    return Interval(found.mean, found.mean - radius, found.mean + radius)


def compare(arm: str, treated: Moments, control: Moments, *, alpha: float = ALPHA, unit: bool = True) -> Comparison:
    """Return the difference of two arms' means (treated minus control) with its anytime-valid interval at ``alpha``.

    The two samples are one sequence of n values, each an estimate of the difference, whose variance is n times the sum
    of both means' variances.
    """
    difference = treated.mean - control.mean
    if treated.n < 2.0 or control.n < 2.0:
        return Comparison(arm, difference, -math.inf, math.inf)
    scale = _scale(unit, treated, control)
    n = treated.n + control.n
    variance = n * (treated.variance(scale) / treated.n + control.variance(scale) / control.n)
    radius = math.sqrt(variance) * _width(n, alpha)
    return Comparison(arm, difference, difference - radius, difference + radius)


def _width(n: float, alpha: float) -> float:
    """Return the half width of the interval after ``n`` values, in standard deviations."""
    time = n * _rho_squared(alpha)
    return math.sqrt(2.0 * (time + 1.0) / (n * time) * math.log(math.sqrt(time + 1.0) / alpha))


def _scale(unit: bool, *samples: Moments) -> float:  # noqa: FBT001 - private
    return 1.0 if unit else max(abs(sample.mean) for sample in samples)


def _rho_squared(alpha: float) -> float:
    """Return the tuning parameter that is tightest at ``_TUNED_FOR`` samples (appendix B.2 of the source)."""
    return (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)) / _TUNED_FOR
