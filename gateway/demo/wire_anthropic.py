"""Anthropic's wire: ``POST /v1/messages`` and ``GET /v1/models``.

Shapes after https://docs.anthropic.com/en/api/messages and /messages-streaming (checked 2026-11-23).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import orjson

from gateway.demo.answer import Answer, Choice, Tokens
from gateway.demo.anthropic_ask import read_anthropic
from gateway.demo.ask import (
    Ask,
    Complaint,
    Json,
    Refused,
)
from gateway.demo.wire import Event, named_event

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STOP: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_SIGNATURE: Final = "ZGVtby1zaWduYXR1cmU="


class AnthropicWire:
    """Anthropic's wire."""

    name = "anthropic"
    done: bytes | None = named_event("message_stop", {"type": "message_stop"})

    def is_chat(self, method: str, path: str) -> bool:
        """Say whether a call asks for an answer."""
        return method == "POST" and path.endswith("/messages")

    def is_models(self, method: str, path: str) -> bool:
        """Say whether a call asks for the list of models."""
        return method == "GET" and path.endswith("/models")

    def read(self, body: Json, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Ask:
        """Read a Messages request. Raises ``Refused`` 400 for what Anthropic would refuse."""
        del path, query
        if "anthropic-version" not in headers:
            raise Refused(400, "bad_request", "anthropic-version: header is required")
        return read_anthropic(body)

    def whole(self, answer: Answer, ask: Ask) -> Json:
        """Render a ``message``."""
        del ask
        body = _message(answer)
        if answer.choices:
            choice = answer.choices[0]
            body["content"] = _content(choice)
            body["stop_reason"], body["stop_sequence"] = _stop(choice), choice.stop_sequence
        else:
            body["stop_reason"] = "end_turn"
        if answer.usage is None:
            del body["usage"]
        else:
            body["usage"]["output_tokens"] = answer.usage.output
        return body

    def events(self, answer: Answer, ask: Ask) -> list[Event]:
        """Render the named events from ``message_start`` to ``message_stop``."""
        del ask
        start = _message(answer)
        if answer.usage is None:
            del start["usage"]
        out = [Event(named_event("message_start", {"type": "message_start", "message": start}))]
        choice = answer.choices[0] if answer.choices else Choice()
        for index, block in enumerate(_blocks(choice)):
            opening, deltas = block
            start_block = {"type": "content_block_start", "index": index, "content_block": opening}
            out.append(Event(named_event("content_block_start", start_block), opening["type"] == "tool_use"))
            if index == 0:
                out.append(Event(named_event("ping", {"type": "ping"})))
            for delta in deltas:
                row = {"type": "content_block_delta", "index": index, "delta": delta}
                out.append(Event(named_event("content_block_delta", row), delta["type"] != "signature_delta"))
            out.append(Event(named_event("content_block_stop", {"type": "content_block_stop", "index": index})))
        end: Json = {"stop_reason": _stop(choice), "stop_sequence": choice.stop_sequence}
        last: Json = {"type": "message_delta", "delta": end}
        if answer.usage is not None:
            last["usage"] = {"output_tokens": answer.usage.output}
        out.append(Event(named_event("message_delta", last)))
        out.append(Event(self.done or b""))
        return out

    def complain(self, complaint: Complaint) -> Json:
        """Render Anthropic's error body."""
        kind = _TYPES.get(complaint.status, "api_error" if complaint.status >= 500 else "invalid_request_error")
        message = complaint.message
        if complaint.kind == "context_length_exceeded":
            message = "prompt is too long: 9000 tokens > 8192 maximum"
        error = {"type": kind, "message": message}
        return {"type": "error", "error": error, "request_id": "req_demo"}

    def error_event(self, complaint: Complaint) -> bytes:
        """Render an error within a stream."""
        return named_event("error", self.complain(complaint))

    def models(self, names: Sequence[str]) -> Json:
        """Render the list of models."""
        rows = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"} for name in names
        ]
        first, last = (names[0], names[-1]) if names else (None, None)
        return {"data": rows, "has_more": False, "first_id": first, "last_id": last}

    def empty(self, body: Json) -> Json:
        """Return the body without content."""
        return {**body, "content": []}

    def headers(self, answer_id: str) -> dict[str, str]:
        """Return Anthropic's request id and rate limit headers."""
        return {
            "request-id": "req_" + answer_id,
            "anthropic-organization-id": "demo",
            "anthropic-ratelimit-requests-limit": "4000",
            "anthropic-ratelimit-requests-remaining": "3999",
        }


def _stop(choice: Choice) -> str:
    return _STOP.get(choice.finish, choice.finish)


def _usage(tokens: Tokens) -> Json:
    """Return the usage as it stands at a message's start; Anthropic counts cached input apart from input."""
    return {
        "input_tokens": tokens.input - tokens.cached - tokens.cache_write,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": tokens.cache_write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1,
        "service_tier": "standard",
    }


def _message(answer: Answer) -> Json:
    return {
        "id": "msg_" + answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(answer.usage or Tokens(0, 0)),
    }


def _content(choice: Choice) -> list[Json]:
    blocks: list[Json] = []
    if choice.reasoning:
        blocks.append({"type": "thinking", "thinking": "".join(choice.reasoning), "signature": _SIGNATURE})
    text = choice.text or choice.refusal or ""
    if text or not choice.tool_calls:
        blocks.append({"type": "text", "text": text})
    blocks += [
        {"type": "tool_use", "id": "toolu_" + call.id, "name": call.name, "input": _parsed(call.arguments)}
        for call in choice.tool_calls
    ]
    return blocks


def _parsed(arguments: str) -> Json:
    """Return a call's arguments as the object Anthropic sends; text that is no JSON object goes under one key."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {"value": arguments}


def _blocks(choice: Choice) -> Iterator[tuple[Json, list[Json]]]:
    """Yield (opening block, deltas) for each content block of a stream."""
    if choice.reasoning:
        deltas: list[Json] = [{"type": "thinking_delta", "thinking": piece} for piece in choice.reasoning]
        deltas.append({"type": "signature_delta", "signature": _SIGNATURE})
        yield {"type": "thinking", "thinking": "", "signature": ""}, deltas
    chunks = choice.chunks or ((choice.refusal,) if choice.refusal else ())
    if chunks:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in chunks]
    for call in choice.tool_calls:
        text = call.arguments
        parts = ["", *(text[i : i + 12] for i in range(0, len(text), 12))]
        opening: Json = {"type": "tool_use", "id": "toolu_" + call.id, "name": call.name, "input": {}}
        yield opening, [{"type": "input_json_delta", "partial_json": part} for part in parts]
