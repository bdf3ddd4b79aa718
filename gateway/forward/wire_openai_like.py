"""Wires that look like OpenAI's: litellm's config shapes the request, the answer stays as it came but for a few fields.

What litellm's configs change in an answer, and we with them: ``reasoning`` is also given as ``reasoning_content``
(groq, openrouter, together_ai), Mistral's content blocks become a string and reasoning, xAI's reasoning tokens are
counted into ``completion_tokens``, an empty finish reason is mended, and the tool that stands for a JSON schema becomes
content. Unlike litellm's objects, everything else an answer holds stays in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from gateway.forward.answers import check
from gateway.forward.chunks import whole_number
from gateway.forward.litellm_door import Door
from gateway.forward.media import images_by, refuse_remote_media
from gateway.forward.outgoing import added_by_us, effective_body, encode
from gateway.forward.params import mapped, split_openai, supported_params, untranslatable
from gateway.forward.sse_reader import Item
from gateway.forward.streams import RelayDecoder
from gateway.forward.translate import Prepared, copy_of, drops
from gateway.forward.wires import Wire, auth_headers, chat_url
from router_core.ports import Call, Event

_MARKS: Final = ("json_mode", "fake_stream", "max_retries", "stream")
_COUNTS: Final = ("prompt_tokens", "completion_tokens", "total_tokens")


class OpenAILikeTranslator:
    """One provider with a wire like OpenAI's."""

    def __init__(self, door: Door, wire: Wire) -> None:
        self._door = door
        self._wire = wire
        self._config = lru_cache(maxsize=1024)(lambda model: door.chat_config(wire.name, model))

    def request(self, call: Call, key: str | None) -> Prepared:
        """Put a call into the provider's dialect."""
        body = effective_body(call, usage_option=self._wire.usage_option)
        model, drop = call.deployment.upstream_model, drops(call)
        refuse_remote_media(body.get("messages"), images_by(""))
        config = self._config(model)
        params = split_openai(body, supported_params(config, model), drop=drop)
        options, culprits = mapped(config, self._door, params, model, drop=drop)
        options = copy_of(options)
        marks = {name: options.pop(name) for name in _MARKS if name in options}
        messages = copy_of(body.get("messages") or [])
        try:
            data = config.transform_request(model, messages, options, {}, {})
        except Exception as exc:
            raise untranslatable(exc) from exc
        extra_body = data.pop("extra_body", None)
        if isinstance(extra_body, dict):
            data.update(extra_body)
        data.update({name: value for name, value in params.extra.items() if name not in data})
        if call.stream:
            data["stream"] = True
            if "stream_options" in body:
                data["stream_options"] = body["stream_options"]
        return Prepared(
            chat_url(call.provider, call.deployment),
            auth_headers(self._wire.auth, key),
            encode(data),
            params.dropped + culprits,
            {"json_tool": bool(marks.get("json_mode"))},
        )

    def answer(self, call: Call, prepared: Prepared, parsed: Any) -> dict[str, Any]:
        """Return the answer, mended where this wire needs it; the very same object where it does not."""
        del call
        check(parsed)
        mend = Mend(self._wire.name, json_tool=prepared.memory["json_tool"])
        choices = [mend.choice(choice, "message") for choice in parsed["choices"]]
        counted = mend.usage(parsed.get("usage"))
        whole: dict[str, Any] = parsed
        if counted is whole.get("usage") and all(a is b for a, b in zip(choices, whole["choices"], strict=True)):
            return whole
        return {**whole, "choices": choices, **({"usage": counted} if counted else {})}

    def decoder(self, call: Call, prepared: Prepared) -> OpenAILikeDecoder:
        """Return a fresh reader for one stream."""
        added = added_by_us(call, usage_option=self._wire.usage_option)
        return OpenAILikeDecoder(added, Mend(self._wire.name, json_tool=prepared.memory["json_tool"]))


class OpenAILikeDecoder:
    """One stream, relayed event by event, mended where needed."""

    __slots__ = ("_mend", "_relay")

    def __init__(self, added: frozenset[str], mend: Mend) -> None:
        self._relay = RelayDecoder(added)
        self._mend = mend

    def events(self, items: Iterable[Item]) -> Iterator[Event]:
        """Yield what the items mean; an event keeps its bytes unless it was mended."""
        for event in self._relay.events(items):
            chunk = event.chunk
            if chunk is None:
                yield event
                continue
            found = chunk.get("choices") or []
            choices = [self._mend.choice(choice, "delta") for choice in found]
            counted = self._mend.usage(chunk.get("usage"))
            if counted is chunk.get("usage") and all(a is b for a, b in zip(choices, found, strict=True)):
                yield event
            else:
                changed = {**chunk, "choices": choices}
                if counted is not None:
                    changed["usage"] = counted
                yield Event(changed)

    def end(self) -> Iterator[Event]:
        """Yield nothing: what was not said stays unsaid."""
        return iter(())


class Mend:
    """The repairs of one answer. Each returns what it was given when there is nothing to mend."""

    __slots__ = ("_json_tool", "_tools", "_wire")

    def __init__(self, wire: str, *, json_tool: bool) -> None:
        self._wire = wire
        self._json_tool = json_tool
        self._tools = False

    def choice(self, choice: Any, name: str) -> Any:
        """Mend one choice of an answer (``name`` message) or of a chunk (``name`` delta)."""
        if not isinstance(choice, dict):
            return choice
        message = choice.get(name)
        mended = self._message(message) if isinstance(message, dict) else message
        reason = choice.get("finish_reason")
        tools = isinstance(mended, dict) and bool(mended.get("tool_calls"))
        self._tools = self._tools or tools
        finish = self._finish(reason)
        if mended is message and finish is reason:
            return choice
        return {**choice, name: mended, "finish_reason": finish}

    def usage(self, usage: Any) -> Any:
        """Count xAI's reasoning into its completion, as OpenAI does, where the total shows that it is not yet."""
        if self._wire != "xai" or not isinstance(usage, dict):
            return usage
        details = usage.get("completion_tokens_details")
        reasoning = details.get("reasoning_tokens") if isinstance(details, dict) else None
        prompt, spoken, total = (whole_number(usage.get(name)) for name in _COUNTS)
        thoughts = whole_number(reasoning)
        if not thoughts or total != prompt + spoken + thoughts:
            return usage
        return {**usage, "completion_tokens": spoken + thoughts}

    def _finish(self, reason: Any) -> Any:
        if self._json_tool and reason == "tool_calls":
            return "stop"
        if reason == "" or (self._wire == "xai" and reason == "stop" and self._tools):
            return "tool_calls" if self._tools else None
        return reason

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        if isinstance(message.get("content"), list):
            changed.update(_blocks(message["content"]))
        reasoning = message.get("reasoning")
        if isinstance(reasoning, str) and reasoning and not message.get("reasoning_content"):
            changed["reasoning_content"] = reasoning
        if self._json_tool and message.get("tool_calls"):
            parts = [(call.get("function") or {}).get("arguments") or "" for call in message["tool_calls"]]
            changed["content"] = "".join(parts)
            message = {key: value for key, value in message.items() if key != "tool_calls"}
        return {**message, **changed} if changed else message


def _blocks(blocks: list[Any]) -> dict[str, Any]:
    """Return Mistral's and Databricks' content blocks as content and reasoning."""
    text: list[str] = []
    thoughts: list[str] = []
    for block in blocks:
        if not isinstance(block, Mapping):
            continue
        if block.get("type") == "text":
            text.append(str(block.get("text") or ""))
        inner = block.get("thinking") or block.get("summary")
        if isinstance(inner, str):
            thoughts.append(inner)
        elif isinstance(inner, list):
            thoughts.extend(str(part.get("text") or "") for part in inner if isinstance(part, Mapping))
    out: dict[str, Any] = {"content": "".join(text)}
    if thoughts:
        out["reasoning_content"] = "".join(thoughts)
    return out
