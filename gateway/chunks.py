"""Reading OpenAI's chunks and answers: what is content, what an answer says of itself, which words are ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import orjson

from router_core.deployment import Deployment, Provider
from router_core.outcome import Failure, FailureKind, Usage
from router_core.ports import Event

CONTENT: Final = (
    "content",
    "reasoning_content",
    "reasoning",
    "tool_calls",
    "function_call",
    "refusal",
    "audio",
    "thinking_blocks",
)
"""Delta fields that are real content when not empty; role-only deltas, comments and keep-alives are not."""

_DATED: Final = re.compile(r"[-@:]?v?\d[\d.\-]*\Z")
_CHARS_PER_TOKEN: Final = 4
_LONGEST_NAME: Final = 200


class Tail(NamedTuple):
    """What the end of an answer said of it."""

    finish_reason: str | None = None
    refusal: bool = False
    tool_calls: int = 0
    upstream_id: str = ""
    skipped: int = 0
    provider_cost_usd: float | None = None


NO_TAIL: Final = Tail()


def begins(chunk: Mapping[str, Any]) -> bool:
    """Say whether a chunk holds real content or ends a choice."""
    for choice in _choices(chunk):
        if choice.get("finish_reason"):
            return True
        delta = choice.get("delta")
        if _says(delta) if type(delta) is dict else choice.get("text"):
            return True
    return False


def speaks(events: Sequence[Event]) -> bool:
    """Say whether events hold more than signs of life."""
    return not all(event.comment for event in events)


def only_text(choices: Sequence[Any]) -> str:
    """Return the text that is all the only choice of a chunk brings, as most do; empty where there is more to look at.

    The choice has its number, says nothing of its end, and its delta holds the text alone.
    """
    try:
        choice = choices[0]
        delta = choice["delta"]
        text = delta["content"]
        usual = len(choices) == len(delta) == 1 and type(choice["index"]) is int and not choice.get("finish_reason")
    except (IndexError, KeyError, TypeError):
        return ""
    return text if usual and type(text) is str else ""


def ends_unsaid(events: Sequence[Event]) -> bool:
    """Say whether events hold one that was no JSON and no content at all: the answer can only have been in there."""
    if not any(event.malformed for event in events):
        return False
    return not any(_says(delta) for event in events if event.chunk is not None for delta in _deltas(event.chunk))


def _choices(chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
    choices = chunk.get("choices")
    return [choice for choice in choices if type(choice) is dict] if type(choices) is list else []


def _deltas(chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [delta for choice in _choices(chunk) if type(delta := choice.get("delta")) is dict]


def _says(delta: Mapping[str, Any]) -> bool:
    return any(delta.get(name) for name in CONTENT)


def mend_content(message: dict[str, Any]) -> None:
    """Put content that is no string into words: parts of text are joined, thoughts go where thoughts belong."""
    content = message["content"]
    parts = content if type(content) is list else [content]
    message["content"] = "".join(map(_words_of, parts))
    thoughts = "".join(_words_of(part["thinking"]) for part in parts if type(part) is dict and "thinking" in part)
    if thoughts and not message.get("reasoning_content"):
        message["reasoning_content"] = thoughts


def _words_of(part: Any) -> str:
    if type(part) is list:
        return "".join(map(_words_of, part))
    if type(part) is dict:
        part = part.get("text")
    return "" if part is None else str(part)


def characters(chunk: Mapping[str, Any]) -> int:
    """Return how many characters of content a chunk holds, thoughts included."""
    return sum(len(value) for delta in _deltas(chunk) for name in CONTENT if type(value := delta.get(name)) is str)


def to_json(chunk: Mapping[str, Any], default: Callable[[Any], Any] | None = None) -> bytes:
    """Return the JSON of what a provider may have a part in; ``default`` puts what JSON does not know into its words.

    Half of a character, which UTF-8 cannot say, is escaped; numbers may be larger and nesting deeper than orjson's.
    """
    try:
        return orjson.dumps(chunk, default)
    except TypeError:
        return json.dumps(chunk, separators=(",", ":"), default=default).encode()


def joined(parts: Iterable[str]) -> str:
    """Return pieces of text as one; two halves of a character that came apart are one again, a lone one is U+FFFD."""
    text = "".join(parts)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def joined_calls(pieces: Iterable[object]) -> list[dict[str, Any]]:
    """Return tool calls from the pieces a stream sends of them; ``arguments`` is what was sent, be it JSON or not.

    A piece belongs to the last call of its index, unless it brings another id: some hosts number every call 0, or none.
    """
    calls: list[dict[str, Any]] = []
    latest: dict[int | None, dict[str, Any]] = {}
    for piece in pieces:
        if type(piece) is not dict:
            continue
        name, index = piece.get("id"), piece.get("index")
        if type(index) is not int:
            index = None
        call = latest.get(index)
        if call is None or (name and name != call["id"]):
            call = latest[index] = {"id": name, "type": piece.get("type") or "function"}
            calls.append(call)
        function = piece.get("function")
        if type(function) is dict:
            known = call.setdefault("function", {"name": "", "arguments": ""})
            known["name"] = known["name"] or function.get("name") or ""
            more = function.get("arguments")
            known["arguments"] += more if type(more) is str else ""
    return calls


def safe_name(value: object) -> str:
    """Return a provider's name for something as it may be written down: bounded, whole characters; empty for none."""
    return joined((value[:_LONGEST_NAME],)) if type(value) is str else ""


def before_content(failure: Failure) -> Failure:
    """Return a stream's failure as it counts when no content had come: nothing was lost yet, so it may be repeated."""
    if failure.kind in {FailureKind.STREAM_BROKEN, FailureKind.STREAM_TRUNCATED}:
        return replace(failure, kind=FailureKind.PROTOCOL)
    return failure


def shown_model(upstream: object, deployment: Deployment) -> str:
    """Return the model's name for the client: the upstream's if it is the registry's or a dated form of it."""
    if type(upstream) is str and upstream != deployment.model and upstream.startswith(deployment.model):
        return upstream if _DATED.match(upstream[len(deployment.model) :]) else deployment.model
    return deployment.model


def limit_name(body: Mapping[str, Any], deployment: Deployment, provider: Provider) -> str:
    """Return the parameter that carries an output limit: the client's own, else what the deployment takes."""
    for name in ("max_completion_tokens", "max_tokens"):
        if body.get(name) is not None:
            return name
    modern = provider.wire in {"openai", "azure"} and (deployment.reasoning or provider.base_url is None)
    return "max_completion_tokens" if modern else "max_tokens"


def estimate_usage(input_tokens: int, characters: int) -> Usage:
    """Return a usage computed by us for an answer whose provider sent none; marked as estimated."""
    return Usage(input=input_tokens, output=(characters + _CHARS_PER_TOKEN - 1) // _CHARS_PER_TOKEN, estimated=True)


@dataclass(slots=True)
class AnswerFacts:
    """What a whole answer holds: characters written, tool calls, how it ended."""

    characters: int = 0
    tool_calls: int = 0
    finish_reason: str | None = None
    refusal: bool = False


def read_answer(body: Mapping[str, Any]) -> AnswerFacts:
    """Read a whole answer's choices; shapes we do not know count as nothing."""
    facts = AnswerFacts()
    for choice in body.get("choices") or ():
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            continue
        facts.finish_reason = facts.finish_reason or choice.get("finish_reason")
        for name in ("content", "reasoning_content", "refusal"):
            text = message.get(name)
            facts.characters += len(text) if isinstance(text, str) else 0
        facts.refusal = facts.refusal or bool(message.get("refusal"))
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            facts.tool_calls += len(calls)
            facts.characters += sum(len(str(call)) for call in calls)
    facts.refusal = facts.refusal or facts.finish_reason == "content_filter"
    return facts


def as_chunks(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a whole answer as the chunks of a stream: the content of each choice, its end, then usage."""
    head = {"id": body.get("id"), "object": "chat.completion.chunk", "created": body.get("created")}
    head["model"] = body.get("model")
    pieces: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    for choice in body.get("choices") or ():
        message = dict(choice.get("message") or {})
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            known = (call for call in calls if isinstance(call, Mapping))
            message["tool_calls"] = [{"index": place, **call} for place, call in enumerate(known)]
        delta = {name: value for name, value in message.items() if value is not None}
        index = choice.get("index", 0)
        pieces.append({**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]})
        ends.append({**head, "choices": [{"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}]})
    usage = body.get("usage")
    tail = [{**head, "choices": [], "usage": usage}] if usage else []
    return pieces + ends + tail
