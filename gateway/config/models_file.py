"""The shape of ``models.yaml``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, model_validator

from gateway.config.shape import (
    DATE,
    Count,
    Name,
    NotNegative,
    Positive,
    ProviderName,
    Share,
    Strict,
    empty,
    opt,
    req,
)
from router_core.deployment import Capability, Lane
from router_core.manifest import Order
from router_core.request import StreamRecovery
from router_core.task import TaskType

_SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"}
)
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection"})
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def check_url(url: str) -> str:
    """Refuse a base that is not plain http or https; the message never repeats the value."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        msg = "must begin with http:// or https://"
    elif "@" in parts.netloc:
        msg = "must not carry a user name or password; use api_key"
    elif not parts.hostname:
        msg = "must name a host"
    elif parts.query or parts.fragment:
        msg = "must not carry a query or fragment; use options"
    elif any(character.isspace() for character in url):
        msg = "must not contain spaces"
    else:
        return url.rstrip("/")
    raise ValueError(msg)


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            msg = f"{name!r} is no header name"
            raise ValueError(msg)
        if name.lower() in _SECRET_HEADERS:
            msg = f"{name} carries a secret; use api_key"
            raise ValueError(msg)
        if name.lower() in _FRAMING:
            msg = f"{name} is the connection's to say"
            raise ValueError(msg)
        if not value.isascii() or not value.isprintable():
            msg = f"the value of {name} must be printable ASCII"
            raise ValueError(msg)
    return headers


def _as_mean(value: object) -> object:
    """Let a bare number stand for ``{mean: number}``."""
    return {"mean": value} if isinstance(value, int | float | str) and not isinstance(value, bool) else value


Url = Annotated[str, AfterValidator(check_url)]
Headers = Annotated[dict[str, str], AfterValidator(_check_headers)]


class TimeoutsEntry(Strict):
    """Time-outs that replace those of policy.yaml."""

    connect_s: Positive | None = opt(None, "s", "time to connect")
    first_content_s: Positive | None = opt(None, "s", "time to the first content")
    idle_s: Positive | None = opt(None, "s", "silence within a stream")
    total_s: Positive | None = opt(None, "s", "the whole call")


class LimitsEntry(Strict):
    """What the provider allows; left out: unlimited."""

    requests_per_minute: Count | None = opt(None, "requests/min", "calls a minute")
    tokens_per_minute: Count | None = opt(None, "tokens/min", "input and output tokens a minute")
    max_in_flight: Count | None = opt(None, "requests", "calls open at once")


class LongPriceEntry(Strict):
    """Prices of a call whose prompt is long: for every token of it, its answer's too."""

    above: Count = req("tokens", "prompts of more tokens than these, cached ones included, have these prices")
    input: NotNegative = req("USD/Mtok", "input tokens")
    output: NotNegative = req("USD/Mtok", "output tokens")
    cached_input: NotNegative | None = opt(None, "USD/Mtok", "input read from the provider's cache; else as input")
    cache_write: NotNegative | None = opt(None, "USD/Mtok", "input written to the provider's cache; else as input")
    reasoning: NotNegative | None = opt(None, "USD/Mtok", "reasoning tokens; else as output")


class PriceEntry(Strict):
    """Prices per million tokens."""

    input: NotNegative | None = opt(None, "USD/Mtok", "input tokens; needed unless litellm's data knows the model")
    output: NotNegative | None = opt(None, "USD/Mtok", "output tokens; needed unless litellm's data knows the model")
    cached_input: NotNegative | None = opt(None, "USD/Mtok", "input read from the provider's cache; else as input")
    cache_write: NotNegative | None = opt(None, "USD/Mtok", "input written to the provider's cache; else as input")
    reasoning: NotNegative | None = opt(None, "USD/Mtok", "reasoning tokens; else as output")
    long: list[LongPriceEntry] = empty(list, "prices of longer prompts, the shortest first")


class QualityEntry(Strict):
    """Expected answer quality before evidence; a bare number is its mean."""

    mean: Share = req("", "expected quality of an answer, 0-1")
    weight: Positive = opt(10.0, "observations", "how many observations the mean is worth")


Quality = Annotated[QualityEntry, BeforeValidator(_as_mean, json_schema_input_type=QualityEntry | Share)]


class ProviderEntry(Strict):
    """A company or API that deployments are called at."""

    wire: str = req("", "litellm's provider name: openai, anthropic, gemini, mistral, …", min_length=1)
    base_url: Url | None = opt(None, "", "base of the API; left out: the vendor's own")
    api_key: str | None = opt(None, "", 'the key, written as "${VAR}" or "${file:PATH}"; left out: none is needed')
    timeouts: TimeoutsEntry = empty(TimeoutsEntry, "time-outs that replace those of policy.yaml")
    limits: LimitsEntry = empty(LimitsEntry, "what the provider allows all its deployments together")
    headers: Headers = empty(dict, "headers sent with each call; never a secret")
    lane: Lane = opt(Lane.AUTO, "", "relay bytes untouched, translate, or let litellm call; auto decides by wire")
    vendor: str = opt("", "", "the company, shown in lists and used for diversity; left out: the provider's name")
    options: dict[str, str] = empty(dict, "what a wire needs besides, such as api_version, region or project")
    drop_params: bool = opt(default=False, unit="", meaning="leave out parameters this provider does not take")


class DeploymentEntry(Strict):
    """One callable: provider, model, key and base URL together."""

    id: Name = req("", "provider/model or provider/model#name")
    provider: ProviderName = req("", "one of providers")
    model: Name = req("", "the model's public name, which clients ask for")
    upstream_model: str = opt("", "", "what the provider calls the model; left out: model")
    context_window: Count | None = opt(None, "tokens", "input and output together; needed unless litellm's data knows")
    max_output_tokens: Count | None = opt(None, "tokens", "longest answer; left out: only the window bounds it")
    price_usd_per_mtok: PriceEntry = empty(PriceEntry, "prices per million tokens")
    price_usd_per_request: NotNegative = opt(0.0, "USD", "price of a request besides its tokens")
    price_source: str = opt("", "", "where the prices were read")
    price_checked: str = opt("", "", "the day they were read", pattern=DATE)
    estimated: list[str] = empty(list, "names of keys that are the operator's estimates: for people")
    capabilities: list[Capability] = empty(list, "what the model can do; what its wire brings is added")
    lacks: list[Capability] = empty(list, "what its wire would bring and this deployment has not")
    quality: dict[str, Quality] = empty(dict, "expected quality per task, and default for the other tasks")
    latency_prior_s: Positive | None = opt(None, "s", "p95 of a whole answer, assumed until observed")
    reasoning: bool = opt(default=False, unit="", meaning="thinks before it answers: longer time-outs apply")
    fallbacks: list[str] = empty(list, "deployments tried first when this one fails")
    tags: list[Name] = empty(list, "words for statistics and lists")
    limits: LimitsEntry = empty(LimitsEntry, "what the provider allows this deployment")
    timeouts: TimeoutsEntry = empty(TimeoutsEntry, "time-outs that replace the provider's")
    weight: NotNegative = opt(1.0, "", "share of traffic on routes with order: weighted")
    enabled: bool = opt(default=True, unit="", meaning="false takes it out of every choice")
    api_key: str | None = opt(None, "", "its own key instead of the provider's")
    base_url: Url | None = opt(None, "", "its own base instead of the provider's")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.id.startswith(f"{self.provider}/"):
            msg = f"the id {self.id!r} must begin with its provider and a slash: {self.provider}/"
            raise ValueError(msg)
        if both := sorted(set(self.capabilities) & set(self.lacks)):
            msg = f"{both[0].value} stands in capabilities and in lacks"
            raise ValueError(msg)
        allowed = {"default", *TaskType}
        if wrong := [task for task in self.quality if task not in allowed]:
            msg = f"quality: {wrong[0]!r} is no task; allowed: {', '.join(sorted(allowed))}"
            raise ValueError(msg)
        if self.max_output_tokens and self.context_window and self.max_output_tokens > self.context_window:
            msg = "max_output_tokens must not exceed context_window"
            raise ValueError(msg)
        return self


class RouteEntry(Strict):
    """A name clients may ask for, and the deployments behind it."""

    deployments: list[str] = req("", "deployments, or provider/model for all its #names", min_length=1)
    order: Order = opt(Order.SCORED, "", "scored: best first; listed: as written; weighted: drawn by weight")
    policy: str | None = opt(None, "", "policy for its requests, one of policy.yaml's policies")
    stream_recovery: StreamRecovery | None = opt(None, "", "what becomes of its streams that fail after content")
    weights: dict[str, NotNegative] = empty(dict, "weights that replace the deployments' own for order: weighted")


class PreferenceEntry(Strict):
    """Deployments that suit a task."""

    preferred: list[str] = empty(list, "best first: 5 points for the first, falling to 2.5 for the last")
    budget: list[str] = empty(list, "good enough when money matters: 1.5 points")


class ModelsFile(Strict):
    """Everything that can be called, and what the operator knows of it."""

    providers: dict[ProviderName, ProviderEntry] = empty(dict, "companies or APIs by name")
    deployments: list[DeploymentEntry] = empty(list, "what can be called")
    routes: dict[Name, RouteEntry] = empty(dict, "names for lists of deployments")
    task_preferences: dict[TaskType, PreferenceEntry] = empty(dict, "deployments that suit a task, by task")
    judges: list[str] = empty(list, "deployments asked for verdicts on answers, first one first")

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, data: Any) -> Any:
        """Let an empty section (nothing after its colon) be one without entries."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


__all__ = ["DeploymentEntry", "ModelsFile", "PreferenceEntry", "ProviderEntry", "RouteEntry", "check_url"]
