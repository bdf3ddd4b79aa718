"""Cohere's chat API v2: requests through litellm's config, answers and streams read here.

https://docs.cohere.com/v2/reference/chat and .../docs/streaming (checked 2026-11-23). litellm 1.106 reads neither the
finish reason of an answer nor the tool calls, the end and the usage of a stream, so reading is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from gateway.forward.chunks import Frame, completion, usage_dict, whole_number
from gateway.forward.failures import from_error_event
from gateway.forward.http1.target import target
from gateway.forward.litellm_door import Door
from gateway.forward.media import images_by, refuse_remote_media
from gateway.forward.outgoing import effective_body, encode
from gateway.forward.params import mapped, split, supported_params, untranslatable
from gateway.forward.sse_reader import Item
from gateway.forward.translate import Prepared, copy_of, drops
from gateway.forward.wires import Auth, auth_headers, base_of
from router_core.errors import AttemptFailed
from router_core.ports import Call, Event

_NATIVE: Final = frozenset(
    {"k", "p", "documents", "citation_options", "safety_mode", "strict_tools", "thinking", "priority", "top_k"}
)
_OWN: Final = frozenset({"response_format", "logprobs", "tool_choice"})
"""What Cohere takes and litellm's list does not have; put into Cohere's words here."""

FINISH: Final[Mapping[str, str]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
    "ERROR_LIMIT": "length",
}


class CohereTranslator:
    """``POST /v2/chat``."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._config = door.chat_config("cohere_chat", "command-a-03-2025")

    def request(self, call: Call, key: str | None) -> Prepared:
        """Put a call into Cohere's words."""
        body = effective_body(call, usage_option=False)
        model, drop = call.deployment.upstream_model, drops(call)
        refuse_remote_media(body.get("messages"), images_by(""))
        own = _own(body)
        rest = {name: value for name, value in body.items() if name not in _OWN}
        params = split(rest, supported_params(self._config, model) - _OWN, _NATIVE, drop=drop)
        options, culprits = mapped(self._config, self._door, params, model, drop=drop)
        options = copy_of(options)
        options.pop("stream", None)
        try:
            data = self._config.transform_request(model, copy_of(body.get("messages") or []), options, {}, {})
        except Exception as exc:
            raise untranslatable(exc) from exc
        if "top_k" in params.extra:
            data["k"] = params.extra["top_k"]
        data.update({name: value for name, value in params.extra.items() if name != "top_k"})
        if isinstance(data.get("stop_sequences"), str):
            data["stop_sequences"] = [data["stop_sequences"]]
        data.update(own)
        data["stream"] = call.stream
        base = base_of(call.provider, call.deployment)
        address = base if base.endswith("/chat") else base + ("/chat" if base.endswith("/v2") else "/v2/chat")
        return Prepared(target(address), auth_headers(Auth.BEARER, key), encode(data), params.dropped + culprits)

    def answer(self, call: Call, prepared: Prepared, parsed: Any) -> dict[str, Any]:
        """Put a response into OpenAI's shape."""
        del prepared
        if parsed.get("finish_reason") == "ERROR":
            raise AttemptFailed(from_error_event({"error": {"message": "the provider gave up"}}))
        said = parsed["message"]
        text, thoughts = _text(said.get("content"))
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        if thoughts or said.get("tool_plan"):
            message["reasoning_content"] = thoughts or said["tool_plan"]
        if said.get("tool_calls"):
            message["tool_calls"] = [dict(part) for part in said["tool_calls"]]
        if said.get("citations"):
            message["provider_specific_fields"] = {"citations": said["citations"]}
        finish = FINISH.get(str(parsed.get("finish_reason")), "stop")
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        model = call.deployment.upstream_model
        return completion(str(parsed.get("id") or ""), model, [choice], usage(parsed.get("usage")))

    def decoder(self, call: Call, prepared: Prepared) -> CohereDecoder:
        """Return a fresh reader for one stream."""
        del prepared
        return CohereDecoder(call.deployment.upstream_model)


class CohereDecoder:
    """One stream of Cohere's events."""

    __slots__ = ("_calls", "_frame")

    def __init__(self, model: str) -> None:
        self._frame = Frame(model)
        self._calls: dict[int, int] = {}

    def events(self, items: Iterable[Item]) -> Iterator[Event]:
        """Yield what the items mean."""
        for _, data in items:
            if data is None or data.strip() == b"[DONE]":
                yield Event(comment=True)
                continue
            try:
                chunk = orjson.loads(data)
            except orjson.JSONDecodeError:
                chunk = None
            if not isinstance(chunk, dict):
                yield Event(malformed=True)
                continue
            yield from self._event(chunk)

    def end(self) -> Iterator[Event]:
        """Yield nothing: ``message-end`` says all."""
        return iter(())

    def _event(self, chunk: dict[str, Any]) -> Iterator[Event]:
        delta = chunk.get("delta") or {}
        said = delta.get("message") or {}
        match chunk.get("type"):
            case "message-start":
                self._frame.id = str(chunk.get("id") or "")
                yield self._frame.delta({"content": ""})
            case "content-delta":
                text, thoughts = _text(said.get("content"))
                piece = {"content": text} if text else {"reasoning_content": thoughts} if thoughts else None
                yield self._frame.delta(piece) if piece else Event(comment=True)
            case "tool-plan-delta":
                plan = said.get("tool_plan")
                yield self._frame.delta({"reasoning_content": plan}) if plan else Event(comment=True)
            case "tool-call-start":
                yield self._call(chunk, dict(said.get("tool_calls") or {}), new=True)
            case "tool-call-delta":
                yield self._call(chunk, dict(said.get("tool_calls") or {}), new=False)
            case "message-end":
                if delta.get("error"):
                    raise AttemptFailed(from_error_event({"error": delta["error"]}))
                if delta.get("finish_reason") == "ERROR":
                    raise AttemptFailed(from_error_event({"error": {"message": "the provider gave up"}}))
                yield self._frame.finish(FINISH.get(str(delta.get("finish_reason")), "stop"))
                counted = usage(delta.get("usage"))
                if counted is not None:
                    yield self._frame.usage(counted)
                yield Event(done=True)
            case _ if chunk.get("error"):
                raise AttemptFailed(from_error_event(chunk))
            case _:
                yield Event(comment=True)

    def _call(self, chunk: Mapping[str, Any], part: dict[str, Any], *, new: bool) -> Event:
        place = chunk.get("index")
        number = self._calls.setdefault(place if isinstance(place, int) else 0, len(self._calls))
        function = part.get("function") or {}
        piece: dict[str, Any] = {"index": number}
        if new:
            piece.update(id=part.get("id"), type="function")
        shown = {"name": function.get("name")} if new else {}
        piece["function"] = {**shown, "arguments": function.get("arguments") or ""}
        return self._frame.delta({"tool_calls": [piece]})


def usage(found: Any) -> dict[str, Any] | None:
    """Return Cohere's usage in OpenAI's shape: the tokens, not the billed units."""
    tokens = found.get("tokens") if isinstance(found, Mapping) else None
    if not isinstance(tokens, Mapping):
        return None
    return usage_dict(
        prompt=whole_number(tokens.get("input_tokens")),
        completion_tokens=whole_number(tokens.get("output_tokens")),
        cached=whole_number(found.get("cached_tokens")),
    )


def _text(content: Any) -> tuple[str, str]:
    """Return the text and the thoughts of Cohere's content: a string, one block or a list of blocks."""
    if isinstance(content, str):
        return content, ""
    blocks = content if isinstance(content, list) else [content]
    rows = [block for block in blocks if isinstance(block, Mapping)]
    return "".join(str(row.get("text") or "") for row in rows), "".join(str(row.get("thinking") or "") for row in rows)


def _own(body: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") in {"json_object", "json_schema"}:
        schema = (form.get("json_schema") or {}).get("schema")
        out["response_format"] = {"type": "json_object"} | ({"json_schema": schema} if schema else {})
    if body.get("logprobs"):
        out["logprobs"] = True
    choice = body.get("tool_choice")
    if choice == "required" or isinstance(choice, dict):
        out["tool_choice"] = "REQUIRED"
    elif choice == "none":
        out["tool_choice"] = "NONE"
    return out
