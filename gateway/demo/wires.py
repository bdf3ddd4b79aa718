"""The three wires by name."""

from __future__ import annotations

from typing import Final

from gateway.demo.wire import Wire
from gateway.demo.wire_anthropic import AnthropicWire
from gateway.demo.wire_gemini import GeminiWire
from gateway.demo.wire_openai import OpenAIWire

_WIRES: Final[dict[str, Wire]] = {"openai": OpenAIWire(), "anthropic": AnthropicWire(), "gemini": GeminiWire()}
WIRE_NAMES: Final = tuple(_WIRES)


def wire_named(name: str) -> Wire:
    """Return a wire. Raises ``ValueError`` naming those there are."""
    if name not in _WIRES:
        msg = f"unknown wire {name!r}; known: {', '.join(_WIRES)}"
        raise ValueError(msg)
    return _WIRES[name]
