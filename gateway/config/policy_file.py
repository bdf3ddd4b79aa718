"""The shape of ``policy.yaml``: one section for each field of ``router_core.policy.Policy``, with the same defaults."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from gateway.config.shape import (
    Count,
    CountOrNone,
    NotNegative,
    Positive,
    Share,
    Strict,
    Whole,
    empty,
    opt,
)
from router_core.request import Mode, StreamRecovery
from router_core.task import TaskType


class WeightsSection(Strict):
    """Multipliers of the seven factors of a score, and what may be spent under them."""

    quality: NotNegative = opt(1.0, "", "multiplies quality (0-50 points)")
    cost: NotNegative = opt(1.0, "", "multiplies cost (0-20 points)")
    performance: NotNegative = opt(1.0, "", "multiplies performance (0-15 points)")
    learning: NotNegative = opt(1.0, "", "multiplies learning from feedback (0-10 points)")
    task_preference: NotNegative = opt(1.0, "", "multiplies task preference (0-5 points)")
    vendor_diversity: NotNegative = opt(1.0, "", "multiplies vendor diversity (0-3 points)")
    vendor_preference: NotNegative = opt(1.0, "", "multiplies vendor preference (0-2 points)")
    usd_per_hour: Positive | None = opt(None, "USD/h", "spend ceiling of a UTC hour; held by weighing cost more")
    usd_per_day: Positive | None = opt(None, "USD/day", "spend ceiling of a UTC day; held by weighing cost more")


class ScoringSection(Strict):
    """Scales of the factors and of the live adjustment."""

    cost_scale_usd: Positive = opt(0.01, "USD", "expected cost of a request that earns half of the cost points")
    latency_scale_s: Positive = opt(10.0, "s", "median latency that halves the performance")
    confidence_requests: Positive = opt(100.0, "requests", "observations after which only what was seen counts")
    confidence_half_life_h: Positive = opt(168.0, "h", "age at which observations count half")
    neutral: Share = opt(0.5, "", "performance of a deployment nobody has seen yet")
    live_window_s: Positive = opt(600.0, "s", "how far back the live adjustment looks")
    live_min_requests: Positive = opt(10.0, "requests", "requests in that window below which the adjustment is 1")
    live_low: Positive = opt(0.5, "", "least the live adjustment multiplies a score by")
    live_high: Positive = opt(2.0, "", "most the live adjustment multiplies a score by")
    recent_providers: CountOrNone = opt(5, "providers", "how many last used ones earn no diversity points")
    default_output_tokens: Count = opt(400, "tokens", "length of an answer assumed until learned")


class LearningSection(Strict):
    """How fast evidence counts and is forgotten."""

    enabled: bool = opt(default=True, unit="", meaning="false keeps every prior as written")
    half_life_h: Positive = opt(720.0, "h", "age at which an observation counts half")
    feedback_prior: Positive = opt(9.0, "observations", "weight of the neutral start; 9 is like an EMA with alpha 0.1")
    residual_share: Share = opt(0.5, "", "how much of what similar prompts showed is added to the task's mean")
    residual_prior: Positive = opt(20.0, "observations", "weight of the start of that addition")


class ExplorationSection(Strict):
    """Trying another plausible deployment, to learn."""

    share: Share = opt(0.01, "", "share of scored traffic that explores; 0 turns it off")
    probe_share: Share = opt(0.005, "", "share that goes to demoted or new deployments")
    max_cost_ratio: Positive = opt(
        3.0, "", "dearest an explored one may be, as a multiple of the best one's cost; dearer: probed more seldom"
    )
    max_score_gap: Positive = opt(15.0, "points", "furthest an explored one may trail the best one")


class TimeoutsSection(Strict):
    """Time-outs; providers and deployments may have their own."""

    connect_s: Positive = opt(5.0, "s", "time to connect")
    first_content_s: Positive = opt(10.0, "s", "time to the first content until learned")
    first_content_reasoning_s: Positive = opt(60.0, "s", "the same for deployments that think first")
    first_content_floor_s: Positive = opt(3.0, "s", "least a learned limit may be")
    learned_quantile_factor: Positive = opt(3.0, "", "learned limit as a multiple of the slow end seen")
    idle_s: Positive = opt(60.0, "s", "silence within a stream")
    total_s: Positive = opt(600.0, "s", "the whole request")
    after_finish_s: Positive = opt(2.0, "s", "wait for usage and [DONE] after finish_reason")


class RetrySection(Strict):
    """How often a request may be tried."""

    max_attempts: Whole = opt(4, "calls", "most calls of one request or leg", ge=1, le=6)
    max_upstream_calls: Whole = opt(
        10, "calls", "most calls of one request in all, legs and judge included", ge=1, le=32
    )
    budget_ratio: Share = opt(0.2, "", "share of recent requests that may be tried again")
    budget_floor: CountOrNone = opt(10, "retries", "retries always allowed within budget_window_s")
    budget_window_s: Positive = opt(10.0, "s", "how far back recent requests are counted")
    backoff_base_s: Positive = opt(0.1, "s", "longest first wait before the same deployment is asked again")
    backoff_cap_s: Positive = opt(2.0, "s", "longest wait; it doubles until here, with full jitter")
    fallbacks: CountOrNone = opt(3, "deployments", "fallbacks planned behind the chosen one")
    content_filter_fallback: bool = opt(default=False, unit="", meaning="ask the next one after a content filter")


class RateLimitSection(Strict):
    """What a 429 of a provider leads to."""

    wait_max_s: NotNegative | None = opt(
        None, "s", "longest wait for the same deployment; null: 0 with a fallback, else the deadline"
    )
    backoff_base_s: Positive = opt(1.0, "s", "first ejection without Retry-After")
    backoff_cap_s: Positive = opt(60.0, "s", "longest one; it doubles until here, with jitter")


class BreakerSection(Strict):
    """When a deployment is left alone, and for how long."""

    consecutive_failures: Count = opt(5, "failures", "failures in a row that open it")
    failure_rate: Share = opt(0.5, "", "share of failures within the window that opens it")
    slow_rate: Share = opt(0.8, "", "share of slow first tokens within the window that opens it")
    min_calls: Count = opt(5, "calls", "calls within the window before a share counts")
    window_s: Positive = opt(30.0, "s", "how far back shares look")
    open_s: Positive = opt(60.0, "s", "how long it stays open the first time; doubles each time after")
    open_cap_s: Positive = opt(600.0, "s", "longest it stays open")
    jitter: Share = opt(0.2, "", "share of the open time taken off at random")
    half_open_probes: Count = opt(1, "requests", "probes let through at once when half open")
    probe_lease_s: Positive = opt(60.0, "s", "how long a probe may keep its place")
    ramp_s: NotNegative = opt(60.0, "s", "time over which traffic returns after it closed")
    credentials_open_s: Positive = opt(600.0, "s", "how long it stays open after 401, 402 or 403")
    forget_after_s: Positive = opt(600.0, "s", "good time after which the next opening is short again")
    provider_opens: bool = opt(default=True, unit="", meaning="open a provider whose deployments fail together")
    last_resort: bool = opt(default=True, unit="", meaning="when nobody else is left, probe an open one early")
    last_resort_after_s: Positive = opt(2.0, "s", "least time between two such probes")


class HedgingSection(Strict):
    """A second call in parallel when the first token is late."""

    enabled: bool = opt(default=False, unit="", meaning="true turns hedging on")
    quantile: Share = opt(0.95, "", "quantile of the time to first content after which the second call goes out")
    min_wait_s: Positive = opt(1.0, "s", "least wait before the second call")
    max_share: Share = opt(0.05, "", "most requests that may be hedged")
    max_cost_share: Share = opt(0.05, "", "most of the spend that may go to hedges")


class ParallelSection(Strict):
    """Asking several models at once; only hints fan out unless triggers are filled in."""

    width: Whole = opt(3, "deployments", "how many are asked", ge=2, le=8)
    trigger_tasks: list[TaskType] = empty(list, "tasks that fan out by themselves")
    trigger_critical: bool = opt(default=False, unit="", meaning="let the critical hint fan out")
    trigger_min_quality: Share | None = opt(None, "", "fan out requests whose min_quality hint is at least this")
    trigger_mode: Mode = opt(Mode.JUDGE, "", "how one answer is made when a trigger fans out")
    quorum: Count = opt(2, "answers", "answers after which only quorum_grace_s is waited for the others")
    quorum_grace_s: Positive = opt(5.0, "s", "how long the others get then")
    judges: list[str] = empty(list, "deployments that judge, first one first; empty: those of models.yaml")
    judge_max_output_tokens: Count = opt(500, "tokens", "longest verdict")
    judge_timeout_s: Positive = opt(30.0, "s", "longest wait for a verdict")
    adaptive: bool = opt(default=False, unit="", meaning="ask one first, the others when its answer is doubtful")
    adaptive_confidence: Share = opt(0.6, "", "confidence of the decision below which an unchecked answer is doubtful")


class ShadowSection(Strict):
    """Second answers fetched in the background for comparison, never shown."""

    share: Share = opt(0.0, "", "share of requests that are compared")
    max_usd_per_day: NotNegative = opt(1.0, "USD/day", "most spent on comparisons")
    deployments: list[str] = empty(list, "deployments that are compared; empty: any")


class AdmissionSection(Strict):
    """Overload bounds of the gateway itself."""

    max_in_flight: Count = opt(1000, "requests", "open requests of one worker")
    max_in_flight_per_key: Count | None = opt(None, "requests", "open requests of one key; null: no bound of its own")
    max_queue: CountOrNone = opt(200, "requests", "requests that may wait for a place")
    queue_wait_s: Positive = opt(5.0, "s", "longest wait for a place")
    max_loop_lag_s: Positive = opt(1.0, "s", "event loop lag at which new work is turned away")
    drain_s: Positive = opt(30.0, "s", "time open streams get to finish at shutdown")
    adaptive: bool = opt(default=True, unit="", meaning="cut the calls open at a deployment that refuses work")
    adaptive_least: Count = opt(4, "calls", "never fewer calls at once than these")
    adaptive_decrease: Share = opt(0.7, "", "share of the calls it bore that is left after a refusal")


class LimitsSection(Strict):
    """Bounds on what a client may send."""

    body_bytes: Count = opt(20 * 1024 * 1024, "bytes", "largest body")
    depth: Count = opt(64, "levels", "deepest nesting of JSON")
    messages: Count = opt(4096, "messages", "most messages")
    tools: Count = opt(512, "tools", "most tools")
    n: Count = opt(16, "choices", "largest n")
    max_output_tokens: Count = opt(1_000_000, "tokens", "largest max_tokens")
    header_bytes: Count = opt(64 * 1024, "bytes", "all headers together")
    header_timeout_s: Positive = opt(10.0, "s", "time to send the headers")
    body_timeout_s: Positive = opt(30.0, "s", "time to send the body")


class UpstreamSection(Strict):
    """Bounds on what a provider may send."""

    event_bytes: Count = opt(16 * 1024 * 1024, "bytes", "largest event of a stream")
    body_bytes: Count = opt(64 * 1024 * 1024, "bytes", "largest body, decoded")
    idle_comments: CountOrNone = opt(3, "comments", "comments in a row that restart the idle time-out")


class BudgetRuleSection(Strict):
    """A budget for everything, for all keys with a tag, or for one key."""

    window: Literal["hour", "day", "month", "total"] = opt("day", "", "how long it lasts, in UTC")
    usd: Positive = opt(1.0, "USD", "what may be spent in that time")
    tag: str | None = opt(None, "", "keys that carry this tag share it")
    key: str | None = opt(None, "", "id of the virtual key it is for")


class BudgetsSection(Strict):
    """Budgets across keys, and how workers share all budgets."""

    wait_max_s: NotNegative = opt(1.0, "s", "longest wait for the next leased slice")
    on_store_loss: Literal["deny", "allow"] = opt("deny", "", "what budgeted keys get while the store is lost")
    slice_share: Share = opt(0.12, "", "most of a budget that all workers together hold in open leases")
    lease_s: Positive = opt(30.0, "s", "silence after which a worker counts as dead, and what it held as spent")
    rules: list[BudgetRuleSection] = empty(list, "budgets of tags, of single keys, and of everything")


class CaptureSection(Strict):
    """What is kept."""

    enabled: bool = opt(default=False, unit="", meaning="keep the text of prompts")
    share: Share = opt(1.0, "", "share of prompts kept when enabled")
    days: Count = opt(7, "days", "how long prompts are kept")
    decision_days: Count = opt(30, "days", "how long decisions are kept, which hold no text")
    ledger_days: Count = opt(400, "days", "how long booked calls are kept, which hold no text")


class StreamSection(Strict):
    """Streams before their first content."""

    keepalive_s: Positive | None = opt(None, "s", "send 200 and comments while waiting; null: wait for real content")


class PolicyFile(Strict):
    """Every number the operator can turn."""

    policies: dict[str, WeightsSection] = empty(dict, "weights by policy name; balanced, quality, cost and speed exist")
    default_policy: str = opt("balanced", "", "policy of requests that name none")
    scoring: ScoringSection = empty(ScoringSection, "scales of the factors")
    learning: LearningSection = empty(LearningSection, "learning from outcomes and feedback")
    exploration: ExplorationSection = empty(ExplorationSection, "trying others")
    timeouts: TimeoutsSection = empty(TimeoutsSection, "time-outs")
    retry: RetrySection = empty(RetrySection, "retries and fallbacks")
    rate_limit: RateLimitSection = empty(RateLimitSection, "429 of providers")
    breaker: BreakerSection = empty(BreakerSection, "circuit breaker")
    hedging: HedgingSection = empty(HedgingSection, "hedged calls")
    parallel: ParallelSection = empty(ParallelSection, "several models at once")
    shadow: ShadowSection = empty(ShadowSection, "background comparisons")
    admission: AdmissionSection = empty(AdmissionSection, "overload")
    limits: LimitsSection = empty(LimitsSection, "bounds on clients")
    upstream: UpstreamSection = empty(UpstreamSection, "bounds on providers")
    budgets: BudgetsSection = empty(BudgetsSection, "budgets of keys")
    capture: CaptureSection = empty(CaptureSection, "what is kept")
    stream_recovery: StreamRecovery = opt(StreamRecovery.ERROR, "", "what becomes of a stream that fails after content")
    stream: StreamSection = empty(StreamSection, "streams")
    long_context_tokens: Count = opt(8000, "tokens", "estimated input above which a request is long_context")
    default_max_output_tokens: Count = opt(4096, "tokens", "output reserved for a request without max_tokens")

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, data: Any) -> Any:
        """Let an empty section (nothing after its colon) be one of defaults."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


__all__ = ["PolicyFile", "WeightsSection"]
