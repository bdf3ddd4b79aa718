"""A/B tests: who gets which arm, and what may be concluded while looking after every sample.

Assignment is sticky: the same unit (session, user or key) always gets the same arm. The analysis is anytime-valid: its
intervals hold at all sample sizes at once, so that looking every minute does not create winners. It needs only sums
(count, sum, sum of squares) per arm, which merge between workers.

Interval: the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central
limit theory and asymptotic confidence sequences" (2021), equation (7), applied to the difference of two means.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from router_core.errors import ConfigError

ALPHA: Final = 0.05
_TUNED_FOR: Final = 500.0
"""The interval is tightest around this many samples; it is valid at any number."""
_LEAST_VARIANCE: Final = 1e-4


class ExperimentState(StrEnum):
    """Where an experiment stands. Only a running one assigns."""

    DRAFT = "draft"
    RUNNING = "running"
    STOPPED = "stopped"
    CONCLUDED = "concluded"


MOVES: Final[Mapping[ExperimentState, frozenset[ExperimentState]]] = {
    ExperimentState.DRAFT: frozenset({ExperimentState.RUNNING, ExperimentState.STOPPED}),
    ExperimentState.RUNNING: frozenset({ExperimentState.STOPPED, ExperimentState.CONCLUDED}),
    ExperimentState.STOPPED: frozenset({ExperimentState.RUNNING, ExperimentState.CONCLUDED}),
    ExperimentState.CONCLUDED: frozenset(),
}
"""State -> the states it may go to."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One treatment: a deployment or a policy, and its share of the split. The first arm is the control."""

    name: str
    deployment: str | None = None
    policy: str | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an arm that is neither or both, and a share that is not positive."""
        if (self.deployment is None) == (self.policy is None):
            msg = f"arm {self.name!r} must name a deployment or a policy, and not both"
            raise ConfigError(msg)
        if not 0.0 < self.share < float("inf"):
            msg = f"share of arm {self.name!r} must be positive, not {self.share!r}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class Guardrails:
    """When an arm is stopped for harm: success falls by more than ``success_drop``, latency or cost rise by a factor.

    Each is judged against the control, once both have ``min_samples``. None: not watched.
    """

    success_drop: float | None = 0.1
    latency_factor: float | None = None
    cost_factor: float | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """An A/B test on a task or a tag (None: everything). ``ends_at`` is wall-clock seconds (None: open)."""

    id: str
    name: str
    arms: tuple[Arm, ...]
    task: str | None = None
    tag: str | None = None
    state: ExperimentState = ExperimentState.DRAFT
    min_samples: int = 50
    ends_at: float | None = None
    guardrails: Guardrails = Guardrails()
    created_at: float = 0.0
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse fewer than two arms, arms of the same name, and too few samples for the interval."""
        if not 2 <= len(self.arms) <= 8:
            msg = f"an experiment needs 2 to 8 arms, not {len(self.arms)}"
            raise ConfigError(msg)
        if len({arm.name for arm in self.arms}) != len(self.arms):
            msg = "arms must have different names"
            raise ConfigError(msg)
        if self.min_samples < 20:
            msg = f"min_samples must be at least 20, not {self.min_samples!r}"
            raise ConfigError(msg)

    def moved(self, state: ExperimentState, reason: str = "") -> Experiment:
        """Return the experiment in another state; raises ConfigError for a move that may not be."""
        if state not in MOVES[self.state]:
            msg = f"an experiment that is {self.state} cannot become {state}"
            raise ConfigError(msg)
        return replace(self, state=state, reason=reason)

    def applies(self, task: str, tags: Sequence[str], now: float) -> bool:
        """Say whether a request takes part."""
        if self.state is not ExperimentState.RUNNING or (self.ends_at is not None and now >= self.ends_at):
            return False
        return (self.task is None or self.task == task) and (self.tag is None or self.tag in tags)


def assign(experiment: Experiment, unit: str) -> Arm:
    """Return the arm of a unit: always the same one, in proportion to the shares over many units."""
    digest = hashlib.sha256(f"{experiment.id}|{unit}".encode()).digest()
    mark = int.from_bytes(digest[:8]) / 2**64 * sum(arm.share for arm in experiment.arms)
    for arm in experiment.arms:
        mark -= arm.share
        if mark < 0.0:
            return arm
    return experiment.arms[-1]


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

    @property
    def variance(self) -> float:
        """The sample variance, never below a small floor: equal values are no proof of certainty."""
        if self.n < 2.0:
            return 0.25
        return max(_LEAST_VARIANCE, (self.squares - self.total * self.total / self.n) / (self.n - 1.0))


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


def compare(arm: str, treated: Moments, control: Moments, *, alpha: float = ALPHA) -> Comparison:
    """Return the difference of two arms' means with its anytime-valid interval at level ``alpha``."""
    difference = treated.mean - control.mean
    if treated.n < 2.0 or control.n < 2.0:
        return Comparison(arm, difference, -math.inf, math.inf)
    n = treated.n + control.n
    variance = n * (treated.variance / treated.n + control.variance / control.n)
    rho_squared = _rho_squared(alpha)
    time = n * variance * rho_squared
    radius = math.sqrt(2.0 * (time + 1.0) / (n * n * rho_squared) * math.log(math.sqrt(time + 1.0) / alpha))
    return Comparison(arm, difference, difference - radius, difference + radius)


def _rho_squared(alpha: float) -> float:
    """Return the tuning parameter that is tightest at ``_TUNED_FOR`` samples (appendix B.2 of the source)."""
    return (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)) / _TUNED_FOR


@dataclass(frozen=True, slots=True)
class ArmSums:
    """What was measured in one arm: reward in [0, 1], success 0 or 1, cost in USD, latency in seconds."""

    reward: Moments = field(default_factory=Moments)
    success: Moments = field(default_factory=Moments)
    cost: Moments = field(default_factory=Moments)
    latency: Moments = field(default_factory=Moments)


@dataclass(frozen=True, slots=True)
class Report:
    """What may be said of an experiment now. ``winner`` is an arm's name, None while nothing is decided.

    ``breach`` names the arm and the guardrail it broke. Comparisons are against the control, on reward.
    """

    comparisons: tuple[Comparison, ...]
    winner: str | None = None
    breach: str | None = None
    enough: bool = False


def analyse(experiment: Experiment, sums: Mapping[str, ArmSums], *, alpha: float = ALPHA) -> Report:
    """Judge an experiment from its sums. The error rate is shared among the treatments, so it holds for all of them.

    Reward decides where there is any, success otherwise.
    """
    arms = [(arm.name, sums.get(arm.name, ArmSums())) for arm in experiment.arms]
    (control_name, control), *treated = arms
    level = alpha / len(treated)
    judged = control.reward.n >= experiment.min_samples
    comparisons = tuple(
        compare(
            name,
            found.reward if judged else found.success,
            control.reward if judged else control.success,
            alpha=level,
        )
        for name, found in treated
    )
    counts = [(found.reward if judged else found.success).n for _, found in arms]
    enough = min(counts) >= experiment.min_samples
    breach = _breach(experiment, control, treated)
    if not enough:
        return Report(comparisons, None, breach, enough=False)
    better = [found for found in comparisons if found.low > 0.0]
    if better:
        return Report(comparisons, max(better, key=lambda found: found.difference).arm, breach, enough=True)
    if all(found.high < 0.0 for found in comparisons):
        return Report(comparisons, control_name, breach, enough=True)
    return Report(comparisons, None, breach, enough=True)


def _breach(experiment: Experiment, control: ArmSums, treated: Sequence[tuple[str, ArmSums]]) -> str | None:
    rails, least = experiment.guardrails, experiment.min_samples
    for name, found in treated:
        if min(control.success.n, found.success.n) < least:
            continue
        if rails.success_drop is not None:
            gap = compare(name, found.success, control.success)
            if gap.high < 0.0 and gap.difference < -rails.success_drop:
                return f"{name}: success fell by {-gap.difference:.3f}"
        for label, factor, mine, base in (
            ("latency", rails.latency_factor, found.latency, control.latency),
            ("cost", rails.cost_factor, found.cost, control.cost),
        ):
            if factor is None or min(mine.n, base.n) < least or base.mean <= 0.0:
                continue
            if compare(name, mine, base).low > 0.0 and mine.mean > factor * base.mean:
                return f"{name}: {label} is {mine.mean / base.mean:.2f} times the control's"
    return None
