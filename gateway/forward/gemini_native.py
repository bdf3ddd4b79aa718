"""What every Gemini takes, and litellm grants only to models on its list: a system instruction, a schema of the answer.

To a model that it does not know, a new one or one behind an address of its own, it would write both into the prompt.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from gateway.forward.translate import OPENING

_WITHOUT: Final = "gemma"
"""Open weights on the same wire; these have neither."""


class Native(NamedTuple):
    """What was taken out of a request before its translation."""

    system: list[dict[str, str]]
    schema: Any


def take_out(messages: list[dict[str, Any]], options: dict[str, Any], model: str) -> Native:
    """Take the system's texts out of ``messages`` and the answer's schema out of ``options``; both are changed."""
    if _WITHOUT in model:
        return Native([], None)
    system = [{"text": _text(each.get("content"))} for each in messages if each["role"] == "system"]
    messages[:] = [each for each in messages if each["role"] != "system"]
    if system and not messages:
        messages.append(dict(OPENING))
    return Native(system, options.pop("response_schema", None))


def put_back(native: Native, data: dict[str, Any]) -> None:
    """Put what was taken out where Gemini has it."""
    if native.system:
        data["system_instruction"] = {"parts": native.system}
    if native.schema is not None:
        data.setdefault("generationConfig", {})["response_schema"] = native.schema


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content or ())
