"""Conversations that move between vendors: what only its maker understands is left out or renamed for everybody else.

Signed thinking blocks, thought signatures and reasoning texts belong to the vendor that wrote them; another one refuses
them or takes them for content. The conversation itself (texts, tool calls, tool results, images) is the same
everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_CLAUDE: Final = frozenset({"anthropic", "bedrock", "vertex_ai"})
_GEMINI: Final = frozenset({"gemini", "vertex_ai"})
_OPEN_WEIGHTS: Final = frozenset(
    {"deepseek", "hosted_vllm", "openai_like", "custom_openai", "openrouter", "groq", "together_ai", "fireworks_ai"}
)
_DEVELOPER: Final = frozenset({"openai", "azure"})

BOUND: Final[Mapping[str, frozenset[str]]] = {
    "thinking_blocks": _CLAUDE,
    "thinking": _CLAUDE,
    "reasoning_content": _CLAUDE | _OPEN_WEIGHTS,
    "reasoning": _OPEN_WEIGHTS,
    "reasoning_details": frozenset({"openrouter"}),
    "provider_specific_fields": _CLAUDE | _GEMINI,
    "extra_content": _GEMINI,
}
"""Field of an assistant message or of one of its tool calls -> the wires whose vendors understand it."""


def portable(
    messages: Sequence[Mapping[str, Any]], wire: str
) -> tuple[list[Mapping[str, Any]] | None, tuple[str, ...]]:
    """Return the messages as another vendor may have them, and what was left out; (None, ()) when nothing changes.

    OpenAI's ``developer`` is everybody else's ``system``.
    """
    dropped: dict[str, None] = {}
    changed: list[Mapping[str, Any]] = []
    renamed = False
    for message in messages:
        role = message.get("role")
        if role == "assistant":
            changed.append(_without(message, wire, dropped))
        elif role == "developer" and wire not in _DEVELOPER:
            changed.append({**message, "role": "system"})
            renamed = True
        else:
            changed.append(message)
    return (changed, tuple(f"messages.{name}" for name in dropped)) if dropped or renamed else (None, ())


def _without(message: Mapping[str, Any], wire: str, dropped: dict[str, None]) -> Mapping[str, Any]:
    foreign = [name for name in message if name in BOUND and wire not in BOUND[name]]
    calls = message.get("tool_calls")
    bound_calls = isinstance(calls, list) and any(
        name in BOUND and wire not in BOUND[name] for call in calls if isinstance(call, dict) for name in call
    )
    if not foreign and not bound_calls:
        return message
    kept = {name: value for name, value in message.items() if name not in foreign}
    dropped.update(dict.fromkeys(foreign))
    if bound_calls and isinstance(calls, list):
        kept["tool_calls"] = [_plain_call(call, wire, dropped) for call in calls]
    return kept


def _plain_call(call: Any, wire: str, dropped: dict[str, None]) -> Any:
    if not isinstance(call, dict):
        return call
    foreign = [name for name in call if name in BOUND and wire not in BOUND[name]]
    dropped.update(dict.fromkeys(f"tool_calls.{name}" for name in foreign))
    return {name: value for name, value in call.items() if name not in foreign}
