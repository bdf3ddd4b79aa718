"""Usage and cost as providers report them in OpenAI's shape -> our five disjoint kinds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from router_core.outcome import Usage

_MOST: Final = 1 << 40
"""Counts above this are garbage, not tokens."""
_PLAIN: Final = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
"""All that many hosts send: nothing of caches and reasoning."""
_DEAREST_USD: Final = 10_000.0
"""What no single call costs."""


def usage_of(usage: object) -> Usage | None:
    """Return the five kinds of a ``usage`` object, or None when there is none or it says nothing that can be.

    ``prompt_tokens`` includes what was read from and written to a cache, ``completion_tokens`` includes reasoning
    (OpenAI's meaning; https://platform.openai.com/docs/api-reference/chat/object). Parts larger than their whole are
    clipped to it.
    """
    if not isinstance(usage, dict):
        return None
    prompt = _count(usage.get("prompt_tokens"))
    completion = _count(usage.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    garbled = prompt is None and usage.get("prompt_tokens") is not None
    if garbled or (completion is None and usage.get("completion_tokens") is not None):
        return None  # half of it is garbage: an estimate is nearer to the truth than the other half alone
    prompt, completion = prompt or 0, completion or 0
    if _PLAIN.issuperset(usage):
        return Usage(input=prompt, output=completion)
    read = _mapping(usage.get("prompt_tokens_details"))
    written = _mapping(usage.get("completion_tokens_details"))
    cached = _first(
        read.get("cached_tokens"),
        usage.get("cache_read_input_tokens"),
        usage.get("prompt_cache_hit_tokens"),  # DeepSeek
        usage.get("cached_tokens"),  # Moonshot
    )
    cache_write = _first(
        read.get("cache_creation_tokens"),
        read.get("cache_write_tokens"),  # OpenRouter
        usage.get("cache_creation_input_tokens"),
    )
    reasoning = _first(written.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    if not (cached or cache_write or reasoning):
        return Usage(input=prompt, output=completion)
    cached = min(cached, prompt)
    cache_write = min(cache_write, prompt - cached)
    reasoning = min(reasoning, completion)
    return Usage(
        input=prompt - cached - cache_write,
        cached_input=cached,
        cache_write=cache_write,
        output=completion - reasoning,
        reasoning=reasoning,
    )


def cost_of(usage: object) -> float | None:
    """Return what the provider itself says the call cost, in USD (``usage.cost``, as OpenRouter sends), or None."""
    if not isinstance(usage, dict):
        return None
    cost = usage.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost <= _DEAREST_USD:
        return None
    return float(cost)


def _first(*values: object) -> int:
    """Return the first positive count; a zero beside a real number elsewhere is a filler."""
    for value in values:
        if value is not None and (count := _count(value)):
            return count
    return 0


def _count(value: object) -> int | None:
    """Return a number of tokens, None for what is none; ``bool`` is neither of the two types."""
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return int(value) if 0 <= value <= _MOST else None
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
