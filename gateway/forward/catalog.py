"""litellm's bundled model facts as plain data, read without importing litellm (tens of milliseconds, no network).

For the script that writes models.yaml and for ``check``; serving never needs it.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from router_core.deployment import Capability

_FILE: Final = "model_prices_and_context_window_backup.json"
_MILLION: Final = 1e6

# The data's own provider names that belong to a wire, beside the wire's name itself and "<wire>-…".
_FAMILIES: Final[Mapping[str, frozenset[str]]] = {
    "bedrock": frozenset({"bedrock", "bedrock_converse"}),
    "cohere_chat": frozenset({"cohere_chat", "cohere"}),
    "cohere": frozenset({"cohere_chat", "cohere"}),
    "ollama_chat": frozenset({"ollama"}),
    "custom_openai": frozenset({"openai"}),
    "openai_like": frozenset({"openai"}),
}

_FLAGS: Final[tuple[tuple[str, Capability], ...]] = (
    ("supports_function_calling", Capability.TOOLS),
    ("supports_parallel_function_calling", Capability.PARALLEL_TOOLS),
    ("supports_vision", Capability.VISION),
    ("supports_audio_input", Capability.AUDIO_INPUT),
    ("supports_audio_output", Capability.AUDIO_OUTPUT),
    ("supports_pdf_input", Capability.FILES),
    ("supports_response_schema", Capability.JSON_SCHEMA),
    ("supports_reasoning", Capability.REASONING),
    ("supports_assistant_prefill", Capability.PREFILL),
)


_KINDS: Final = (
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
)
_LONG: Final = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


class LongContext(NamedTuple):
    """A prompt size in tokens, and the prices in USD per million tokens that hold above it; None: as they were."""

    above: int
    input_usd: float | None
    output_usd: float | None
    cached_input_usd: float | None
    cache_write_usd: float | None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What litellm's data says of one model. Prices are USD per million tokens, sizes are tokens; None: not said.

    ``key`` is its name in the data, ``provider`` the data's own provider name, ``source`` the page its numbers were
    read from.
    """

    key: str
    provider: str
    mode: str
    max_input_tokens: int | None
    max_output_tokens: int | None
    input_usd: float | None
    output_usd: float | None
    cached_input_usd: float | None
    cache_write_usd: float | None
    reasoning_usd: float | None
    long_context: tuple[LongContext, ...]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    capabilities: frozenset[Capability]
    source: str
    deprecated_on: str | None


def facts(model: str, wire: str) -> ModelFacts | None:
    """Return what is known of a model on a wire (litellm's provider name), or None.

    Looks for ``wire/model`` first, then for the bare name where the data lists it under that wire's family.
    """
    data = _data()
    for key in (f"{wire}/{model}", model, *(f"{name}/{model}" for name in sorted(_family(wire)))):
        row = data.get(key)
        if row is not None and _belongs(str(row.get("litellm_provider", "")), wire):
            return _facts(key, row)
    return None


def provider_names() -> frozenset[str]:
    """Return the data's own names of all providers."""
    return frozenset(str(row["litellm_provider"]) for row in _data().values() if "litellm_provider" in row)


def models(wire: str, *, mode: str = "chat") -> Iterator[ModelFacts]:
    """Yield the facts of every model of a wire, in the data's order."""
    for key, row in _data().items():
        if row.get("mode") == mode and _belongs(str(row.get("litellm_provider", "")), wire):
            yield _facts(key, row)


def available() -> bool:
    """Say whether the bundled data can be read here."""
    return bool(_data())


@lru_cache(maxsize=1)
def _data() -> Mapping[str, Mapping[str, Any]]:
    spec = importlib.util.find_spec("litellm")  # finds the folder; does not import
    if spec is None or spec.origin is None:
        return {}
    path = Path(spec.origin).with_name(_FILE)
    if not path.is_file():
        return {}
    rows: dict[str, Any] = orjson.loads(path.read_bytes())
    rows.pop("sample_spec", None)
    return {key: row for key, row in rows.items() if isinstance(row, dict)}


def _family(wire: str) -> frozenset[str]:
    return _FAMILIES.get(wire, frozenset({wire}))


def _belongs(provider: str, wire: str) -> bool:
    return provider in _family(wire) or provider.startswith(f"{wire}-")


def _facts(key: str, row: Mapping[str, Any]) -> ModelFacts:
    steps = row.get("tiered_pricing")
    base = steps[0] if isinstance(steps, list) and steps and "input_cost_per_token" not in row else row
    input_usd, output_usd, cached_input_usd, cache_write_usd = _prices(base, "")
    return ModelFacts(
        key=key,
        provider=str(row.get("litellm_provider", "")),
        mode=str(row.get("mode", "")),
        max_input_tokens=_count(row.get("max_input_tokens")) or _count(row.get("max_tokens")),
        max_output_tokens=_count(row.get("max_output_tokens")),
        input_usd=input_usd,
        output_usd=output_usd,
        cached_input_usd=cached_input_usd,
        cache_write_usd=cache_write_usd,
        reasoning_usd=_price(row.get("output_cost_per_reasoning_token")),
        long_context=_long_context(row),
        requests_per_minute=_count(row.get("rpm")),
        tokens_per_minute=_count(row.get("tpm")),
        capabilities=_capabilities(row),
        source=str(row.get("source") or ""),
        deprecated_on=row.get("deprecation_date"),
    )


def _capabilities(row: Mapping[str, Any]) -> frozenset[Capability]:
    found = {capability for flag, capability in _FLAGS if row.get(flag) is True}
    if row.get("supports_native_streaming") is not False:
        found.add(Capability.STREAMING)
    return frozenset(found)


def _long_context(row: Mapping[str, Any]) -> tuple[LongContext, ...]:
    steps = row.get("tiered_pricing")
    if isinstance(steps, list):
        return tuple([LongContext(int(each["range"][0]), *_prices(each, "")) for each in steps[1:] if "range" in each])
    sizes = {int(found[1]) for found in map(_LONG.fullmatch, row) if found is not None}
    return tuple([LongContext(size * 1000, *_prices(row, f"_above_{size}k_tokens")) for size in sorted(sizes)])


def _prices(row: Mapping[str, Any], suffix: str) -> tuple[float | None, ...]:
    """Return the prices of input, output, cached input and cache writes."""
    return tuple([_price(row.get(name + suffix)) for name in _KINDS])


def _price(per_token: object) -> float | None:
    # Ten significant digits: 1.25e-06 * 1e6 must read 1.25, not 1.2499999999999998.
    return float(f"{per_token * _MILLION:.10g}") if isinstance(per_token, int | float) else None


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and value >= 1 else None
