"""Forward decay: sums that forget by age and still merge by plain addition.

An observation at time t is booked with weight 2 ** ((t - LANDMARK) / half_life). Ratios of such sums are averages in
which an observation one half-life older counts half; adding two workers' sums gives the sums one worker would have.
Source: Cormode, Shkapenyuk, Srivastava, Xu, "Forward Decay: A Practical Time Decay Model for Streaming Systems" (2009).
"""

from __future__ import annotations

from typing import Final

LANDMARK_S: Final = 1_767_225_600.0
"""2026-01-01T00:00:00Z in wall-clock seconds."""

_MAX_EXPONENT: Final = 900.0
"""Weights keep their ratios for 900 half-lives on both sides of the landmark: at the shortest half-life a policy may
have, a week, until 2043. Beyond that nothing is forgotten any more; a float has no room for it."""


def weight(at_s: float, half_life_s: float) -> float:
    """Return the weight of an observation made at wall-clock second ``at_s``; finite and positive for any time."""
    exponent = (at_s - LANDMARK_S) / half_life_s
    if not -_MAX_EXPONENT < exponent < _MAX_EXPONENT:
        exponent = max(-_MAX_EXPONENT, min(_MAX_EXPONENT, exponent))
    return float(2.0**exponent)
