"""What a deployment leaves out, taken from what is known of its model; what nobody knows is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway.config.opened import Opened, entries, rows
from router_core.deployment import Capability
from router_core.mapping import Path


class Facts(Protocol):
    """What may be known of a model beforehand: sizes in tokens, prices in USD per million tokens."""

    @property
    def max_input_tokens(self) -> int | None:
        """Longest prompt in tokens."""
        ...

    @property
    def max_output_tokens(self) -> int | None:
        """Longest answer in tokens."""
        ...

    @property
    def input_usd(self) -> float | None:
        """Price of input tokens."""
        ...

    @property
    def output_usd(self) -> float | None:
        """Price of output tokens."""
        ...

    @property
    def cached_input_usd(self) -> float | None:
        """Price of input read from a cache."""
        ...

    @property
    def cache_write_usd(self) -> float | None:
        """Price of input written to a cache."""
        ...

    @property
    def reasoning_usd(self) -> float | None:
        """Price of reasoning tokens."""
        ...

    @property
    def long_context(self) -> Sequence[tuple[int, float | None, float | None, float | None, float | None]]:
        """Prompt sizes in tokens, and the prices above them: of input, output, cached input and cache writes."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the model can do."""
        ...

    @property
    def source(self) -> str:
        """Where this was read."""
        ...


FactsOf = Callable[[str, str], Facts | None]
"""(model, wire) -> what is known of it."""


def fill(models: Opened, facts: FactsOf | None) -> dict[str, tuple[str, ...]]:
    """Fill what deployments leave out, and note what stays missing; facts are asked for only when something is."""
    filled: dict[str, tuple[str, ...]] = {}
    providers = entries(models.data.get("providers"))
    for index, row in rows(models):
        price = entries(row.get("price_usd_per_mtok"))
        needed = [name for name in ("input", "output") if price.get(name) is None]
        if row.get("context_window") is not None and not needed:
            continue
        wire = str(entries(providers.get(str(row.get("provider")))).get("wire", ""))
        model = str(row.get("upstream_model") or row.get("model") or "")
        known = facts(model, wire) if facts is not None and model and wire else None
        before = set(row)
        if known is not None:
            row.update({key: value for key, value in _known(known).items() if row.get(key) is None})
        filled[str(row.get("id"))] = tuple(sorted(set(row) - before))
        path: Path = ("deployments", index)
        reason = f"is missing, and nothing is known of model {model!r} on wire {wire!r}; write it"
        if row.get("context_window") is None:
            models.document.complain((*path, "context_window"), reason)
        now = entries(row.get("price_usd_per_mtok"))
        for name in ("input", "output"):
            if now.get(name) is None:
                models.document.complain((*path, "price_usd_per_mtok", name), reason)
    return filled


def long_prices(facts: Facts) -> list[dict[str, Any]]:
    """Write the prices of longer prompts the way models.yaml does.

    Input or output without a price of its own stays as it was; the cache's prices then rise as much as the input's.
    """
    rows: list[dict[str, Any]] = []
    for above, own_input, own_output, cached, write in facts.long_context:
        price = facts.input_usd if own_input is None else own_input
        answer = facts.output_usd if own_output is None else own_output
        if price is None or answer is None:
            continue
        rise = price / facts.input_usd if facts.input_usd else 1.0
        row = {
            "above": above,
            "input": price,
            "output": answer,
            "cached_input": _risen(cached, facts.cached_input_usd, rise),
            "cache_write": _risen(write, facts.cache_write_usd, rise) or None,
        }
        rows.append({name: value for name, value in row.items() if value is not None})
    return rows


def _risen(own: float | None, before: float | None, rise: float) -> float | None:
    return own if own is not None or before is None else before * rise


def _known(facts: Facts) -> dict[str, Any]:
    """Write facts the way models.yaml does; unknown ones are left out."""
    prices: dict[str, Any] = {
        "input": facts.input_usd,
        "output": facts.output_usd,
        "cached_input": facts.cached_input_usd,
        "cache_write": facts.cache_write_usd,
        "reasoning": facts.reasoning_usd,
        "long": long_prices(facts) or None,
    }
    output = facts.max_output_tokens
    fits = output is not None and facts.max_input_tokens is not None and output <= facts.max_input_tokens
    found: dict[str, Any] = {
        "context_window": facts.max_input_tokens,
        "max_output_tokens": output if fits else None,
        "price_usd_per_mtok": {name: value for name, value in prices.items() if value is not None} or None,
        "capabilities": sorted(facts.capabilities - {Capability.STREAMING}) or None,
        "reasoning": True if Capability.REASONING in facts.capabilities else None,
        "price_source": facts.source or None,
    }
    return {key: value for key, value in found.items() if value is not None}
