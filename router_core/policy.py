"""Every number the operator can turn, compiled from ``policy.yaml`` into frozen values.

Defaults are the documented ones. Seconds, USD, tokens and shares in [0, 1] as the names say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from router_core.errors import ConfigError
from router_core.request import Mode, StreamRecovery


def _require(owner: object, *, positive: tuple[str, ...] = (), share: tuple[str, ...] = ()) -> None:
    """Refuse values that are not positive, or not within [0, 1]."""
    for name in positive:
        value = getattr(owner, name)
        if value is not None and not 0.0 < value < float("inf"):
            msg = f"{name} must be a positive number, not {value!r}"
            raise ConfigError(msg)
    for name in share:
        value = getattr(owner, name)
        if not 0.0 <= value <= 1.0:
            msg = f"{name} must be within 0 and 1, not {value!r}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class Weights:
    """Multipliers of the seven factors; ``balanced`` has all of them 1."""

    quality: float = 1.0
    cost: float = 1.0
    performance: float = 1.0
    learning: float = 1.0
    task_preference: float = 1.0
    vendor_diversity: float = 1.0
    vendor_preference: float = 1.0

    def __post_init__(self) -> None:
        """Refuse negative and non-finite weights."""
        for spec in fields(self):
            value = getattr(self, spec.name)
            if not 0.0 <= value < float("inf"):
                msg = f"weight {spec.name} must be a finite number >= 0, not {value!r}"
                raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class SpendCeiling:
    """What the requests of a policy may cost together, USD per UTC hour and UTC day (None: no such ceiling).

    Held by weighing cost more (``pacing.py``), never by refusing.
    """

    usd_per_hour: float | None = None
    usd_per_day: float | None = None

    def __post_init__(self) -> None:
        """Refuse a ceiling that is not positive."""
        _require(self, positive=("usd_per_hour", "usd_per_day"))


def _default_policies() -> dict[str, Weights]:
    return {
        "balanced": Weights(),
        "quality": Weights(quality=1.4, cost=0.25, performance=0.5),
        "cost": Weights(quality=0.5, cost=2.5, performance=0.5),
        "speed": Weights(quality=0.5, cost=0.75, performance=3.0),
    }


@dataclass(frozen=True, slots=True)
class ScoringPolicy:
    """Scales of the seven factors and of the live adjustment.

    ``cost_scale_usd`` is the expected cost that earns half the cost points; ``latency_scale_s`` the median latency that
    halves the performance. ``live_*`` bound the adjustment and its window.
    """

    cost_scale_usd: float = 0.01
    latency_scale_s: float = 10.0
    confidence_requests: float = 100.0
    confidence_half_life_h: float = 168.0
    neutral: float = 0.5
    live_window_s: float = 600.0
    live_min_requests: float = 10.0
    live_low: float = 0.5
    live_high: float = 2.0
    recent_providers: int = 5
    default_output_tokens: int = 400

    def __post_init__(self) -> None:
        """Refuse scales that are not positive."""
        _require(
            self,
            positive=(
                "cost_scale_usd",
                "latency_scale_s",
                "confidence_requests",
                "confidence_half_life_h",
                "live_window_s",
                "live_min_requests",
                "live_low",
                "live_high",
                "default_output_tokens",
            ),
            share=("neutral",),
        )
        if not self.live_low <= 1.0 <= self.live_high:
            msg = f"live_low and live_high must lie on both sides of 1, not {self.live_low!r} and {self.live_high!r}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class LearningPolicy:
    """How fast evidence counts and how fast it is forgotten.

    ``feedback_prior`` is the pseudo-count behind the neutral learned weight 0.5 (9 moves it like an EMA with alpha
    0.1). ``half_life_h`` is the age at which an observation counts half, at least a week. ``residual_share`` scales
    what the prompt's own neighbourhood adds to the task's mean.
    """

    enabled: bool = True
    half_life_h: float = 720.0
    feedback_prior: float = 9.0
    residual_share: float = 0.5
    residual_prior: float = 20.0

    def __post_init__(self) -> None:
        """Refuse time constants that are not positive."""
        _require(self, positive=("half_life_h", "feedback_prior", "residual_prior"), share=("residual_share",))
        if self.half_life_h < 168.0:
            msg = f"half_life_h must be at least 168 (a week; decayed sums outgrow a float), not {self.half_life_h!r}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class ExplorationPolicy:
    """Share of scored traffic that tries another plausible deployment; 0 turns it off.

    ``probe_share`` goes to demoted or new deployments; one dearer than ``max_cost_ratio`` times the best is probed as
    much more seldom, so that all probes together add at most ``probe_share x max_cost_ratio`` of the best one's cost.
    A plausible rival costs at most ``max_cost_ratio`` times the best one and trails it by at most ``max_score_gap``
    points.
    """

    share: float = 0.01
    probe_share: float = 0.005
    max_cost_ratio: float = 3.0
    max_score_gap: float = 15.0

    def __post_init__(self) -> None:
        """Refuse shares outside [0, 1]."""
        _require(self, positive=("max_cost_ratio", "max_score_gap"), share=("share", "probe_share"))
        if self.share + self.probe_share > 1.0:
            msg = f"share and probe_share must not exceed 1 together, not {self.share!r} and {self.probe_share!r}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. ``first_content_s`` and its reasoning twin are cold defaults, learned per deployment afterwards."""

    connect_s: float = 5.0
    first_content_s: float = 10.0
    first_content_reasoning_s: float = 60.0
    first_content_floor_s: float = 3.0
    learned_quantile_factor: float = 3.0
    idle_s: float = 60.0
    total_s: float = 600.0
    after_finish_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse time-outs that are not positive."""
        _require(self, positive=tuple(spec.name for spec in fields(self)))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``max_attempts`` bounds calls of one request or leg (at most 6), ``max_upstream_calls`` everything (at most 32).

    ``budget_ratio`` is the share of recent requests that may be tried again, with ``budget_floor`` always allowed in
    ``budget_window_s``. Waits are full jitter between 0 and min(cap, base x 2^n).
    """

    max_attempts: int = 4
    max_upstream_calls: int = 10
    budget_ratio: float = 0.2
    budget_floor: int = 10
    budget_window_s: float = 10.0
    backoff_base_s: float = 0.1
    backoff_cap_s: float = 2.0
    fallbacks: int = 3
    content_filter_fallback: bool = False

    def __post_init__(self) -> None:
        """Refuse counts out of their documented ranges."""
        _require(self, positive=("budget_window_s", "backoff_base_s", "backoff_cap_s"), share=("budget_ratio",))
        if not 1 <= self.max_attempts <= 6:
            msg = f"max_attempts must be within 1 and 6, not {self.max_attempts!r}"
            raise ConfigError(msg)
        if not 1 <= self.max_upstream_calls <= 32:
            msg = f"max_upstream_calls must be within 1 and 32, not {self.max_upstream_calls!r}"
            raise ConfigError(msg)
        if self.budget_floor < 0 or self.fallbacks < 0:
            msg = "budget_floor and fallbacks must not be negative"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class RateLimitPolicy:
    """``wait_max_s``: how long a request may wait for the same deployment's Retry-After.

    None: 0 where a fallback stands ready, else what the deadline allows. Without a Retry-After the back-off doubles
    from ``backoff_base_s`` to ``backoff_cap_s`` with jitter.
    """

    wait_max_s: float | None = None
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse negative waits."""
        _require(self, positive=("backoff_base_s", "backoff_cap_s"))
        if self.wait_max_s is not None and not 0.0 <= self.wait_max_s < float("inf"):
            msg = f"wait_max_s must be a number >= 0, not {self.wait_max_s!r}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a circuit opens, for how long, and how it closes again.

    Opens at ``consecutive_failures``, or at ``failure_rate`` (or ``slow_rate`` slow first tokens) within ``window_s``
    of at least ``min_calls``. Open for ``open_s``, doubling up to ``open_cap_s``; jitter takes up to that share off, so
    the configured time is an upper bound. ``credentials_open_s`` holds after 401, 402 and 403. A probe's permit is a
    lease of
    ``probe_lease_s``. Traffic ramps over ``ramp_s`` after closing on scored and weighted routes.
    ``last_resort``: where nobody else is left, an open circuit is asked before its time, once in
    ``last_resort_after_s``; never before a Retry-After, nor one that is open for its credentials or its model's name.
    """

    consecutive_failures: int = 5
    failure_rate: float = 0.5
    slow_rate: float = 0.8
    min_calls: int = 5
    window_s: float = 30.0
    open_s: float = 60.0
    open_cap_s: float = 600.0
    jitter: float = 0.2
    half_open_probes: int = 1
    probe_lease_s: float = 60.0
    ramp_s: float = 60.0
    credentials_open_s: float = 600.0
    forget_after_s: float = 600.0
    provider_opens: bool = True
    last_resort: bool = True
    last_resort_after_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse thresholds that could never or always trip."""
        _require(
            self,
            positive=(
                "consecutive_failures",
                "min_calls",
                "window_s",
                "open_s",
                "open_cap_s",
                "half_open_probes",
                "probe_lease_s",
                "credentials_open_s",
                "forget_after_s",
                "last_resort_after_s",
            ),
            share=("failure_rate", "slow_rate", "jitter"),
        )


@dataclass(frozen=True, slots=True)
class HedgingPolicy:
    """A second call in parallel when the first token is late; off by default.

    Sent after the deployment's ``quantile`` of time to first content (at least ``min_wait_s``), for at most
    ``max_share`` of requests and ``max_cost_share`` of spend.
    """

    enabled: bool = False
    quantile: float = 0.95
    min_wait_s: float = 1.0
    max_share: float = 0.05
    max_cost_share: float = 0.05

    def __post_init__(self) -> None:
        """Refuse shares outside [0, 1]."""
        _require(self, positive=("min_wait_s",), share=("quantile", "max_share", "max_cost_share"))


@dataclass(frozen=True, slots=True)
class ParallelPolicy:
    """Fan-out: how wide, when the operator's triggers apply, and how long to wait for the others.

    ``trigger_tasks`` and ``trigger_min_quality`` fan out by themselves only when filled in; ``critical_mode`` is used
    for requests that carry the ``critical`` hint while triggers are on.
    """

    width: int = 3
    trigger_tasks: tuple[str, ...] = ()
    trigger_critical: bool = False
    trigger_min_quality: float | None = None
    trigger_mode: Mode = Mode.JUDGE
    quorum: int = 2
    quorum_grace_s: float = 5.0
    judges: tuple[str, ...] = ()
    judge_max_output_tokens: int = 500
    judge_timeout_s: float = 30.0
    adaptive: bool = False
    adaptive_confidence: float = 0.6

    def __post_init__(self) -> None:
        """Refuse widths that are no fan-out or beyond the bound on upstream calls."""
        if not 2 <= self.width <= 8:
            msg = f"width must be within 2 and 8, not {self.width!r}"
            raise ConfigError(msg)
        _require(self, positive=("quorum", "quorum_grace_s", "judge_max_output_tokens", "judge_timeout_s"))


@dataclass(frozen=True, slots=True)
class ShadowPolicy:
    """Background comparisons: a sampled share of traffic, within a daily budget in USD."""

    share: float = 0.0
    max_usd_per_day: float = 1.0
    deployments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a share outside [0, 1]."""
        _require(self, share=("share",))


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """Overload bounds: open requests, queue, and the event loop's lag at which new work is shed.

    ``adaptive``: a deployment that refuses work gets no more calls at once than it bore, times ``adaptive_decrease``
    and at least ``adaptive_least``; the limit widens again with good answers.
    """

    max_in_flight: int = 1000
    max_in_flight_per_key: int | None = None
    max_queue: int = 200
    queue_wait_s: float = 5.0
    max_loop_lag_s: float = 1.0
    drain_s: float = 30.0
    adaptive: bool = True
    adaptive_least: int = 4
    adaptive_decrease: float = 0.7

    def __post_init__(self) -> None:
        """Refuse bounds that admit nothing."""
        _require(
            self,
            positive=("max_in_flight", "queue_wait_s", "max_loop_lag_s", "drain_s", "adaptive_least"),
            share=("adaptive_decrease",),
        )


@dataclass(frozen=True, slots=True)
class InputLimits:
    """Bounds on what a client may send: bytes, depth, counts, seconds."""

    body_bytes: int = 20 * 1024 * 1024
    depth: int = 64
    messages: int = 4096
    tools: int = 512
    n: int = 16
    max_output_tokens: int = 1_000_000
    header_bytes: int = 64 * 1024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse bounds that admit nothing."""
        _require(self, positive=tuple(spec.name for spec in fields(self)))


@dataclass(frozen=True, slots=True)
class Upstream:
    """Bounds on what a provider may send: bytes of one event, of a decoded body, comments that reset the idle timer."""

    event_bytes: int = 16 * 1024 * 1024
    body_bytes: int = 64 * 1024 * 1024
    idle_comments: int = 3


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """``usd`` per ``window`` for all keys with ``tag``, for the ``key`` of this id, or, with neither, for all."""

    window: str
    usd: float
    tag: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        """Refuse a rule about a tag and a key at once, an unknown window, and an amount that cannot be."""
        if self.tag is not None and self.key is not None:
            msg = "a budget rule names a tag or a key, not both"
            raise ConfigError(msg)
        if self.window not in {"hour", "day", "month", "total"}:
            msg = f"window must be hour, day, month or total, not {self.window!r}"
            raise ConfigError(msg)
        if not 0.0 < self.usd <= 9e6:
            msg = f"usd must be above 0 and at most 9,000,000, not {self.usd!r}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class BudgetPolicy:
    """``wait_max_s``: how long a request waits for the next leased slice; ``on_store_loss`` is deny or allow.

    ``slice_share``: all workers together may hold at most this share of a budget in open leases. It bounds what
    crashes can take out of a budget, and how many calls can be open on it at the same time. ``lease_s``: a worker
    silent for so long counts as dead, and what it held as spent.
    """

    wait_max_s: float = 1.0
    on_store_loss: str = "deny"
    slice_share: float = 0.12
    lease_s: float = 30.0
    rules: tuple[BudgetRule, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an unknown rule for a lost store."""
        if self.on_store_loss not in {"deny", "allow"}:
            msg = f"on_store_loss must be deny or allow, not {self.on_store_loss!r}"
            raise ConfigError(msg)
        _require(self, positive=("lease_s",), share=("slice_share",))


@dataclass(frozen=True, slots=True)
class CapturePolicy:
    """Whether prompt text is kept (off), which share, and for how many days.

    Decisions live ``decision_days``, booked calls ``ledger_days``.
    """

    enabled: bool = False
    share: float = 1.0
    days: int = 7
    decision_days: int = 30
    ledger_days: int = 400

    def __post_init__(self) -> None:
        """Refuse a share outside [0, 1]."""
        _require(self, positive=("days", "decision_days", "ledger_days"), share=("share",))


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole of ``policy.yaml``, compiled. ``version`` changes whenever a value does."""

    policies: Mapping[str, Weights] = field(default_factory=_default_policies)
    ceilings: Mapping[str, SpendCeiling] = field(default_factory=dict)
    default_policy: str = "balanced"
    scoring: ScoringPolicy = ScoringPolicy()
    learning: LearningPolicy = LearningPolicy()
    exploration: ExplorationPolicy = ExplorationPolicy()
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    rate_limit: RateLimitPolicy = RateLimitPolicy()
    breaker: BreakerPolicy = BreakerPolicy()
    hedging: HedgingPolicy = HedgingPolicy()
    parallel: ParallelPolicy = ParallelPolicy()
    shadow: ShadowPolicy = ShadowPolicy()
    admission: AdmissionPolicy = AdmissionPolicy()
    limits: InputLimits = InputLimits()
    upstream: Upstream = Upstream()
    budgets: BudgetPolicy = BudgetPolicy()
    capture: CapturePolicy = CapturePolicy()
    stream_recovery: StreamRecovery = StreamRecovery.ERROR
    stream_keepalive_s: float | None = None
    long_context_tokens: int = 8000
    default_max_output_tokens: int = 4096
    version: str = "default"

    def __post_init__(self) -> None:
        """Refuse a default that names no policy, and a ceiling that no weight could hold."""
        if self.default_policy not in self.policies:
            allowed = ", ".join(sorted(self.policies))
            msg = f"default_policy {self.default_policy!r} is not one of {allowed}"
            raise ConfigError(msg)
        for name in self.ceilings:
            if name not in self.policies or self.policies[name].cost <= 0.0:
                msg = f"policies.{name}: a spend ceiling is held by the cost weight, which must be above 0"
                raise ConfigError(msg)
        _require(self, positive=("stream_keepalive_s", "long_context_tokens", "default_max_output_tokens"))

    def weights(self, name: str) -> Weights:
        """Return the weights of a named policy; raises ConfigError when there is none."""
        found = self.policies.get(name)
        if found is None:
            msg = f"unknown policy {name!r}; known: {', '.join(sorted(self.policies))}"
            raise ConfigError(msg)
        return found

    def replace(self, **changes: Any) -> Policy:
        """Return a copy with some sections changed."""
        values: dict[str, Any] = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        values.update(changes)
        return Policy(**values)
