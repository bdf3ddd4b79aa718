"""The demo fleet as an operator would write it: the mapping that stands in for ``models.yaml`` when no key is set.

Prices, speeds and quality priors are made up. They are set so that the strengths differ by task: different prompts
go to different models, for reasons that a decision record shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.demo.fleet import DemoProvider

_PRICE_SOURCE: Final = "made up for the demo"
_PRIOR_WEIGHT: Final = 20
_SEES_PREFILL: Final = ("vision", "prefill")
_TAKES_ALL: Final = ("vision", "files", "audio_input")
_VENDORS: Final = {"demo-openai": "Harbor", "demo-anthropic": "Meadow", "demo-gemini": "Summit"}

# One row a model: provider, model, window, most output (tokens), price (input, cached input, output; USD per million
# tokens), p95 of a whole answer (s), reasons, capabilities beyond tools and JSON schema, fallbacks.
_MODELS: Final = (
    ("demo-openai", "harbor-large", 128_000, 16_384, (2.5, 1.25, 10.0), 2.5, False, ("vision",), "meadow-deep"),
    ("demo-openai", "harbor-mini", 128_000, 16_384, (0.15, 0.075, 0.6), 0.6, False, ("vision",), "summit-flash"),
    (
        "demo-anthropic",
        "meadow-deep",
        200_000,
        32_000,
        (5.0, 0.5, 25.0),
        4.0,
        True,
        ("vision", "prefill"),
        "harbor-large",
    ),
    ("demo-anthropic", "meadow-swift", 200_000, 16_000, (0.8, 0.08, 4.0), 1.2, False, ("prefill",), "summit-flash"),
    ("demo-gemini", "summit-pro", 1_000_000, 65_536, (1.25, 0.31, 10.0), 3.0, True, _TAKES_ALL, "meadow-deep"),
    (
        "demo-gemini",
        "summit-flash",
        1_000_000,
        65_536,
        (0.1, 0.025, 0.4),
        0.5,
        False,
        _TAKES_ALL,
        "harbor-mini",
    ),
)

# Expected quality in [0, 1]: the rest, then what differs.
_QUALITY: Final[dict[str, dict[str, float]]] = {
    "harbor-large": {"default": 0.80, "code_generation": 0.94, "refactoring": 0.93, "testing": 0.92, "tool_use": 0.90},
    "harbor-mini": {"default": 0.60, "general": 0.70, "tool_use": 0.66, "documentation": 0.66},
    "meadow-deep": {
        "default": 0.84,
        "reasoning": 0.96,
        "analysis": 0.93,
        "code_review": 0.95,
        "security_audit": 0.96,
        "code_generation": 0.90,
    },
    "meadow-swift": {"default": 0.74, "documentation": 0.91, "planning": 0.90, "testing": 0.82, "general": 0.78},
    "summit-pro": {"default": 0.81, "multimodal": 0.94, "long_context": 0.95, "analysis": 0.88, "planning": 0.86},
    "summit-flash": {"default": 0.70, "general": 0.80, "tool_use": 0.84, "multimodal": 0.80, "long_context": 0.84},
}

# Per task: the preferred models, best first, and the one that does when money matters.
_PREFERENCES: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "reasoning": (("meadow-deep", "summit-pro"), ("summit-flash",)),
    "code_generation": (("harbor-large", "meadow-deep"), ("harbor-mini",)),
    "code_review": (("meadow-deep", "harbor-large"), ("meadow-swift",)),
    "planning": (("meadow-swift", "summit-pro"), ("summit-flash",)),
    "analysis": (("meadow-deep", "summit-pro"), ("summit-flash",)),
    "documentation": (("meadow-swift", "harbor-large"), ("harbor-mini",)),
    "testing": (("harbor-large", "meadow-swift"), ("harbor-mini",)),
    "refactoring": (("harbor-large", "meadow-deep"), ("meadow-swift",)),
    "security_audit": (("meadow-deep",), ("meadow-swift",)),
    "tool_use": (("harbor-large", "summit-flash"), ("summit-flash",)),
    "multimodal": (("summit-pro", "harbor-large"), ("summit-flash",)),
    "long_context": (("summit-pro",), ("summit-flash",)),
}


def demo_config(fleet: Iterable[DemoProvider] | Mapping[str, str]) -> dict[str, Any]:
    """Return the registry's mapping for a running fleet, or for base URLs by provider name.

    Raises ``KeyError`` when one of the three providers is missing.
    """
    bases = dict(fleet) if isinstance(fleet, Mapping) else {each.name: each.base_url for each in fleet}
    ids = {model: f"{provider}/{model}" for provider, model, *_ in _MODELS}
    return {
        "providers": {
            name: {"wire": name.removeprefix("demo-"), "base_url": bases[name], "vendor": vendor}
            for name, vendor in _VENDORS.items()
        },
        "deployments": [_deployment(row, ids) for row in _MODELS],
        "task_preferences": {
            task: {"preferred": [ids[model] for model in preferred], "budget": [ids[model] for model in budget]}
            for task, (preferred, budget) in _PREFERENCES.items()
        },
        "judges": [ids["meadow-deep"], ids["summit-pro"]],
    }


def _deployment(row: tuple[Any, ...], ids: Mapping[str, str]) -> dict[str, Any]:
    provider, model, window, most_output, (price_in, price_cached, price_out), p95_s, reasons, extra, fallback = row
    return {
        "id": ids[model],
        "provider": provider,
        "model": model,
        "context_window": window,
        "max_output_tokens": most_output,
        "price_usd_per_mtok": {"input": price_in, "cached_input": price_cached, "output": price_out},
        "price_source": _PRICE_SOURCE,
        "capabilities": ["tools", "json_schema", *extra],
        "reasoning": reasons,
        "latency_prior_s": p95_s,
        "quality": {task: {"mean": mean, "weight": _PRIOR_WEIGHT} for task, mean in _QUALITY[model].items()},
        "fallbacks": [ids[fallback]],
        "tags": ["demo"],
    }
