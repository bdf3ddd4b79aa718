"""What happened: usage, failures, attempts, requests, feedback. Values only; nothing here acts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from router_core.task import TaskType
from router_core.value import value_class


@value_class()
class Usage:
    """Tokens of one answer in five disjoint kinds; their sum is the total.

    ``input`` is without ``cached_input`` and ``cache_write``; ``output`` is without ``reasoning``.
    ``estimated`` marks counts we computed because the provider sent none.
    """

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    estimated: bool = False

    def __post_init__(self) -> None:
        """Refuse negative counts."""
        if self.input < 0 or self.cached_input < 0 or self.cache_write < 0 or self.output < 0 or self.reasoning < 0:
            msg = f"token counts must not be negative: {self!r}"
            raise ValueError(msg)

    @property
    def prompt(self) -> int:
        """All tokens read, as OpenAI's ``prompt_tokens`` counts them."""
        return self.input + self.cached_input + self.cache_write

    @property
    def completion(self) -> int:
        """All tokens written, as OpenAI's ``completion_tokens`` counts them."""
        return self.output + self.reasoning

    @property
    def total(self) -> int:
        """Sum of the five kinds."""
        return self.input + self.cached_input + self.cache_write + self.output + self.reasoning

    def __add__(self, other: Usage) -> Usage:
        """Add kind by kind."""
        return Usage(
            self.input + other.input,
            self.cached_input + other.cached_input,
            self.cache_write + other.cache_write,
            self.output + other.output,
            self.reasoning + other.reasoning,
            self.estimated or other.estimated,
        )


class FailureKind(StrEnum):
    """Why an attempt failed. What follows from each kind stands in ``retry_policy``."""

    CONNECT = "connect"
    SERVER = "server"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    CONFLICT = "conflict"
    RATE_LIMITED = "rate_limited"
    AUTH = "auth"
    BILLING = "billing"
    NOT_FOUND = "not_found"
    CONTEXT_OVERFLOW = "context_overflow"
    CONTENT_FILTER = "content_filter"
    INVALID_REQUEST = "invalid_request"
    STREAM_BROKEN = "stream_broken"
    STREAM_TRUNCATED = "stream_truncated"
    CANCELLED = "cancelled"


@value_class()
class Failure:
    """One failed call, in the provider's words where the client may see them.

    ``status`` is the provider's HTTP status (None: no answer). ``message``, ``code``, ``param`` and ``type`` are
    already
    scrubbed. ``retry_after_s`` is the provider's wish in seconds. ``redirect``, ``empty`` and ``gateway`` refine the
    kind
    where the table in failures.md does (a redirect, empty choices, a 502/503/504: not tried again at the same place).
    ``ours`` names a parameter the gateway added that the provider refused.
    """

    kind: FailureKind
    message: str = ""
    status: int | None = None
    code: str | None = None
    param: str | None = None
    type: str | None = None
    retry_after_s: float | None = None
    redirect: bool = False
    empty: bool = False
    gateway: bool = False
    sent: bool = True
    ours: str | None = None


class AttemptRole(StrEnum):
    """What a call was made for; only ``primary``, ``fallback`` and ``retry`` can be the first answer to a client."""

    PRIMARY = "primary"
    RETRY = "retry"
    FALLBACK = "fallback"
    HEDGE = "hedge"
    LEG = "leg"
    JUDGE = "judge"
    SHADOW = "shadow"
    CONTINUATION = "continuation"


class CostSource(StrEnum):
    """Where a cost comes from, best first."""

    PROVIDER = "provider"
    PRICE_TABLE = "price_table"
    ESTIMATE = "estimate"


@value_class()
class AttemptOutcome:
    """One call to one deployment and what became of it; ``at`` is wall-clock seconds, durations are seconds.

    ``failure`` None means success. ``duration_s`` ends with the last byte; ``time_to_first_content_s`` is None when no
    content came. ``refusal`` and ``length_cut`` are what the answer itself said.
    """

    deployment: str
    provider: str
    task: TaskType
    at: float
    duration_s: float
    role: AttemptRole = AttemptRole.PRIMARY
    failure: Failure | None = None
    time_to_first_content_s: float | None = None
    usage: Usage = Usage()
    cost_usd: float = 0.0
    cost_source: CostSource = CostSource.PRICE_TABLE
    stream: bool = False
    input_estimate: int = 0
    status: int | None = None
    upstream_id: str = ""
    tool_calls: int = 0
    finish_reason: str | None = None
    refusal: bool = False
    skipped_events: int = 0
    probe_lease: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the deployment answered."""
        return self.failure is None


@value_class()
class RequestOutcome:
    """One client request and all its attempts, in the order they were started.

    ``status`` is what the client saw (499: it left). ``served_by`` is the deployment whose answer it got.
    """

    decision_id: str
    at: float
    task: TaskType
    status: int
    duration_s: float
    attempts: tuple[AttemptOutcome, ...]
    secondary: TaskType | None = None
    served_by: str | None = None
    key_id: str = ""
    tags: tuple[str, ...] = ()
    session: str | None = None
    cost_usd: float = 0.0
    overhead_s: float = 0.0
    policy: str = "balanced"
    mode: str = "single"
    error_code: str | None = None
    features: Any = None

    @property
    def ok(self) -> bool:
        """Whether the client got an answer."""
        return self.served_by is not None and self.status < 400


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody thought of an answer. At least one signal must be given.

    ``score`` in [0, 1]; ``rating`` 1-5; ``outcome`` one of success, partial, failure. One vote per decision and source.
    """

    decision_id: str
    at: float
    source: str = "client"
    score: float | None = None
    rating: int | None = None
    outcome: str | None = None
    pr_merged: bool = False
    pr_reverted: bool = False
    label: str | None = None
    correction: str | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range and a vote without a signal."""
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            msg = f"score must be within [0, 1], not {self.score!r}"
            raise ValueError(msg)
        if self.rating is not None and self.rating not in {1, 2, 3, 4, 5}:
            msg = f"rating must be a whole number from 1 to 5, not {self.rating!r}"
            raise ValueError(msg)
        if self.outcome is not None and self.outcome not in {"success", "partial", "failure"}:
            msg = f"outcome must be success, partial or failure, not {self.outcome!r}"
            raise ValueError(msg)
        if not self.has_signal:
            msg = "feedback needs at least one of score, rating, outcome, pr_merged, pr_reverted, label, correction"
            raise ValueError(msg)

    @property
    def has_signal(self) -> bool:
        """Whether anything was said at all."""
        signals = (self.score, self.rating, self.outcome, self.label, self.correction)
        return any(signal is not None for signal in signals) or self.pr_merged or self.pr_reverted


@value_class()
class Reward:
    """A judged answer: ``value`` in [0, 1] with ``weight`` in (0, 1] by how much its source is trusted."""

    deployment: str
    task: TaskType
    at: float
    value: float
    weight: float = 1.0
    source: str = "feedback"
    secondary: TaskType | None = None
    features: Any = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse a reward outside [0, 1] and a weight outside (0, 1]."""
        if not 0.0 <= self.value <= 1.0:
            msg = f"reward must be within [0, 1], not {self.value!r}"
            raise ValueError(msg)
        if not 0.0 < self.weight <= 1.0:
            msg = f"reward weight must be within (0, 1], not {self.weight!r}"
            raise ValueError(msg)
