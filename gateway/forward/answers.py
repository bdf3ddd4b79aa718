"""Whole answers in OpenAI's shape: parsed, checked, and cut into events where a stream was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.chunks import mend_content
from gateway.forward.failures import error_in_success, failed
from gateway.forward.mended import mended, sound, too_deep
from router_core.errors import AttemptFailed
from router_core.outcome import Failure, FailureKind
from router_core.ports import Event


def parse(raw: bytes) -> tuple[Any, bool]:
    """Return (the parsed JSON, whether its bytes may go on as they came). Raises ``AttemptFailed``."""
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        found = mended(raw)
        if found is None:
            what = "empty" if not raw.strip() else "not JSON"
            raise failed(FailureKind.PROTOCOL, f"the provider's answer is {what}", status=200) from exc
        return sound(found), False
    if too_deep(raw, found):
        raise failed(FailureKind.PROTOCOL, "the provider's answer is nested too deeply", status=200)
    return found, True


def check(body: Any, *, added: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the body if it is a chat completion with at least one choice. Raises ``AttemptFailed``."""
    if not isinstance(body, dict):
        raise failed(FailureKind.PROTOCOL, "the provider's answer is not a chat completion", status=200)
    choices = body.get("choices")
    if body.get("error") or (choices is None and body.get("object") == "error"):
        raise AttemptFailed(error_in_success(body.get("error") or body, added=added))
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise failed(FailureKind.PROTOCOL, "the provider's answer is not a chat completion", status=200)
    if not choices:
        raise AttemptFailed(Failure(FailureKind.PROTOCOL, "the provider's answer is empty", status=200, empty=True))
    for choice in choices:
        if choice.get("finish_reason") == "error":  # how OpenRouter and its kin say that it broke on the way
            raise AttemptFailed(error_in_success(choice.get("error") or "the answer broke on the way", added=added))
        if not isinstance(choice.get("message"), dict):
            raise failed(FailureKind.PROTOCOL, "the provider's answer holds a choice without a message", status=200)
    return body


def worded(body: Mapping[str, Any]) -> bool:
    """Put content that is no string into words; returns whether there was any."""
    odd = [row["message"] for row in body["choices"] if not isinstance(row["message"].get("content"), str | None)]
    for message in odd:
        mend_content(message)
    return bool(odd)


def as_events(body: Mapping[str, Any]) -> Iterator[Event]:
    """Yield a whole answer as the shortest stream that says the same: one chunk, its end, usage, ``[DONE]``."""
    frame = {key: value for key, value in body.items() if key not in {"choices", "usage", "object"}}
    frame["object"] = "chat.completion.chunk"
    content: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    for position, choice in enumerate(body["choices"]):
        index = choice.get("index", position)
        delta = {key: value for key, value in (choice.get("message") or {}).items() if value is not None}
        if isinstance(delta.get("tool_calls"), list):
            known = (part for part in delta["tool_calls"] if isinstance(part, dict))
            delta["tool_calls"] = [{"index": n, **part} for n, part in enumerate(known)]
        part: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": None}
        if choice.get("logprobs") is not None:
            part["logprobs"] = choice["logprobs"]
        content.append(part)
        ends.append({"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")})
    yield Event({**frame, "choices": content})
    yield Event({**frame, "choices": ends})
    if isinstance(body.get("usage"), dict):
        yield Event({**frame, "choices": [], "usage": body["usage"]})
    yield Event(done=True)
