"""Gemini's wire: ``POST /v1beta/models/{model}:generateContent`` and ``:streamGenerateContent``, ``GET …/models``.

Shapes after https://ai.google.dev/api/generate-content (checked 2026-11-23). Keys are read in camelCase and in
snake_case, as Google's servers do; they are written in camelCase.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from gateway.demo.answer import Answer, Choice, Tokens
from gateway.demo.ask import (
    Ask,
    Complaint,
    Json,
    Refused,
    pieces,
)
from gateway.demo.gemini_ask import read_gemini
from gateway.demo.wire import Event, data_event

PATH: Final = re.compile(r"/models/([^/:]+):(generateContent|streamGenerateContent)$")
_STATUS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "CANCELLED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
_FINISH: Final = {"length": "MAX_TOKENS", "content_filter": "SAFETY", "refusal": "SAFETY"}


class GeminiWire:
    """Gemini's wire. It has no end mark: the event that carries ``finishReason`` is the last."""

    name = "gemini"
    done: bytes | None = None

    def is_chat(self, method: str, path: str) -> bool:
        """Say whether a call asks for an answer."""
        return method == "POST" and PATH.search(path) is not None

    def is_models(self, method: str, path: str) -> bool:
        """Say whether a call asks for the list of models."""
        return method == "GET" and path.endswith("/models")

    def read(self, body: Json, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Ask:
        """Read a generateContent request. Raises ``Refused`` 400 for what Google would refuse."""
        del headers
        match = PATH.search(path)
        model, verb = match.groups() if match else ("", "")
        if verb == "streamGenerateContent" and query.get("alt") != "sse":
            raise Refused(400, "bad_request", "The demo provider streams with alt=sse only.")
        return read_gemini(body, model, stream=verb == "streamGenerateContent")

    def whole(self, answer: Answer, ask: Ask) -> Json:
        """Render a ``GenerateContentResponse``."""
        body: Json = {"candidates": [_candidate(at, choice, ask) for at, choice in enumerate(answer.choices)]}
        return body | _tail(answer, final=True)

    def events(self, answer: Answer, ask: Ask) -> list[Event]:
        """Render one response a piece; the last has the finish reason and the full usage."""
        del ask
        out: list[Event] = []
        for index, choice in enumerate(answer.choices):
            parts = [{"text": piece, "thought": True} for piece in choice.reasoning]
            parts += [{"text": piece} for piece in choice.chunks]
            parts += [_call_part(call.name, call.arguments) for call in choice.tool_calls]
            for part in parts:
                row = {"content": {"parts": [part], "role": "model"}, "index": index}
                out.append(Event(data_event({"candidates": [row], **_tail(answer, final=False)}), content=True))
            end: Json = {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": _finish(choice)}
            if choice.refusal is not None:
                del end["content"]
            out.append(Event(data_event({"candidates": [{**end, "index": index}], **_tail(answer, final=True)})))
        return out or [Event(data_event({"candidates": [], **_tail(answer, final=True)}))]

    def complain(self, complaint: Complaint) -> Json:
        """Render Google's error body; a rate limit names its delay in the details, as Google does."""
        status = _STATUS.get(complaint.status, "INTERNAL" if complaint.status >= 500 else "INVALID_ARGUMENT")
        message = complaint.message
        if complaint.kind == "context_length_exceeded":
            message = "The input token count (9000) exceeds the maximum number of tokens allowed (8192)."
        error: Json = {"code": complaint.status, "message": message, "status": status}
        if complaint.retry_after_s is not None:
            retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{complaint.retry_after_s:g}s"}
            error["details"] = [retry]
        return {"error": error}

    def error_event(self, complaint: Complaint) -> bytes:
        """Render an error within a stream."""
        return data_event(self.complain(complaint))

    def models(self, names: Sequence[str]) -> Json:
        """Render the list of models."""
        methods = ["generateContent", "streamGenerateContent"]
        rows = [
            {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods} for name in names
        ]
        return {"models": rows}

    def empty(self, body: Json) -> Json:
        """Return the body without candidates."""
        return {**body, "candidates": []}

    def headers(self, answer_id: str) -> dict[str, str]:
        """Return the headers Google is known for."""
        return {"x-gemini-service-tier": "standard", "Server-Timing": "gfet4t7; dur=1", "x-demo-answer": answer_id}


def _finish(choice: Choice) -> str:
    return _FINISH.get(choice.finish, "STOP")


def _call_part(name: str, arguments: str) -> Json:
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        value = None
    return {"functionCall": {"name": name, "args": value if isinstance(value, dict) else {"value": arguments}}}


def _candidate(index: int, choice: Choice, ask: Ask) -> Json:
    parts: list[Json] = []
    if choice.reasoning:
        parts.append({"text": "".join(choice.reasoning), "thought": True})
    if choice.text or not choice.tool_calls:
        parts.append({"text": choice.text})
    parts += [_call_part(call.name, call.arguments) for call in choice.tool_calls]
    row: Json = {"content": {"parts": parts, "role": "model"}, "finishReason": _finish(choice), "index": index}
    if choice.refusal is not None:
        del row["content"]
    if ask.logprobs:
        row["avgLogprobs"] = -0.04
        row["logprobsResult"] = _logprobs(choice.text, ask.top_logprobs)
    return row


def _logprobs(text: str, top: int) -> Json:
    tokens = pieces(text)
    chosen = [{"token": token, "logProbability": -0.01 * (len(token) % 7 + 1)} for token in tokens]
    alternatives = [{"token": f" alt{i}", "logProbability": -1.0 - i} for i in range(20)]
    rows = [{"candidates": [row, *alternatives][: max(top, 1)]} for row in chosen]
    return {"chosenCandidates": chosen, "topCandidates": rows}


def _tail(answer: Answer, *, final: bool) -> Json:
    """Return what every response ends with; usage before the last event knows only the input."""
    tail: Json = {"modelVersion": answer.model, "responseId": answer.id}
    if answer.usage is not None:
        tail["usageMetadata"] = _usage(answer.usage, final=final)
    return tail


def _usage(tokens: Tokens, *, final: bool) -> Json:
    usage: Json = {
        "promptTokenCount": tokens.input,
        "totalTokenCount": tokens.input + (tokens.output if final else 0),
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens.input}],
    }
    if final:
        usage["candidatesTokenCount"] = tokens.output - tokens.reasoning
    if final and tokens.reasoning:
        usage["thoughtsTokenCount"] = tokens.reasoning
    if tokens.cached:
        usage["cachedContentTokenCount"] = tokens.cached
    return usage
