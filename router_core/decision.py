"""What was decided and why: candidates with their facts and terms, refusals with their rules, the attempts to make.

All but ``Known`` are named tuples, not dataclasses: twenty to two hundred ``Facts``, ``Terms`` and ``ScoredCandidate``
are made per request, and a named tuple costs a third of a dataclass.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from router_core.policy import Weights
from router_core.request import Mode
from router_core.task import TaskProfile
from router_core.value import value_class

_PLAIN: Final = Weights()

make: Final = tuple.__new__
"""``make(Facts, (...))`` with all fields in their order: for inner loops; a named tuple's own call costs thrice."""


class Rule(StrEnum):
    """The hard rules of eligibility; each refusal names one."""

    DISABLED = "disabled"
    NO_KEY = "no_key"
    NOT_ALLOWED = "not_allowed"
    EXCLUDED = "excluded"
    NOT_LISTED = "not_listed"
    CAPABILITY = "capability"
    CONTEXT_WINDOW = "context_window"
    QUALITY = "quality"
    LATENCY = "latency"
    COST = "cost"
    PRICE = "price"
    BREAKER = "breaker"
    RATE_LIMIT = "rate_limit"
    IN_FLIGHT = "in_flight"


@value_class()
class Known:
    """What is known of one deployment for a task, whatever the prompt: registry and evidence joined, at one minute.

    Money in USD, times in seconds (0: unknown), ``age_h`` hours since the last observation. ``quality``, ``learned``,
    ``preference`` and ``performance`` are in [0, 1]. ``observations`` is the discounted number of requests behind
    ``success_rate`` and ``latency_s`` (a median). ``recent_*`` against ``base_*`` gave the live ``adjustment``.
    ``input_ratio`` is tokens counted by the provider per token we estimated; ``mean_output`` tokens an answer has.
    """

    deployment: str
    provider: str
    vendor: str
    quality: float
    quality_sd: float
    quality_n: float
    learned: float
    preference: float
    performance: float
    adjustment: float
    input_ratio: float
    mean_output: float
    observations: float
    success_rate: float
    latency_s: float
    latency_p95_s: float
    first_p95_s: float
    age_h: float
    recent_n: float
    recent_success: float
    recent_latency_s: float
    base_latency_s: float
    recent_cost_usd: float
    base_cost_usd: float


class Facts(NamedTuple):
    """One candidate for one request: what is known of it, and what this request makes of that.

    ``quality`` in [0, 1] is the expectation for this very prompt. ``breaker`` is closed, open, half_open or ejected;
    ``ready_in_s`` the seconds until a call is admitted; ``ramp`` the share of traffic in (0, 1] it may carry.
    """

    deployment: str
    provider: str
    known: Known
    quality: float
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    expected_cost_usd: float
    worst_cost_usd: float
    breaker: str
    ready_in_s: float
    ramp: float


class Rejection(NamedTuple):
    """A deployment that may not serve this request: the rule and a sentence.

    ``retry_after_s`` are the seconds until waiting helps (None: never); ``facts`` are kept when a learned fact decided.
    """

    deployment: str
    rule: Rule
    detail: str
    retry_after_s: float | None = None
    facts: Facts | None = None


class Terms(NamedTuple):
    """The seven factors of one candidate, unweighted, each in its own range of points."""

    quality: float
    cost: float
    performance: float
    learning: float
    task_preference: float
    vendor_diversity: float
    vendor_preference: float


TERM_MAXIMA = Terms(50.0, 20.0, 15.0, 10.0, 5.0, 3.0, 2.0)
"""The upper end of each factor's range; the lower end is 0."""


class ScoredCandidate(NamedTuple):
    """One eligible deployment with its seven terms; ``score`` ranks, unclamped."""

    deployment: str
    terms: Terms
    adjustment: float
    score: float
    facts: Facts

    @property
    def shown_score(self) -> float:
        """The score clamped to 0-100, for people."""
        return min(100.0, max(0.0, self.score))


class Attempt(NamedTuple):
    """One call the plan allows: which deployment, and the output limit to send (None: the client's own).

    ``worst_cost_usd`` is what this call can cost at most under that limit.
    """

    deployment: str
    max_output_tokens: int | None = None
    expected_cost_usd: float = 0.0
    worst_cost_usd: float = 0.0


class Decision(NamedTuple):
    """A whole decision, replayable from its record.

    ``ranking`` holds every eligible candidate, best first. ``attempts`` is the plan: the chosen deployment, then the
    fallbacks. ``confidence`` in [0, 1] grows with the margin to the runner-up. ``propensity`` is the probability with
    which the chosen one was drawn. ``at`` is wall-clock seconds; ``draws`` are the random numbers used, so that the
    draw can be repeated. The first ``legs`` attempts run at once (1: no fan-out), the others are fallbacks. ``weights``
    are those of the policy as they were in force: a spend ceiling may have raised the one of cost.
    """

    profile: TaskProfile
    policy: str
    ranking: tuple[ScoredCandidate, ...]
    rejections: tuple[Rejection, ...]
    attempts: tuple[Attempt, ...]
    chosen: str | None
    confidence: float
    propensity: float
    rationale: str
    at: float
    draws: tuple[float, float]
    policy_version: str
    registry_version: str
    snapshot_version: int
    order: str = "scored"
    mode: Mode = Mode.SINGLE
    explored: bool = False
    judge: str | None = None
    legs: int = 1
    last_resort: bool = False
    weights: Weights = _PLAIN

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """The deployments tried after the chosen one, in order."""
        return tuple(attempt.deployment for attempt in self.attempts[1:])

    @property
    def top(self) -> ScoredCandidate | None:
        """The scored candidate that was chosen, if any."""
        for candidate in self.ranking:
            if candidate.deployment == self.chosen:
                return candidate
        return None
