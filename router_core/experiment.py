"""A/B tests: who gets which arm, and what may be concluded while looking after every sample.

Assignment is sticky: the same unit (session, user or key) always gets the same arm. The analysis is anytime-valid: its
intervals (``sequential``) hold at all sample sizes at once, so that looking every minute does not create winners.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from router_core.errors import ConfigError
from router_core.sequential import ALPHA, Comparison, Moments, compare

NAME_CHARS: Final = 64
"""Longest name of an experiment, an arm, a tag."""


class ExperimentState(StrEnum):
    """Where an experiment stands. Only a running one assigns."""

    DRAFT = "draft"
    RUNNING = "running"
    STOPPED = "stopped"
    CONCLUDED = "concluded"


class Metric(StrEnum):
    """What decides an experiment, fixed when it is made: switching later would be a second chance to find a winner.

    Of reward and success more is better, of cost and latency less.
    """

    REWARD = "reward"
    SUCCESS = "success"
    COST = "cost"
    LATENCY = "latency"

    @property
    def unit(self) -> bool:
        """Whether its values lie within 0 and 1."""
        return self in {Metric.REWARD, Metric.SUCCESS}


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
        if not 0 < len(self.name) <= NAME_CHARS:
            msg = f"an arm's name must have 1 to {NAME_CHARS} characters"
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

    def __post_init__(self) -> None:
        """Refuse limits that could never or always trip."""
        if self.success_drop is not None and not 0.0 <= self.success_drop < 1.0:
            msg = f"success_drop must be within 0 and 1, not {self.success_drop!r}"
            raise ConfigError(msg)
        for name in ("latency_factor", "cost_factor"):
            value = getattr(self, name)
            if value is not None and not 1.0 <= value < float("inf"):
                msg = f"{name} must be at least 1, not {value!r}"
                raise ConfigError(msg)

    @property
    def watched(self) -> int:
        """How many limits are watched."""
        return sum(limit is not None for limit in (self.success_drop, self.latency_factor, self.cost_factor))


@dataclass(frozen=True, slots=True)
class Experiment:
    """An A/B test on a task or a tag (None: everything). ``ends_at`` is wall-clock seconds (None: open).

    Requests for ``route`` take part; None: those for an alias such as ``auto``. ``metric`` decides.
    """

    id: str
    name: str
    arms: tuple[Arm, ...]
    task: str | None = None
    tag: str | None = None
    route: str | None = None
    metric: Metric = Metric.REWARD
    hypothesis: str = ""
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
        if not 0 < len(self.name) <= NAME_CHARS:
            msg = f"name must have 1 to {NAME_CHARS} characters"
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


class Assignment(NamedTuple):
    """Which arm of which experiment (its id) a request is in."""

    experiment: str
    arm: Arm


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
class ArmSums:
    """What was measured in one arm: reward in [0, 1], success 0 or 1, cost in USD, latency in seconds."""

    reward: Moments = field(default_factory=Moments)
    success: Moments = field(default_factory=Moments)
    cost: Moments = field(default_factory=Moments)
    latency: Moments = field(default_factory=Moments)

    def of(self, metric: Metric) -> Moments:
        """Return one metric's sums."""
        found: Moments = getattr(self, metric.value)
        return found


@dataclass(frozen=True, slots=True)
class Report:
    """What may be said of an experiment now. ``winner`` is an arm's name, None while nothing is decided.

    ``breach`` says which arm broke which guardrail. Comparisons are against the control, on the experiment's metric.
    ``enough``: every arm has ``min_samples``; before that no winner is named.
    """

    comparisons: tuple[Comparison, ...]
    winner: str | None = None
    breach: str | None = None
    enough: bool = False


def analyse(experiment: Experiment, sums: Mapping[str, ArmSums], *, alpha: float = ALPHA) -> Report:
    """Judge an experiment from its sums. The error rate is shared among the treatments, so it holds for all of them.

    A treatment wins when its interval lies on the better side of "no difference", the control when all treatments lie
    on the worse side.
    """
    arms = [(arm.name, sums.get(arm.name, ArmSums())) for arm in experiment.arms]
    (control_name, control), *treated = arms
    metric = experiment.metric
    base = control.of(metric)
    comparisons = tuple(
        compare(name, found.of(metric), base, alpha=alpha / len(treated), unit=metric.unit) for name, found in treated
    )
    breach = _breach(experiment, control, treated, alpha)
    if min(found.of(metric).n for _, found in arms) < experiment.min_samples:
        return Report(comparisons, None, breach, enough=False)
    sign = 1.0 if metric.unit else -1.0
    better = [found for found in comparisons if found.decided and sign * found.difference > 0.0]
    if better:
        return Report(comparisons, max(better, key=lambda found: sign * found.difference).arm, breach, enough=True)
    if all(found.decided for found in comparisons):
        return Report(comparisons, control_name, breach, enough=True)
    return Report(comparisons, None, breach, enough=True)


def _breach(
    experiment: Experiment, control: ArmSums, treated: Sequence[tuple[str, ArmSums]], alpha: float
) -> str | None:
    """Return the first guardrail that an arm surely broke; the error rate is shared among all that are watched."""
    rails, least = experiment.guardrails, experiment.min_samples
    level = alpha / max(1, len(treated) * rails.watched)
    for name, found in treated:
        if rails.success_drop is not None and min(control.success.n, found.success.n) >= least:
            gap = compare(name, found.success, control.success, alpha=level)
            if gap.high < 0.0 and gap.difference < -rails.success_drop:
                return f"{name}: success fell by {-gap.difference:.3f}"
        for label, factor, mine, base in (
            ("latency", rails.latency_factor, found.latency, control.latency),
            ("cost", rails.cost_factor, found.cost, control.cost),
        ):
            if factor is None or min(mine.n, base.n) < least or base.mean <= 0.0:
                continue
            if compare(name, mine, base, alpha=level, unit=False).low > 0.0 and mine.mean > factor * base.mean:
                return f"{name}: {label} is {mine.mean / base.mean:.2f} times the control's"
    return None
