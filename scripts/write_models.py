"""Writes config/models.yaml from litellm's bundled model data and the operator's own file, scripts/models_source.yaml.

Sizes, prices and capabilities are litellm's; quality, latency and limits are the operator's estimates, and marked so.
Run ``python -m scripts.write_models``; ``--check`` only compares, and fails when the file is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.config.filling import long_prices
from gateway.forward.catalog import ModelFacts, facts
from router_core.deployment import Capability

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "scripts" / "models_source.yaml"
TARGET: Final = ROOT / "config" / "models.yaml"
HEADER: Final = """\
# yaml-language-server: $schema=models.schema.json
# What can be called. Every key is explained in docs/configuration.md.
#
# Written by `python -m scripts.write_models` from litellm's bundled model data ({checked}) and
# scripts/models_source.yaml. Keys listed in `estimated`, and the providers' limits, are an operator's estimates:
# quality is the expected quality of an answer (0-1) per task, worth {weight} observations and moved by evidence.
"""


def main(arguments: list[str] | None = None) -> int:
    """Write or check; 1 when ``--check`` finds the file stale."""
    parser = argparse.ArgumentParser(prog="python -m scripts.write_models", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when the file is stale")
    check = parser.parse_args(arguments).check
    source = yaml.load(SOURCE.read_text(encoding="utf-8"), yaml.CSafeLoader)
    content = "\n".join(compose(source)) + "\n"
    if not check:
        TARGET.write_text(content, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != content:
        sys.stderr.write("config/models.yaml is stale; run python -m scripts.write_models\n")
        return 1
    return 0


def compose(source: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the file."""
    yield HEADER.format(checked=source["checked"], weight=source["quality_weight"])
    yield "providers:"
    for name, provider in source["providers"].items():
        yield f"  {name}: {_flow(provider)}"
    yield "\ndeployments:"
    for row in source["deployments"]:
        yield from _deployment(row, source)
    for section in ("routes", "task_preferences"):
        yield f"\n{section}:"
        for name, entry in source[section].items():
            yield f"  {name}:"
            yield from (f"    {key}: {_flow(value)}" for key, value in entry.items())
    yield f"\njudges: {_flow(source['judges'])}"


def _deployment(row: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[str]:
    provider, _, model = row["id"].partition("/")
    upstream = row.get("upstream_model", model)
    known = facts(upstream, source["providers"][provider]["wire"])
    if known is None or known.max_input_tokens is None:
        message = f"{row['id']}: litellm's data has no model {upstream!r} on this wire"
        raise SystemExit(message)
    yield f"  - id: {row['id']}"
    yield f"    provider: {provider}"
    yield f"    model: {model}"
    if upstream != model:
        yield f"    upstream_model: {upstream}"
    yield from _sizes(known, known.max_input_tokens)
    yield f"    price_usd_per_mtok: {_flow(_prices(known))}"
    yield f"    price_source: {known.source or 'litellm 1.106.2, model_prices_and_context_window'}"
    yield f"    price_checked: {source['checked']}"
    yield f"    capabilities: {_flow(_capabilities(known))}"
    if row.get("lacks"):
        yield f"    lacks: {_flow(row['lacks'])}"
    if row.get("thinks"):
        yield "    reasoning: true"
    yield from _quality(row["quality"], source)
    yield f"    latency_prior_s: {row['p95_s']}"
    yield f"    fallbacks: {_flow(row['fallbacks'])}"
    yield f"    tags: {_flow(row['tags'])}"
    yield "    estimated: [quality, latency_prior_s, reasoning]"


def _sizes(known: ModelFacts, window: int) -> Iterator[str]:
    yield f"    context_window: {window}"
    if known.max_output_tokens is not None:
        yield f"    max_output_tokens: {min(known.max_output_tokens, window)}"


def _prices(known: ModelFacts) -> dict[str, object]:
    """Return what is known; a cache write "for nothing" means that the provider does not bill it apart from input."""
    prices: dict[str, object] = {
        "input": known.input_usd,
        "output": known.output_usd,
        "cached_input": known.cached_input_usd,
        "cache_write": known.cache_write_usd or None,
        "reasoning": None if known.reasoning_usd == known.output_usd else known.reasoning_usd,
        "long": long_prices(known) or None,
    }
    return {name: value for name, value in prices.items() if value is not None}


def _capabilities(known: ModelFacts) -> list[str]:
    """Return what the model can do; what its wire brings is added when the file is loaded."""
    by_wire = {Capability.STREAMING, Capability.PARALLEL_TOOLS}
    return [each.value for each in Capability if each in known.capabilities - by_wire]


def _quality(percents: list[int], source: Mapping[str, Any]) -> Iterator[str]:
    named = dict(zip(source["tasks"], percents, strict=True))
    yield "    quality:"
    for task, percent in {"default": named.pop("general"), **named}.items():
        yield f"      {task}: {{mean: {percent / 100:.2f}, weight: {source['quality_weight']}}}"


def _flow(value: object) -> str:
    """Write a value in YAML's one-line style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, str):
        return f'"{value}"' if "$" in value else value
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
