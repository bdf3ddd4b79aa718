"""Hints in the spelling of neighbouring gateways."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.http.errors import ApiError
from gateway.http.neighbours import read_neighbours


def read(**own: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    read_neighbours(own, values)
    return values


@pytest.mark.parametrize(
    ("own", "values"),
    [
        ({"models": ["a", "b"]}, {"fallbacks": ["a", "b"]}),
        ({"fallbacks": ["a"]}, {"fallbacks": ["a"]}),
        (
            {"provider": {"order": ["a"], "only": ["b"], "ignore": ["c"]}},
            {"order": ["a"], "only": ["b"], "exclude": ["c"]},
        ),
        ({"provider": {"allow_fallbacks": False}}, {"fallbacks": "none"}),
        ({"provider": {"allow_fallbacks": True}}, {}),
        ({"provider": {"require_parameters": True}}, {"require_parameters": True}),
        ({"provider": {"sort": "price"}}, {"policy": "cost"}),
        ({"provider": {"sort": "throughput"}}, {"policy": "speed"}),
        ({"provider": {"sort": "latency"}}, {"policy": "speed"}),
        (
            {"provider": {"max_price": {"prompt": 1, "completion": 2}}},
            {"max_price_prompt": 1, "max_price_completion": 2},
        ),
        ({"provider": {"order": None, "sort": None}}, {}),
        ({"provider": {}}, {}),
        ({}, {}),
    ],
)
def test_what_means_the_same_is_understood(own: dict[str, Any], values: dict[str, Any]):
    assert read(**own) == values


@pytest.mark.parametrize(
    "provider",
    ["acme", 5, [], {"made_up": 1}, {"sort": "beauty"}, {"sort": 1}, {"allow_fallbacks": "no"}, {"max_price": 1}],
)
def test_what_cannot_be_is_refused(provider: Any):
    with pytest.raises(ApiError) as caught:
        read(provider=provider)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "provider", "invalid_hint")


def test_an_unknown_preference_is_shown_short_and_printable():
    with pytest.raises(ApiError) as caught:
        read(provider={"\r\n\x00" + "x" * 500: 1})
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300
