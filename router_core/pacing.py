"""Budget pacing: a policy with a spend ceiling holds it by weighing cost more, never by refusing.

The factor on the policy's cost weight follows the ratio of what is being spent to what may be spent, on a log scale:
``log factor`` grows by ``gain x log(rate / allowed)`` per elapsed share of the period, and never falls below 0, so
money left over does not make the gateway wasteful. This is dual ascent on the budget's Lagrange multiplier
(Balseiro and Gur, "Learning in Repeated Auctions with Budgets: Regret Minimization and Equilibrium", 2019), in log
space so that one gain fits every currency and scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from router_core.errors import ConfigError

GAIN: Final = 4.0
"""Log units a whole period of spending e times too much adds."""
LIMIT: Final = math.log(1e6)
SMOOTHING: Final = 0.2
"""Share of the period over which the spend rate is averaged."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a ceiling of ``usd`` per ``period_s`` seconds is being kept; a value, moved by ``after``.

    ``rate`` is the smoothed spend in USD per second, ``log_factor`` the log of the factor on the cost weight.
    """

    usd: float
    period_s: float
    rate: float = 0.0
    log_factor: float = 0.0
    at: float | None = None

    def __post_init__(self) -> None:
        """Refuse a ceiling or a period that is not positive."""
        for name in ("usd", "period_s"):
            value = getattr(self, name)
            if not 0.0 < value < float("inf"):
                msg = f"{name} of a spend ceiling must be a positive number, not {value!r}"
                raise ConfigError(msg)

    @classmethod
    def of(cls, usd: float, period_s: float) -> Pace:
        """Return the start of a ceiling: on pace, nothing spent."""
        return cls(usd, period_s, rate=usd / period_s)

    @property
    def factor(self) -> float:
        """By what the policy's cost weight is multiplied: 1 within the ceiling, up to 1e6 above it."""
        return math.exp(self.log_factor)

    def after(self, now: float, spent_usd: float) -> Pace:
        """Return the pace after ``spent_usd`` at second ``now`` (any clock that does not run backwards)."""
        elapsed = max(0.0, now - self.at) if self.at is not None else 0.0
        window = SMOOTHING * self.period_s
        keep = math.exp(-elapsed / window)
        rate = self.rate * keep + spent_usd / window
        allowed = self.usd / self.period_s
        step = GAIN * elapsed / self.period_s * math.log(max(rate, allowed * 1e-3) / allowed)
        return replace(self, rate=rate, log_factor=min(LIMIT, max(0.0, self.log_factor + step)), at=now)
