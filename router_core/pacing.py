"""Budget pacing: a policy with a spend ceiling holds it by weighing cost more, never by refusing.

The factor on the policy's cost weight is a price on spending. It is moved on a log scale by what was spent beyond what
was due: ``log factor += GAIN x (spent - due) / usd``, never below 0, so that money left over does not make the gateway
wasteful. This is dual mirror descent on the budget's Lagrange multiplier (Balseiro, Lu, Mirrokni, "Dual Mirror Descent
for Online Allocation Problems", ICML 2020) with the entropy as mirror, so that one gain fits every currency and scale.

What is due in a slice of a period is what is left of the ceiling, spread over the rest of the period as the requests of
the period before were spread (evenly until there was one), as in Agarwal et al., "Budget Pacing for Targeted Online
Advertisements at LinkedIn" (KDD 2014): a night without requests is neither waste nor a reason to relax.

Everything follows from sums per slice and the log factor at the slice's beginning; sums are added and factors joined
by the greater one, so workers that tell each other theirs agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from router_core.errors import ConfigError

SLICES: Final = 96
"""Parts of a period: a quarter of an hour of a day, 37.5 s of an hour."""
GAIN: Final = 12.0
"""Log units that spending a whole ceiling too much adds."""
LIMIT: Final = math.log(1e6)
STEEPEST: Final = 4.0
"""A slice counts at most as this many times a period's average slice: one dear request is no trend."""
HABIT: Final = 200.0
"""Requests of the period before after which their spread counts half, against an even one."""
PERIODS: Final = {"hour": 3600.0, "day": 86_400.0}


class Slice(NamedTuple):
    """What a policy's requests cost in one slice (USD), and how many they were."""

    usd: float = 0.0
    n: float = 0.0


NOTHING: Final = Slice()


@dataclass(frozen=True, slots=True)
class Ceiling:
    """``usd`` per ``period_s`` seconds; periods begin at multiples of their length since 1970 (UTC hours and days)."""

    usd: float
    period_s: float

    def __post_init__(self) -> None:
        """Refuse a ceiling or a period that is not positive."""
        for name in ("usd", "period_s"):
            value = getattr(self, name)
            if not 0.0 < value < float("inf"):
                msg = f"{name} of a spend ceiling must be a positive number, not {value!r}"
                raise ConfigError(msg)

    @property
    def slice_s(self) -> float:
        """Seconds of one slice."""
        return self.period_s / SLICES

    def slice_of(self, at: float) -> int:
        """Return the number of the slice that wall-clock second ``at`` falls into."""
        return int(at // self.slice_s)


@dataclass(slots=True)
class Pace:
    """How one ceiling is being kept: slices of this period and the one before, log factors at slices' beginnings.

    Mutable, and bounded by two periods: it is one worker's view, made of what can be added and joined.
    """

    ceiling: Ceiling
    slices: dict[int, Slice] = field(default_factory=dict)
    began: dict[int, float] = field(default_factory=dict)

    def spend(self, at: float, usd: float) -> int:
        """Book one request that cost ``usd``; returns the number of its slice."""
        number = self.ceiling.slice_of(at)
        held = self.slices.get(number, NOTHING)
        self.slices[number] = Slice(held.usd + usd, held.n + 1.0)
        return number

    def join(self, number: int, held: Slice, log_factor: float) -> None:
        """Take over a slice's total and the greater log factor of its beginning."""
        self.slices[number] = held
        if log_factor > self.began.get(number, 0.0):
            self.began[number] = min(LIMIT, log_factor)

    def factor(self, now: float) -> float:
        """Return by what the cost weight is multiplied at wall-clock second ``now``: 1 within the ceiling, up to 1e6.

        Moves over the slices that ended since it was asked last.
        """
        current = self.ceiling.slice_of(now)
        self._forget(current)
        known = [number for number in self.began if number <= current]
        number = max(known) if known else min((n for n in self.slices if n <= current), default=current)
        level = self.began.get(number, 0.0)
        while number < current:
            level = self._moved(level, number, 1.0)
            number += 1
            level = max(level, self.began.get(number, 0.0))
        self.began[current] = level
        return math.exp(self._moved(level, current, now / self.ceiling.slice_s - current))

    def spent(self, now: float) -> float:
        """Return what the period that ``now`` falls into has cost so far, USD."""
        current = self.ceiling.slice_of(now)
        first = current - current % SLICES
        return math.fsum(self.slices[n].usd for n in range(first, current + 1) if n in self.slices)

    def _moved(self, level: float, number: int, part: float) -> float:
        """Return the log factor after ``part`` (0 to 1) of a slice that began with ``level``."""
        usd = self.ceiling.usd
        excess = (self.slices.get(number, NOTHING).usd - part * self._due(number)) / usd
        steepest = STEEPEST / SLICES
        return min(LIMIT, max(0.0, level + GAIN * min(steepest, max(-steepest, excess))))

    def _due(self, number: int) -> float:
        """Return what a slice may cost: its share of what is left of its period, USD."""
        position = number % SLICES
        first = number - position
        left = self.ceiling.usd - math.fsum(self.slices[n].usd for n in range(first, number) if n in self.slices)
        if left <= 0.0:
            return 0.0
        habit = [self.slices.get(n - SLICES, NOTHING).n for n in range(first, first + SLICES)]
        seen = math.fsum(habit)
        trust = seen / (seen + HABIT)
        even = (1.0 - trust) / SLICES
        rest = even * (SLICES - position) + (trust / seen * math.fsum(habit[position:]) if seen else 0.0)
        return left * (even + (trust / seen * habit[position] if seen else 0.0)) / rest

    def _forget(self, current: int) -> None:
        oldest = current - current % SLICES - SLICES
        for held in (self.slices, self.began):
            for number in [n for n in held if n < oldest]:
                del held[number]
