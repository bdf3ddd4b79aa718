"""OpenAI's shapes, built by hand: chunks of a stream, messages, plain data out of litellm's objects."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from router_core.ports import Event

_MESSAGE_FIELDS: Final = (
    "reasoning_content",
    "thinking_blocks",
    "tool_calls",
    "function_call",
    "refusal",
    "annotations",
    "audio",
    "images",
)


class Frame:
    """What all chunks of one stream share: id, time, model. Set what the upstream says as soon as it does."""

    __slots__ = ("created", "id", "model", "seen")

    def __init__(self, model: str) -> None:
        self.id = ""
        self.created = int(time.time())
        self.model = model
        self.seen: set[int] = set()

    def delta(self, delta: dict[str, Any], *, index: int = 0, logprobs: Any = None) -> Event:
        """Return a chunk with a piece of one choice; a choice's first piece carries the role."""
        if index not in self.seen:
            self.seen.add(index)
            delta = {"role": "assistant", **delta}
        return Event(self.chunk([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}]))

    def finish(self, reason: str, *, index: int = 0) -> Event:
        """Return the chunk that ends one choice."""
        return Event(self.chunk([{"index": index, "delta": {}, "logprobs": None, "finish_reason": reason}]))

    def usage(self, usage: Mapping[str, Any]) -> Event:
        """Return the chunk that carries the usage."""
        return Event({**self.chunk([]), "usage": usage})

    def chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a chunk."""
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def completion(
    upstream_id: str, model: str, choices: list[dict[str, Any]], usage: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return a whole ``chat.completion``."""
    body: dict[str, Any] = {
        "id": upstream_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": choices,
    }
    if usage is not None:
        body["usage"] = usage
    return body


def usage_dict(
    *, prompt: int, completion_tokens: int, cached: int = 0, cache_write: int = 0, reasoning: int = 0, **more: Any
) -> dict[str, Any]:
    """Return a ``usage`` object in OpenAI's shape: prompt with its cached parts, completion with its reasoning."""
    read = {"cached_tokens": cached}
    if cache_write:
        read["cache_creation_tokens"] = cache_write
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt + completion_tokens,
        "prompt_tokens_details": read,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        **{key: value for key, value in more.items() if value is not None},
    }


def message_dict(message: Any) -> dict[str, Any]:
    """Return litellm's message as plain data without its fillers."""
    out: dict[str, Any] = {"role": "assistant", "content": message.content}
    out.update(extras(message))
    return out


def extras(holder: Any) -> dict[str, Any]:
    """Return what a message or a delta holds besides role and content, as plain data without fillers."""
    out: dict[str, Any] = {}
    for name in _MESSAGE_FIELDS:
        value = getattr(holder, name, None)
        if value:
            out[name] = plain(value)
    special = {k: v for k, v in (getattr(holder, "provider_specific_fields", None) or {}).items() if v is not None}
    special.pop("thinking_blocks", None)
    if special:
        out["provider_specific_fields"] = plain(special)
    return out


def plain(value: Any) -> Any:
    """Return litellm's objects as dicts and lists, without nulls."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(exclude_none=True))
    return value


def whole_number(value: Any) -> int:
    """Return a count, or 0 for what is none."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else 0
