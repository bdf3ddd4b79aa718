"""Anthropic's wire: requests and tool blocks through litellm's config, text and usage read here.

https://docs.anthropic.com/en/api/messages and .../messages-streaming (checked 2026-11-23).
Usage is read here because litellm counts reasoning with a tokenizer where Anthropic does not report it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from gateway.forward.anthropic_request import limit, opened
from gateway.forward.chunks import Frame, completion, extras, message_dict, usage_dict, whole_number
from gateway.forward.failures import from_error_event
from gateway.forward.http1.target import target
from gateway.forward.litellm_door import Door
from gateway.forward.media import images_by, refuse_remote_media
from gateway.forward.mended import mended
from gateway.forward.outgoing import effective_body, encode
from gateway.forward.params import mapped, split, supported_params, untranslatable
from gateway.forward.sse_reader import Item
from gateway.forward.translate import Prepared, copy_of, drops
from gateway.forward.wires import base_of
from router_core.errors import AttemptFailed
from router_core.outcome import Failure, FailureKind
from router_core.ports import Call, Event

_NATIVE: Final = frozenset({"top_k", "thinking", "container", "mcp_servers", "inference_geo"})
_NAMES: Final = "_anthropic_tool_name_map"
_USUAL: Final = frozenset({"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"})
_TEXT: Final = frozenset({"type", "text"})
_NO_USAGE: Final[Mapping[str, Any]] = {
    "input_tokens": 0,
    "output_tokens": 0,
    "output_tokens_details": {"thinking_tokens": 0},
}

FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicTranslator:
    """Anthropic's Messages API."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._config = door.anthropic

    def request(self, call: Call, key: str | None) -> Prepared:
        """Put a call into Anthropic's words."""
        body = effective_body(call, usage_option=False)
        model, drop = call.deployment.upstream_model, drops(call)
        refuse_remote_media(body.get("messages"), images_by("https://"))
        params = split(body, supported_params(self._config, model), _NATIVE, drop=drop)
        options, culprits = mapped(self._config, self._door, params, model, drop=drop)
        options = copy_of(options)
        json_mode = bool(options.pop("json_mode", False))
        options.update(copy_of(params.extra))
        limit(options, body, call.deployment)
        if call.stream:
            options["stream"] = True
        messages = copy_of(body.get("messages") or [])
        remembered: dict[str, Any] = {}
        given = {name.lower(): value for name, value in call.provider.headers.items()}
        try:
            messages = opened(messages)
            headers = self._config.validate_environment(given, model, messages, options, {}, api_key=key or "none")
            data = self._config.transform_request(model, messages, options, remembered, headers)
        except Exception as exc:
            raise untranslatable(exc) from exc
        if key is None:
            headers.pop("x-api-key", None)
        return Prepared(
            target(_url(base_of(call.provider, call.deployment))),
            {name: value for name, value in headers.items() if name not in {"accept", "content-type"}},
            encode(data),
            params.dropped + culprits,
            {"json_mode": json_mode, "names": remembered.get(_NAMES) or {}},
        )

    def answer(self, call: Call, prepared: Prepared, parsed: Any) -> dict[str, Any]:
        """Put a message into OpenAI's shape."""
        if not parsed["content"] and parsed.get("stop_reason") in {None, "end_turn"}:
            raise AttemptFailed(Failure(FailureKind.PROTOCOL, "the provider's answer is empty", status=200, empty=True))
        reason = str(parsed.get("stop_reason") or "end_turn")
        finish = FINISH.get(reason, "stop")
        message = None if prepared.memory["json_mode"] else text_alone(parsed)
        if message is None:
            message, finish = self._message(parsed, prepared, reason, finish)
        if finish == "tool_calls" and not message.get("tool_calls"):
            finish = "stop"  # the only tool was the one that stands for a JSON schema
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        model = str(parsed.get("model") or call.deployment.upstream_model)
        return completion(str(parsed.get("id") or ""), model, [choice], usage(parsed.get("usage")))

    def _message(self, parsed: Any, prepared: Prepared, reason: str, finish: str) -> tuple[dict[str, Any], str]:
        """Return what litellm makes of an answer: its message, and how it ended (a schema's answer ends as text)."""
        read = {**parsed, "usage": _NO_USAGE, "stop_reason": reason}
        found = self._config.transform_parsed_response(
            read,
            _Headers(),
            self._door.model_response(),
            json_mode=prepared.memory["json_mode"],
            tool_name_reverse_map=prepared.memory["names"],
        )
        message = message_dict(found.choices[0].message)
        for part in message.get("tool_calls", ()):
            part.pop("index", None)
        return message, FINISH.get(read["stop_reason"], finish)

    def decoder(self, call: Call, prepared: Prepared) -> AnthropicDecoder:
        """Return a fresh reader for one stream."""
        parser = self._door.anthropic_parser(
            streaming_response=iter(()),
            sync_stream=True,
            json_mode=prepared.memory["json_mode"],
            tool_name_reverse_map=prepared.memory["names"],
        )
        return AnthropicDecoder(parser, call.deployment.upstream_model)


class AnthropicDecoder:
    """One stream: text is read here, everything else by litellm's parser, which keeps state between events."""

    __slots__ = ("_ended", "_finished", "_frame", "_parser", "_tools", "_usage")

    def __init__(self, parser: Any, model: str) -> None:
        self._parser = parser
        self._frame = Frame(model)
        self._usage: dict[str, Any] = {}
        self._tools = False
        self._finished = False
        self._ended = False

    def events(self, items: Iterable[Item]) -> Iterator[Event]:
        """Yield what the items mean."""
        for name, data in items:
            if data is None or name == b"ping":
                yield Event(comment=True)
                continue
            try:
                chunk = orjson.loads(data)
            except orjson.JSONDecodeError:
                chunk = mended(data)
            if name == b"error":
                told = chunk if isinstance(chunk, dict) else {"error": data.decode("utf-8", "replace")}
                raise AttemptFailed(from_error_event(told))
            if not isinstance(chunk, dict):
                yield Event(malformed=True)
                continue
            text = _text(chunk)
            if text is None:
                yield from self._event(chunk)
            else:
                yield self._frame.delta({"content": text}) if text else Event(comment=True)

    def end(self) -> Iterator[Event]:
        """Say the rest when the provider forgot its last event; nothing when the answer was cut."""
        if self._finished and not self._ended:
            yield from self._stop()

    def _event(self, chunk: dict[str, Any]) -> Iterator[Event]:
        match chunk.get("type"):
            case "message_start":
                yield self._start(chunk.get("message") or {})
            case "message_delta":
                yield from self._delta(chunk)
            case "message_stop":
                if not self._ended:
                    yield from self._stop()
            case "ping":
                yield Event(comment=True)
            case "error":
                raise AttemptFailed(from_error_event(chunk))
            case "content_block_start" | "content_block_delta" | "content_block_stop":
                yield from self._block(chunk)
            case _ if chunk.get("error"):
                raise AttemptFailed(from_error_event(chunk))
            case _:
                yield Event(comment=True)  # new kinds of events may come at any time, says the documentation

    def _start(self, message: Mapping[str, Any]) -> Event:
        self._frame.id = str(message.get("id") or "")
        self._frame.model = str(message.get("model") or self._frame.model)
        self._usage.update(message.get("usage") or {})
        return self._frame.delta({"content": ""})

    def _block(self, chunk: dict[str, Any]) -> Iterator[Event]:
        try:
            found = self._parser.chunk_parser(chunk)
        except Exception:  # noqa: BLE001 - litellm's parser raises whatever its first missing key raises
            yield Event(malformed=True)
            return
        holder = found.choices[0].delta
        delta = extras(holder)
        if holder.content:
            delta["content"] = holder.content
        for part in delta.get("tool_calls", ()):
            self._tools = True
            if not part.get("id"):
                part.pop("type", None)
        yield self._frame.delta(delta) if delta else Event(comment=True)

    def _delta(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        self._usage.update({k: v for k, v in (chunk.get("usage") or {}).items() if v is not None})
        reason = (chunk.get("delta") or {}).get("stop_reason")
        if not reason or self._finished:
            yield Event(comment=True)
            return
        self._finished = True
        finish = FINISH.get(str(reason), "stop")
        if finish == "tool_calls" and not self._tools:
            finish = "stop"  # the only tool was the one that stands for a JSON schema
        yield self._frame.finish(finish)

    def _stop(self) -> Iterator[Event]:
        self._ended = True
        counted = usage(self._usage)
        if counted is not None:
            yield self._frame.usage(counted)
        if self._finished:
            yield Event(done=True)


def usage(found: Any) -> dict[str, Any] | None:
    """Return Anthropic's usage in OpenAI's shape: its ``input_tokens`` are without what the cache read and wrote."""
    if not isinstance(found, Mapping) or not found:
        return None
    rows = [row for row in found.get("iterations") or () if isinstance(row, Mapping)] or [found]
    cached = sum(whole_number(row.get("cache_read_input_tokens")) for row in rows)
    written = sum(whole_number(row.get("cache_creation_input_tokens")) for row in rows)
    fresh = sum(whole_number(row.get("input_tokens")) for row in rows)
    details = found.get("output_tokens_details")
    thinking = whole_number(details.get("thinking_tokens")) if isinstance(details, Mapping) else 0
    return usage_dict(
        prompt=fresh + cached + written,
        completion_tokens=sum(whole_number(row.get("output_tokens")) for row in rows),
        cached=cached,
        cache_write=written,
        reasoning=thinking,
        server_tool_use=found.get("server_tool_use"),
    )


def text_alone(parsed: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the message of an answer that is text and nothing else, most are; None when litellm has to read it."""
    if any(value is not None and name not in _USUAL for name, value in parsed.items()):
        return None
    text = ""
    for block in parsed["content"]:
        if block.get("type") != "text" or any(value is not None for name, value in block.items() if name not in _TEXT):
            return None
        text += block["text"]
    return {"role": "assistant", "content": text or None}


class _Headers:
    """What litellm asks of a raw answer when it reads a parsed one."""

    headers: Final[Mapping[str, str]] = {}
    status_code: Final = 200


def _text(chunk: dict[str, Any]) -> str | None:
    """Return the piece of text that an event brings, as most do; None for another event."""
    if chunk.get("type") != "content_block_delta":
        return None
    delta = chunk.get("delta")
    if type(delta) is not dict or delta.get("type") != "text_delta":
        return None
    text = delta.get("text")
    return text if type(text) is str else None


def _url(base: str) -> str:
    if base.endswith("/messages"):
        return base
    return base + ("/messages" if base.endswith("/v1") else "/v1/messages")
