"""What a caller asks for, as the decision sees it: no text, only what was learned from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from router_core.deployment import Capability
from router_core.errors import RequestError
from router_core.task import TaskProfile, TaskType
from router_core.value import value_class


class Mode(StrEnum):
    """How many models answer, and how one answer is made of theirs."""

    SINGLE = "single"
    FIRST_SUCCESS = "first_success"
    QUALITY_WEIGHTED = "quality_weighted"
    VOTING = "voting"
    JUDGE = "judge"
    SYNTHESIZE = "synthesize"


class StreamRecovery(StrEnum):
    """What becomes of a stream that fails after content."""

    ERROR = "error"
    CONTINUE = "continue"
    BUFFER = "buffer"


@dataclass(frozen=True, slots=True)
class Hints:
    """The caller's wishes. None or empty means: not said.

    ``fallbacks`` None: the registry's; empty: none wanted. ``max_cost_usd`` bounds the whole request, all attempts and
    legs; ``max_latency_ms`` the whole answer, for a stream its first content. ``max_price`` is USD per million tokens.
    """

    task: TaskType | None = None
    policy: str | None = None
    min_quality: float | None = None
    max_cost_usd: float | None = None
    max_latency_ms: float | None = None
    prefer: str | None = None
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    diversity: bool = False
    fallbacks: tuple[str, ...] | None = None
    mode: Mode | None = None
    critical: bool = False
    stream_recovery: StreamRecovery | None = None
    session: str | None = None
    explain: bool = False
    tags: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    require_parameters: bool = False
    max_price_prompt: float | None = None
    max_price_completion: float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if self.min_quality is not None and not 0.0 <= self.min_quality <= 1.0:
            msg = f"min_quality must be within 0 and 1, not {self.min_quality!r}"
            raise RequestError(msg, param="min_quality")
        for name in ("max_cost_usd", "max_latency_ms", "max_price_prompt", "max_price_completion"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < float("inf"):
                msg = f"{name} must be a positive number, not {value!r}"
                raise RequestError(msg, param=name)


@value_class()
class RoutingRequest:
    """One request as the decision sees it.

    ``model`` is what was asked for: an alias, route, model or deployment. ``input_tokens`` is our estimate before any
    learned ratio. ``max_output_tokens`` is the client's limit (None: none). ``allowed_models`` is the key's list (None:
    all). ``recent_providers`` are the last five used by this session or key; ``warm_tokens`` the prompt tokens a
    session has cached per deployment. ``features`` is what ``features.extract`` returned (None: unknown prompt).
    ``cost_factors`` multiply the cost weight of policies (by name) whose spend ceiling asks for it.
    """

    profile: TaskProfile
    hints: Hints = Hints()
    model: str = "auto"
    input_tokens: int = 1
    max_output_tokens: int | None = None
    needs: frozenset[Capability] = frozenset()
    stream: bool = False
    n: int = 1
    features: Any = field(default=None, compare=False)
    allowed_models: frozenset[str] | None = None
    allowed_tasks: frozenset[str] | None = None
    recent_providers: tuple[str, ...] = ()
    warm_tokens: Mapping[str, int] = field(default_factory=dict)
    warm_deployment: str | None = None
    cost_factors: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        if self.input_tokens < 0:
            msg = f"input_tokens must not be negative, not {self.input_tokens!r}"
            raise RequestError(msg)
        if self.max_output_tokens is not None and self.max_output_tokens < 1:
            msg = f"max_output_tokens must be at least 1, not {self.max_output_tokens!r}"
            raise RequestError(msg, param="max_tokens")
        if self.n < 1:
            msg = f"n must be at least 1, not {self.n!r}"
            raise RequestError(msg, param="n")

    @classmethod
    def of(  # noqa: PLR0913 - the library's one-line entrance: keyword-only, all optional
        cls,
        *,
        task: TaskType | str = TaskType.GENERAL,
        model: str = "auto",
        policy: str | None = None,
        input_tokens: int = 500,
        max_output_tokens: int | None = None,
        max_cost_usd: float | None = None,
        max_latency_ms: float | None = None,
        min_quality: float | None = None,
        needs: Iterable[Capability | str] = (),
        prefer: str | None = None,
        only: Iterable[str] = (),
        exclude: Iterable[str] = (),
        diversity: bool = False,
        stream: bool = False,
        features: Any = None,
    ) -> RoutingRequest:
        """Build a request from plain values, for use of the core without the gateway.

        Raises RequestError for an unknown task or capability, or a number out of range.
        """
        try:
            profile = TaskProfile(TaskType(task), evidence=("given by the caller",))
            wanted = frozenset(Capability(need) for need in needs)
        except ValueError as exc:
            raise RequestError(str(exc)) from exc
        hints = Hints(
            policy=policy,
            min_quality=min_quality,
            max_cost_usd=max_cost_usd,
            max_latency_ms=max_latency_ms,
            prefer=prefer,
            only=tuple(only),
            exclude=tuple(exclude),
            diversity=diversity,
        )
        return cls(
            profile,
            hints,
            model,
            input_tokens,
            max_output_tokens,
            wanted,
            stream,
            features=features,
        )
