"""Usage in every vendor's shape -> five disjoint kinds. The payloads are the vendors' documented examples."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.forward import wire_anthropic, wire_gemini
from gateway.forward.usage import cost_of, usage_of
from router_core.outcome import Usage

OPENAI: list[tuple[dict[str, Any], Usage]] = [
    ({"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}, Usage(input=10, output=4)),
    (
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 192, "accepted_prediction_tokens": 0},
        },
        Usage(input=86, cached_input=1920, output=108, reasoning=192),
    ),
    (
        {"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36},
        Usage(input=36, cached_input=64, output=5),
    ),
    (
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 20},
        },
        Usage(input=70, cached_input=10, cache_write=20, output=5),
    ),
    ({"prompt_tokens": 5, "completion_tokens": None}, Usage(input=5)),
    (
        {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": None, "completion_tokens_details": None},
        Usage(input=5, output=3),
    ),
    (
        {"prompt_tokens": 5, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 9}},
        Usage(input=5, reasoning=3),
    ),
    (
        {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 50}},
        Usage(cached_input=5, output=3),
    ),
    ({"prompt_tokens": 5.0, "completion_tokens": 3, "prompt_tokens_details": "x"}, Usage(input=5, output=3)),
]


@pytest.mark.parametrize(("usage", "kinds"), OPENAI)
def test_openais_shape(usage: dict[str, Any], kinds: Usage) -> None:
    assert usage_of(usage) == kinds


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "x",
        7,
        {"prompt_tokens": "many"},
        {"prompt_tokens": -5},
        {"prompt_tokens": float("nan")},
        {"prompt_tokens": True},
        {"prompt_tokens": -5, "completion_tokens": 7},
        {"prompt_tokens": 5, "completion_tokens": -7},
        {"prompt_tokens": 1e300, "completion_tokens": 7},
        {"prompt_tokens": 5, "completion_tokens": "7"},
    ],
)
def test_what_says_nothing_is_no_usage(usage: object) -> None:
    assert usage_of(usage) is None


ANTHROPIC: list[tuple[dict[str, Any], Usage]] = [
    ({"input_tokens": 25, "output_tokens": 15}, Usage(input=25, output=15)),
    (
        {"input_tokens": 21, "cache_creation_input_tokens": 188086, "cache_read_input_tokens": 0, "output_tokens": 393},
        Usage(input=21, cache_write=188086, output=393),
    ),
    (
        {
            "input_tokens": 21,
            "cache_creation_input_tokens": None,
            "cache_read_input_tokens": 188086,
            "output_tokens": 393,
        },
        Usage(input=21, cached_input=188086, output=393),
    ),
    (
        {"input_tokens": 5, "output_tokens": 400, "output_tokens_details": {"thinking_tokens": 300}},
        Usage(input=5, output=100, reasoning=300),
    ),
    (
        {
            "input_tokens": 1,
            "output_tokens": 1,
            "iterations": [{"input_tokens": 10, "output_tokens": 3}, {"input_tokens": 20, "output_tokens": 4}],
        },
        Usage(input=30, output=7),
    ),
]


@pytest.mark.parametrize(("raw", "kinds"), ANTHROPIC)
def test_anthropics_usage(raw: dict[str, Any], kinds: Usage) -> None:
    assert usage_of(wire_anthropic.usage(raw)) == kinds


GEMINI: list[tuple[dict[str, Any], Usage]] = [
    ({"promptTokenCount": 10, "candidatesTokenCount": 4, "totalTokenCount": 14}, Usage(input=10, output=4)),
    (
        {"promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 30, "totalTokenCount": 44},
        Usage(input=10, output=4, reasoning=30),
    ),
    (
        {"promptTokenCount": 10, "candidatesTokenCount": 34, "thoughtsTokenCount": 30, "totalTokenCount": 44},
        Usage(input=10, output=4, reasoning=30),
    ),
    (
        {"promptTokenCount": 100, "cachedContentTokenCount": 90, "candidatesTokenCount": 4, "totalTokenCount": 104},
        Usage(input=10, cached_input=90, output=4),
    ),
    (
        {"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 4, "totalTokenCount": 19},
        Usage(input=15, output=4),
    ),
    ({"promptTokenCount": 10, "thoughtsTokenCount": 30, "totalTokenCount": 40}, Usage(input=10, reasoning=30)),
]


@pytest.mark.parametrize(("raw", "kinds"), GEMINI)
def test_geminis_usage(raw: dict[str, Any], kinds: Usage) -> None:
    assert usage_of(wire_gemini.usage(raw)) == kinds


def test_a_providers_own_cost_is_taken_when_it_is_a_number() -> None:
    assert cost_of({"cost": 0.00125}) == 0.00125
    assert cost_of({"cost": 0}) == 0.0
    for bad in (None, "0.1", -1, True, float("inf"), 1e300, 10_001):
        assert cost_of({"cost": bad}) is None
    assert cost_of(None) is None
