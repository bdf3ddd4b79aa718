"""Hints in the spelling of neighbouring gateways, where they mean the same as ours.

OpenRouter: ``models`` and ``provider{order, only, ignore, allow_fallbacks, require_parameters, sort, max_price}``.
LiteLLM: ``fallbacks``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.http.errors import invalid

_SAME: Final = {
    "order": "order",
    "only": "only",
    "ignore": "exclude",
    "require_parameters": "require_parameters",
}
_SORTS: Final = {"price": "cost", "throughput": "speed", "latency": "speed"}
_KNOWN: Final = ", ".join(sorted({*_SAME, "allow_fallbacks", "max_price", "sort"}))


def read_neighbours(own: Mapping[str, Any], values: dict[str, Any]) -> None:
    """Add a body's foreign hints to ``values``, under our names; 400 for what cannot be."""
    for name in ("models", "fallbacks"):
        if own.get(name) is not None:
            values["fallbacks"] = own[name]
    provider = own.get("provider")
    if provider is None:
        return
    if type(provider) is not dict:
        _fail("provider must be an object")
    for theirs, value in provider.items():
        if value is not None:
            _read_one(theirs, value, values)


def _read_one(theirs: str, value: Any, values: dict[str, Any]) -> None:
    if theirs in _SAME:
        values[_SAME[theirs]] = value
    elif theirs == "allow_fallbacks":
        if type(value) is not bool:
            _fail("provider.allow_fallbacks must be true or false")
        if not value:
            values["fallbacks"] = "none"
    elif theirs == "sort":
        if type(value) is not str or value not in _SORTS:
            _fail(f"provider.sort must be one of {', '.join(_SORTS)}")
        values["policy"] = _SORTS[value]
    elif theirs == "max_price":
        if type(value) is not dict:
            _fail("provider.max_price must be an object with prompt and completion in USD per million tokens")
        for part in ("prompt", "completion"):
            if value.get(part) is not None:
                values[f"max_price_{part}"] = value[part]
    else:
        shown = "".join(char for char in theirs[:64] if char.isprintable())
        _fail(f"unknown provider preference {shown!r}; known: {_KNOWN}")


def _fail(message: str) -> None:
    raise invalid(message, "provider", "invalid_hint")
