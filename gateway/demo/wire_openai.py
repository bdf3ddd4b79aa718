"""OpenAI's wire: ``POST /v1/chat/completions`` and ``GET /v1/models``.

Shapes after https://platform.openai.com/docs/api-reference/chat (checked 2026-11-23).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.demo.answer import Answer, Choice, Tokens
from gateway.demo.ask import (
    Ask,
    Complaint,
    Image,
    Json,
    Refused,
    Tool,
    dicts,
    image_from_url,
    input_tokens,
    pieces,
    positive,
    text_of,
)
from gateway.demo.wire import Event, data_event

_TYPES: Final = {
    401: "invalid_request_error",
    403: "permission_error",
    429: "requests",
    500: "server_error",
    502: "server_error",
    503: "server_error",
    504: "server_error",
}
_FINISH: Final = {"stop_sequence": "stop", "refusal": "stop"}
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_MAX_CHOICES: Final = 128


class OpenAIWire:
    """OpenAI's wire."""

    name = "openai"
    done: bytes | None = b"data: [DONE]\n\n"

    def is_chat(self, method: str, path: str) -> bool:
        """Say whether a call asks for an answer; the base URL may or may not end in ``/v1``."""
        return method == "POST" and path.endswith("/chat/completions")

    def is_models(self, method: str, path: str) -> bool:
        """Say whether a call asks for the list of models."""
        return method == "GET" and path.endswith("/models")

    def read(self, body: Json, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Ask:
        """Read a chat completion request. Raises ``Refused`` 400 for what OpenAI would refuse."""
        del path, query, headers
        model, messages = text_of(body.get("model")), dicts(body.get("messages"))
        if not model:
            raise Refused(400, "bad_request", "you must provide a model parameter")
        if not messages:
            raise Refused(400, "bad_request", "Missing required parameter: 'messages'.", param="messages")
        texts, images, results = _read_messages(messages)
        tools, legacy = _read_tools(body)
        form = body.get("response_format") or {}
        n = positive(body.get("n"), "n") or 1
        if n > _MAX_CHOICES:
            raise Refused(400, "bad_request", "Invalid 'n': integer above maximum value 128.", param="n")
        stop = body.get("stop")
        limit = positive(body.get("max_completion_tokens") or body.get("max_tokens"), "max_completion_tokens")
        last = messages[-1]
        return Ask(
            model=model,
            stream=body.get("stream") is True,
            prompt=next((text for role, text in reversed(texts) if role == "user"), ""),
            system=next((text for role, text in texts if role in {"system", "developer"}), ""),
            input_tokens=input_tokens([text for _, text in texts], len(images)),
            n=n,
            max_tokens=limit,
            stop=(stop,) if isinstance(stop, str) else tuple(map(str, stop or ())),
            tools=tools,
            tool_choice=_tool_choice(body),
            parallel_tools=body.get("parallel_tool_calls") is not False,
            legacy_functions=legacy,
            tool_results=results,
            schema=(form.get("json_schema") or {}).get("schema"),
            json_object=form.get("type") == "json_object",
            images=images,
            prefill=text_of(last.get("content")) if last.get("role") == "assistant" else None,
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            logprobs=body.get("logprobs") is True,
            top_logprobs=int(body.get("top_logprobs") or 0),
            reasoning=body.get("reasoning_effort") not in {None, "none"},
            cacheable="\0".join(text for _, text in texts[:-1]),
        )

    def whole(self, answer: Answer, ask: Ask) -> Json:
        """Render a ``chat.completion``."""
        body = _frame(answer, "chat.completion")
        body["choices"] = [_whole_choice(index, choice, ask) for index, choice in enumerate(answer.choices)]
        if answer.usage is not None:
            body["usage"] = _usage(answer.usage)
        return body

    def events(self, answer: Answer, ask: Ask) -> list[Event]:
        """Render ``chat.completion.chunk`` events and ``[DONE]``; the choices of ``n`` come interleaved."""
        frame = _frame(answer, "chat.completion.chunk")
        if ask.include_usage:
            frame["usage"] = None
        streams = [_deltas(index, choice, ask) for index, choice in enumerate(answer.choices)]
        out: list[Event] = []
        while streams:
            rest = []
            for stream in streams:
                step = next(stream, None)
                if step is not None:
                    out.append(Event(data_event({**frame, "choices": [step[0]]}), step[1]))
                    rest.append(stream)
            streams = rest
        if ask.include_usage and answer.usage is not None:
            out.append(Event(data_event({**frame, "choices": [], "usage": _usage(answer.usage)})))
        out.append(Event(self.done or b""))
        return out

    def complain(self, complaint: Complaint) -> Json:
        """Render OpenAI's error object."""
        kind = "insufficient_quota" if complaint.kind == "insufficient_quota" else _TYPES.get(complaint.status)
        return {
            "error": {
                "message": complaint.message,
                "type": kind or ("server_error" if complaint.status >= 500 else "invalid_request_error"),
                "param": complaint.param,
                "code": complaint.code,
            }
        }

    def error_event(self, complaint: Complaint) -> bytes:
        """Render an error within a stream."""
        return data_event(self.complain(complaint))

    def models(self, names: Sequence[str]) -> Json:
        """Render the list of models."""
        rows = [{"id": name, "object": "model", "created": 1_767_225_600, "owned_by": "demo"} for name in names]
        return {"object": "list", "data": rows}

    def empty(self, body: Json) -> Json:
        """Return the body without choices."""
        return {**body, "choices": []}

    def headers(self, answer_id: str) -> dict[str, str]:
        """Return OpenAI's request id and rate limit headers."""
        return {
            "x-request-id": "req_" + answer_id,
            "openai-version": "2020-10-01",
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
        }


def _read_messages(messages: list[Json]) -> tuple[list[tuple[str, str]], tuple[Image, ...], tuple[str, ...]]:
    """Return (role, text) pairs, the images, and the tool results that came after the last assistant message."""
    texts: list[tuple[str, str]] = []
    images: list[Image] = []
    results: list[str] = []
    for index, message in enumerate(messages):
        role = text_of(message.get("role"))
        if role not in _ROLES:
            param = f"messages[{index}].role"
            raise Refused(400, "bad_request", f"Invalid value: '{role}'.", code="invalid_value", param=param)
        content = message.get("content")
        parts = dicts(content)
        text = content if isinstance(content, str) else "\n".join(text_of(part.get("text")) for part in parts)
        urls = [part.get("image_url") or {} for part in parts if part.get("type") == "image_url"]
        images += [image_from_url(text_of(url.get("url"))) for url in urls]
        texts.append((role, text))
        if role in {"tool", "function"}:
            results.append(text)
        elif role in {"assistant", "user"}:
            results.clear()
    return texts, tuple(images), tuple(results)


def _read_tools(body: Json) -> tuple[tuple[Tool, ...], bool]:
    """Return the tools on offer, and whether they came as the older ``functions``."""
    raw = [tool.get("function") or {} for tool in dicts(body.get("tools")) if tool.get("type") == "function"]
    legacy = not raw and bool(body.get("functions"))
    raw = dicts(body.get("functions")) if legacy else raw
    tools = (Tool(text_of(f.get("name")), text_of(f.get("description")), f.get("parameters") or {}) for f in raw)
    return tuple(tools), legacy


def _tool_choice(body: Json) -> str:
    choice = body.get("tool_choice", body.get("function_call", "auto"))
    if isinstance(choice, dict):
        return text_of(choice.get("name") or (choice.get("function") or {}).get("name"))
    return choice if choice in {"auto", "none", "required"} else "auto"


def _frame(answer: Answer, kind: str) -> Json:
    return {
        "id": "chatcmpl-" + answer.id,
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "choices": [],
        "service_tier": "default",
        "system_fingerprint": "fp_demo" + answer.id[:6],
    }


def _usage(tokens: Tokens) -> Json:
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _calls(choice: Choice) -> list[Json]:
    return [
        {"id": "call_" + call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in choice.tool_calls
    ]


def _finish(choice: Choice, ask: Ask) -> str:
    if choice.finish == "tool_calls" and ask.legacy_functions:
        return "function_call"
    return _FINISH.get(choice.finish, choice.finish)


def _whole_choice(index: int, choice: Choice, ask: Ask) -> Json:
    message: Json = {"role": "assistant", "content": choice.text or None, "refusal": choice.refusal, "annotations": []}
    if not choice.tool_calls and choice.refusal is None:
        message["content"] = choice.text
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    if choice.tool_calls and ask.legacy_functions:
        message["function_call"] = _calls(choice)[0]["function"]
    elif choice.tool_calls:
        message["tool_calls"] = _calls(choice)
    logprobs = {"content": _logprobs(choice.text, ask), "refusal": None} if ask.logprobs else None
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": _finish(choice, ask)}


def _logprobs(text: str, ask: Ask) -> list[Json]:
    """Return plausible log probabilities, one a token, the same for the same text."""
    rows: list[Json] = []
    for token in pieces(text):
        value = -0.01 * (len(token) % 7 + 1)
        raw = list(token.encode())
        top = [{"token": token, "logprob": value, "bytes": raw}]
        top += [{"token": f" alt{i}", "logprob": value - i, "bytes": list(b" alt%d" % i)} for i in range(1, 21)]
        rows.append({"token": token, "logprob": value, "bytes": raw, "top_logprobs": top[: ask.top_logprobs]})
    return rows


def _deltas(index: int, choice: Choice, ask: Ask) -> Iterator[tuple[Json, bool]]:
    """Yield (choice, carries content) for each chunk of one choice."""

    def step(delta: Json, finish: str | None = None, logprobs: Json | None = None) -> Json:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    yield step({"role": "assistant", "content": "", "refusal": None}), False
    for piece in choice.reasoning:
        yield step({"reasoning_content": piece}), True
    for piece in choice.chunks:
        logprobs: Any = {"content": _logprobs(piece, ask), "refusal": None} if ask.logprobs else None
        yield step({"content": piece}, logprobs=logprobs), True
    for piece in pieces(choice.refusal or ""):
        yield step({"refusal": piece}), True
    for number, call in enumerate(_calls(choice)):
        arguments = call["function"]["arguments"]
        opening = {**call["function"], "arguments": ""}
        if ask.legacy_functions:
            yield step({"function_call": opening}), True
        else:
            yield step({"tool_calls": [{**call, "index": number, "function": opening}]}), True
        for part in _fragments(arguments):
            function = {"arguments": part}
            delta = {"function_call": function} if ask.legacy_functions else None
            yield step(delta or {"tool_calls": [{"index": number, "function": function}]}), True
    yield step({}, _finish(choice, ask)), False


def _fragments(arguments: str, size: int = 12) -> list[str]:
    return [arguments[i : i + size] for i in range(0, len(arguments), size)]
