"""What can be called: providers, and their deployments with price, window and capabilities.

A deployment is one callable (provider, model, key, base URL): the unit that is chosen, priced and broken.
It carries ``key_ref``, the *name* of a secret, never a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from router_core.errors import ConfigError
from router_core.price import PerToken, Price, Rates, rates_of


class Capability(StrEnum):
    """What a request can need of a deployment.

    ``any_parameter``: fields that OpenAI's chat does not have reach the provider as they came.
    """

    TOOLS = "tools"
    PARALLEL_TOOLS = "parallel_tools"
    VISION = "vision"
    AUDIO_INPUT = "audio_input"
    AUDIO_OUTPUT = "audio_output"
    FILES = "files"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    STREAMING = "streaming"
    N = "n"
    LOGPROBS = "logprobs"
    REASONING = "reasoning"
    PREFILL = "prefill"
    ANY_PARAMETER = "any_parameter"


class Lane(StrEnum):
    """How a provider is spoken to: bytes relayed, litellm's config as translator, or litellm's own call."""

    AUTO = "auto"
    RELAY = "relay"
    TRANSLATE = "translate"
    ACOMPLETION = "acompletion"


class KeyState(StrEnum):
    """Whether a deployment's secret is there: ``absent`` deployments are listed as "no key" and never called."""

    PRESENT = "present"
    ABSENT = "absent"
    NOT_NEEDED = "not_needed"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider allows a deployment or itself; None means unlimited."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_in_flight: int | None = None

    @property
    def unlimited(self) -> bool:
        """Whether nothing is limited at all."""
        return self.requests_per_minute is None and self.tokens_per_minute is None and self.max_in_flight is None

    def __post_init__(self) -> None:
        """Refuse limits that would block everything."""
        for name in ("requests_per_minute", "tokens_per_minute", "max_in_flight"):
            value = getattr(self, name)
            if value is not None and value < 1:
                msg = f"{name} must be at least 1, not {value!r}"
                raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class TimeoutOverrides:
    """Seconds that replace the policy's time-outs for one provider or deployment; None keeps the policy's."""

    connect_s: float | None = None
    first_content_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse time-outs that are not positive."""
        for name in ("connect_s", "first_content_s", "idle_s", "total_s"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < float("inf"):
                msg = f"{name} must be a positive number of seconds, not {value!r}"
                raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class QualityPrior:
    """Expected answer quality in [0, 1] before evidence, worth ``weight`` observations."""

    mean: float = 0.5
    weight: float = 10.0

    def __post_init__(self) -> None:
        """Refuse a mean outside [0, 1] and a weight that is not positive."""
        if not 0.0 <= self.mean <= 1.0:
            msg = f"quality mean must be within [0, 1], not {self.mean!r}"
            raise ConfigError(msg)
        if not 0.0 < self.weight < float("inf"):
            msg = f"quality weight must be positive, not {self.weight!r}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class Provider:
    """A company or API that deployments are called at.

    ``wire`` is litellm's provider name; ``base_url`` any base of that wire (None: the vendor's own).
    ``key_ref`` names the secret (None: none needed). ``headers`` are sent with each call and may not carry secrets.
    """

    id: str
    wire: str
    base_url: str | None = None
    key_ref: str | None = None
    key_state: KeyState = KeyState.NOT_NEEDED
    lane: Lane = Lane.AUTO
    vendor: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeouts: TimeoutOverrides = TimeoutOverrides()
    limits: Limits = Limits()
    options: Mapping[str, str] = field(default_factory=dict)
    drop_params: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """One callable: ``id`` is ``provider/model`` or ``provider/model#name``.

    ``model`` is the weights' public name, ``upstream_model`` what the provider calls it (a path, an Azure deployment).
    ``quality`` maps a task's value, or ``default``, to its prior. ``fallbacks`` are tried first when this one fails.
    ``names`` are what only, exclude and allow lists may call it. ``rates`` and ``dearest`` are its price per token (see
    ``Rates``), ``long_rates`` that of longer prompts, the shortest first: for the decision's inner loop.
    ``latency_prior_s`` is the p95 of a whole answer assumed until observed (None: unknown, never refused for it).
    """

    id: str
    provider: str
    model: str
    context_window: int
    price: Price
    upstream_model: str = ""
    max_output_tokens: int | None = None
    capabilities: frozenset[Capability] = frozenset({Capability.STREAMING})
    quality: Mapping[str, QualityPrior] = field(default_factory=dict)
    latency_prior_s: float | None = None
    reasoning: bool = False
    key_ref: str | None = None
    base_url: str | None = None
    fallbacks: tuple[str, ...] = ()
    limits: Limits = Limits()
    timeouts: TimeoutOverrides = TimeoutOverrides()
    tags: frozenset[str] = frozenset()
    weight: float = 1.0
    enabled: bool = True
    callable: bool = True
    names: frozenset[str] = field(init=False, default=frozenset(), repr=False, compare=False)
    rates: PerToken = field(init=False, default=(0.0,) * 4, repr=False, compare=False)
    dearest: float = field(init=False, default=0.0, repr=False, compare=False)
    long_rates: tuple[Rates, ...] = field(init=False, default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a window below one token, a foreign id and an impossible weight."""
        if self.context_window < 1:
            msg = f"context_window of {self.id} must be at least 1 token, not {self.context_window!r}"
            raise ConfigError(msg)
        if not self.id.startswith(f"{self.provider}/"):
            msg = f"deployment id {self.id!r} must start with its provider, {self.provider!r}"
            raise ConfigError(msg)
        if not 0.0 <= self.weight < float("inf"):
            msg = f"weight of {self.id} must be a finite number >= 0, not {self.weight!r}"
            raise ConfigError(msg)
        if not self.upstream_model:
            object.__setattr__(self, "upstream_model", self.model)
        base_id = self.id.partition("#")[0]
        object.__setattr__(self, "names", frozenset({self.id, base_id, self.provider, self.model}))
        rates, *longer = rates_of(self.price)
        object.__setattr__(self, "rates", rates.per_token)
        object.__setattr__(self, "dearest", rates.dearest)
        object.__setattr__(self, "long_rates", tuple(longer))

    @property
    def live(self) -> bool:
        """Whether it may be called: it is enabled, and has its key."""
        return self.callable and self.enabled

    def prior(self, task: str) -> QualityPrior:
        """Return the quality prior of a task, else the default one, else (0.5, 10)."""
        found = self.quality.get(task) or self.quality.get("default")
        return found if found is not None else _NEUTRAL_PRIOR


_NEUTRAL_PRIOR: Final = QualityPrior()
