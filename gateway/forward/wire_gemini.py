"""Gemini's wire, at Google AI Studio and at Vertex AI: requests and rich parts through litellm, plain text read here.

https://ai.google.dev/api/generate-content (checked 2026-11-23). The key travels as a header, never in the URL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson

from gateway.forward.chunks import Frame, completion, extras, message_dict, usage_dict, whole_number
from gateway.forward.failures import failed, from_error_event
from gateway.forward.gemini_native import put_back, take_out
from gateway.forward.http1.target import Target, target
from gateway.forward.litellm_door import Door, Quiet
from gateway.forward.media import images_by, refuse_remote_media
from gateway.forward.mended import mended
from gateway.forward.outgoing import effective_body, encode
from gateway.forward.params import mapped, split, supported_params, untranslatable
from gateway.forward.sse_reader import Item
from gateway.forward.translate import Prepared, copy_of, drops
from gateway.forward.wires import Auth, auth_headers, base_of, wire_of
from gateway.forward.words import clean
from router_core.errors import AttemptFailed, ConfigError
from router_core.outcome import Failure, FailureKind
from router_core.ports import Call, Event

_NATIVE: Final = frozenset({"top_k", "safety_settings", "thinking"})
_FILES: Final = "https://generativelanguage.googleapis.com/"

FINISH: Final[Mapping[str, str]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "LANGUAGE": "content_filter",
}
"""Other reasons (OTHER, …) end an answer too; OpenAI has no word for them but ``stop``."""

BROKEN: Final = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"})
"""Reasons that say of an answer that it is none: passed off as ``stop``, a client would take it for the whole."""


class GeminiTranslator:
    """``generateContent`` and ``streamGenerateContent``."""

    def __init__(self, door: Door, *, vertex: bool = False) -> None:
        self._door = door
        self._vertex = vertex
        self._config = door.vertex if vertex else door.gemini

    def request(self, call: Call, key: str | None) -> Prepared:
        """Put a call into Gemini's words."""
        body = effective_body(call, usage_option=False)
        model, drop = call.deployment.upstream_model, drops(call)
        refuse_remote_media(body.get("messages"), images_by(_FILES))
        params = split(body, supported_params(self._config, model), _NATIVE, drop=drop)
        options, culprits = mapped(self._config, self._door, params, model, drop=drop)
        options = copy_of(options)
        options.update(copy_of(params.extra))
        options.pop("stream", None)
        provider = "vertex_ai" if self._vertex else "gemini"
        messages = copy_of(body.get("messages") or [])
        try:
            native = take_out(messages, options, model)
            data = self._door.gemini_body(
                messages=messages,
                model=model,
                optional_params=options,
                custom_llm_provider=provider,
                litellm_params={},
                cached_content=None,
            )
            put_back(native, data)
        except Exception as exc:
            raise untranslatable(exc) from exc
        auth = wire_of(call.provider.wire).auth if self._vertex else Auth.GOOGLE
        return Prepared(self._url(call), auth_headers(auth, key), encode(dict(data)), params.dropped + culprits)

    def answer(self, call: Call, prepared: Prepared, parsed: Any) -> dict[str, Any]:
        """Put a response into OpenAI's shape."""
        del prepared
        _refuse_blocked(parsed)
        candidates = [row for row in parsed.get("candidates") or () if isinstance(row, dict)]
        found = self._door.model_response(choices=[])
        self._door.vertex.process_candidates([_complete(row) for row in candidates], found, {})
        choices = []
        for position, (row, choice) in enumerate(zip(candidates, found.choices, strict=True)):
            message = message_dict(choice.message)
            for part in message.get("tool_calls", ()):
                part.pop("index", None)
            finish = _finish(row.get("finishReason"), tools=bool(message.get("tool_calls")))
            logprobs = getattr(choice, "logprobs", None)
            choices.append(
                {
                    "index": row.get("index", position),
                    "message": message,
                    "logprobs": logprobs.model_dump() if logprobs is not None else None,
                    "finish_reason": finish,
                }
            )
        model = str(parsed.get("modelVersion") or call.deployment.upstream_model)
        return completion(str(parsed.get("responseId") or ""), model, choices, usage(parsed.get("usageMetadata")))

    def decoder(self, call: Call, prepared: Prepared) -> GeminiDecoder:
        """Return a fresh reader for one stream."""
        del prepared
        parser = self._door.gemini_parser(streaming_response=iter(()), sync_stream=True, logging_obj=Quiet())
        return GeminiDecoder(parser, call.deployment.upstream_model)

    def _url(self, call: Call) -> Target:
        method = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        base = _vertex_base(call) if self._vertex else base_of(call.provider, call.deployment)
        return target(f"{base}/models/{quote(call.deployment.upstream_model, safe='')}:{method}")


class GeminiDecoder:
    """One stream: every event is a whole response with a piece of each candidate."""

    __slots__ = ("_counted", "_finished", "_frame", "_parser", "_tools")

    def __init__(self, parser: Any, model: str) -> None:
        self._parser = parser
        self._frame = Frame(model)
        self._counted: Any = None
        self._finished: set[int] = set()
        self._tools: set[int] = set()

    def events(self, items: Iterable[Item]) -> Iterator[Event]:
        """Yield what the items mean."""
        for _, data in items:
            if data is None:
                yield Event(comment=True)
                continue
            try:
                chunk = orjson.loads(data)
            except orjson.JSONDecodeError:
                chunk = mended(data)
            if isinstance(chunk, list) and len(chunk) == 1:
                chunk = chunk[0]
            if not isinstance(chunk, dict):
                yield Event(malformed=True)
                continue
            yield from self._event(chunk)

    def end(self) -> Iterator[Event]:
        """Give usage and the end mark if every candidate came to its end: the wire itself has no end mark."""
        if self._finished and self._finished >= self._frame.seen:
            counted = usage(self._counted)
            if counted is not None:
                yield self._frame.usage(counted)
            yield Event(done=True)

    def _event(self, chunk: dict[str, Any]) -> Iterator[Event]:
        if chunk.get("error"):
            raise AttemptFailed(from_error_event(chunk))
        _refuse_blocked(chunk)
        self._counted = chunk.get("usageMetadata") or self._counted
        self._frame.id = self._frame.id or str(chunk.get("responseId") or "")
        self._frame.model = str(chunk.get("modelVersion") or self._frame.model)
        candidates = [row for row in chunk.get("candidates") or () if isinstance(row, dict)]
        if not candidates:
            yield Event(comment=True)
            return
        spoke = False
        if all(_is_text(row) for row in candidates):
            for position, row in enumerate(candidates):
                text = "".join(part["text"] for part in row["content"]["parts"])
                if text:
                    spoke = True
                    yield self._frame.delta({"content": text}, index=row.get("index", position))
        else:
            for event in self._rich(chunk, candidates):
                spoke = True
                yield event
        for position, row in enumerate(candidates):
            index, reason = row.get("index", position), row.get("finishReason")
            if reason and index not in self._finished:
                self._finished.add(index)
                self._frame.seen.add(index)
                spoke = True
                yield self._frame.finish(_finish(reason, tools=index in self._tools), index=index)
        if not spoke:
            yield Event(comment=True)

    def _rich(self, chunk: dict[str, Any], candidates: list[dict[str, Any]]) -> Iterator[Event]:
        """Yield the pieces litellm's parser reads: thoughts, tool calls, images, logprobs."""
        bare = {key: value for key, value in chunk.items() if key != "usageMetadata"}
        bare["candidates"] = [_complete(row) for row in candidates]
        try:
            found = self._parser.chunk_parser(bare)
        except Exception:  # noqa: BLE001 - litellm's parser raises whatever its first missing key raises
            yield Event(malformed=True)
            return
        for choice in found.choices:
            delta = extras(choice.delta)
            if choice.delta.content:
                delta["content"] = choice.delta.content
            if delta.get("tool_calls"):
                self._tools.add(choice.index)
            logprobs = getattr(choice, "logprobs", None)
            if delta or logprobs is not None:
                shown = logprobs.model_dump() if logprobs is not None else None
                yield self._frame.delta(delta, index=choice.index, logprobs=shown)


def usage(found: Any) -> dict[str, Any] | None:
    """Return Gemini's usage in OpenAI's shape.

    ``promptTokenCount`` includes what the cache gave; ``candidatesTokenCount`` is without thoughts, except where the
    total says otherwise (as litellm decides it).
    """
    if not isinstance(found, Mapping) or not found:
        return None
    prompt = whole_number(found.get("promptTokenCount"))
    spoken = whole_number(found.get("candidatesTokenCount"))
    thoughts = whole_number(found.get("thoughtsTokenCount"))
    total = whole_number(found.get("totalTokenCount"))
    prompt += whole_number(found.get("toolUsePromptTokenCount"))
    inclusive = spoken >= thoughts and prompt + spoken == total
    return usage_dict(
        prompt=prompt,
        completion_tokens=spoken if inclusive else spoken + thoughts,
        cached=whole_number(found.get("cachedContentTokenCount")),
        reasoning=thoughts,
    )


def _refuse_blocked(parsed: Mapping[str, Any]) -> None:
    """Raise ``AttemptFailed`` when the prompt was refused before anything was written."""
    reason = (parsed.get("promptFeedback") or {}).get("blockReason")
    if reason and not parsed.get("candidates"):
        message = f"the provider blocked the prompt: {clean(str(reason), 100)}"
        raise AttemptFailed(
            Failure(FailureKind.CONTENT_FILTER, message, status=400, code="content_filter", param="messages")
        )


def _finish(reason: Any, *, tools: bool) -> str:
    """Return OpenAI's word for how an answer ended. Raises ``AttemptFailed`` when it is none."""
    if not reason:
        return "stop"
    if reason in BROKEN:
        raise failed(FailureKind.PROTOCOL, f"the model's answer cannot be read: {reason}", status=200)
    finish = FINISH.get(str(reason), "stop")
    return "tool_calls" if tools and finish == "stop" else finish


def _complete(candidate: dict[str, Any]) -> dict[str, Any]:
    """Return a candidate that litellm will not skip: it passes over those with neither content nor a reason."""
    return candidate if "content" in candidate else {**candidate, "content": {"parts": []}}


def _is_text(candidate: Mapping[str, Any]) -> bool:
    """Say whether a candidate holds plain text and nothing that litellm knows more about."""
    if not candidate.keys() <= {"content", "finishReason", "index", "safetyRatings", "avgLogprobs", "tokenCount"}:
        return False
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return isinstance(parts, list) and all(
        isinstance(part, dict) and len(part) == 1 and isinstance(part.get("text"), str) for part in parts
    )


def _vertex_base(call: Call) -> str:
    """Vertex AI's address has project and place in it; a base URL, where given, is everything before ``/models``."""
    options, given = call.provider.options, call.deployment.base_url or call.provider.base_url
    if given:
        return given.rstrip("/")
    project, place = options.get("project"), options.get("location", "us-central1")
    if not project:
        msg = f"provider {call.provider.id} needs options.project (and options.location) or a base_url"
        raise ConfigError(msg)
    host = "aiplatform.googleapis.com" if place == "global" else f"{place}-aiplatform.googleapis.com"
    return f"https://{host}/v1/projects/{quote(project)}/locations/{quote(place)}/publishers/google"
