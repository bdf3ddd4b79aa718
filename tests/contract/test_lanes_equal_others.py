"""Wires without a demo provider: Cohere both ways, Bedrock through litellm's own call, each against a stub."""

from __future__ import annotations

import binascii
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from aiohttp import web

from gateway.forward.forwarder import HttpForwarder
from gateway.secrets import Secret
from router_core.deployment import Lane
from router_core.outcome import FailureKind as K
from tests.unit.gateway.forward.calls import answer, call_to, events, failure, forwarder, text_of

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TOOL: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Stub:
    """Answers every POST with what ``reply`` says, and remembers what came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.reply: Callable[[dict[str, Any]], web.Response] = lambda body: web.json_response({})
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.raw_path, headers, body))
        return self.reply(body)


@asynccontextmanager
async def stub() -> AsyncIterator[Stub]:
    made = Stub()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture
async def made() -> AsyncIterator[HttpForwarder]:
    async with forwarder() as one:
        yield one


# ---- Cohere ----

COHERE_USAGE: Final = {"billed_units": {"input_tokens": 5}, "tokens": {"input_tokens": 70, "output_tokens": 9}}
COHERE_ANSWER: Final = {
    "id": "c-1",
    "finish_reason": "MAX_TOKENS",
    "message": {
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": " world"}],
    },
    "usage": COHERE_USAGE,
}
COHERE_EVENTS: Final[list[dict[str, Any]]] = [
    {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant"}}},
    {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will look."}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hel"}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "lo"}}}},
    {"type": "content-end", "index": 0},
    {
        "type": "tool-call-start",
        "index": 0,
        "delta": {"message": {"tool_calls": {"id": "t1", "type": "function", "function": {"name": "get_weather"}}}},
    },
    {"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": '{"ci'}}}}},
    {
        "type": "tool-call-delta",
        "index": 0,
        "delta": {"message": {"tool_calls": {"function": {"arguments": 'ty":1}'}}}},
    },
    {"type": "tool-call-end", "index": 0},
    {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": COHERE_USAGE}},
]


def sse(rows: list[dict[str, Any]]) -> web.Response:
    text = "".join(f"event: {row['type']}\ndata: {json.dumps(row)}\n\n" for row in rows)
    return web.Response(text=text, content_type="text/event-stream")


async def test_cohere_gets_the_same_request_from_both_lanes(made: HttpForwarder) -> None:
    body = {"tools": [TOOL], "max_tokens": 40, "temperature": 0.2, "stop": ["END"], "seed": 3, "top_p": 0.9}
    async with stub() as fake:
        fake.reply = lambda _: web.json_response(COHERE_ANSWER)
        await answer(made, call_to(fake.url, "cohere_chat", body, model="command-a-03-2025"))
        theirs = call_to(fake.url + "/v2/chat", "cohere_chat", body, model="command-a-03-2025", lane=Lane.ACOMPLETION)
        await answer(made, theirs)
        (our_path, our_headers, ours), (their_path, _, other) = fake.seen
    assert our_path == their_path == "/v2/chat"
    assert our_headers["authorization"].startswith("Bearer ")
    assert ours.pop("stream") is False
    other.pop("stream", None)
    assert ours == other


async def test_coheres_answer_keeps_its_finish_reason(made: HttpForwarder) -> None:
    """litellm's own call says ``stop`` to an answer that was cut at its limit."""
    async with stub() as fake:
        fake.reply = lambda _: web.json_response(COHERE_ANSWER)
        ours = (await answer(made, call_to(fake.url, "cohere_chat"))).body
        call = call_to(fake.url + "/v2/chat", "cohere_chat", lane=Lane.ACOMPLETION)
        theirs = (await answer(made, call)).body
    assert ours["choices"][0]["message"]["content"] == theirs["choices"][0]["message"]["content"] == "Hello world"
    assert (ours["usage"]["prompt_tokens"], ours["usage"]["completion_tokens"]) == (70, 9)
    assert theirs["usage"]["prompt_tokens"] == 70
    assert (ours["choices"][0]["finish_reason"], theirs["choices"][0]["finish_reason"]) == ("length", "stop")


async def test_coheres_stream_is_read_whole(made: HttpForwarder) -> None:
    """litellm's own call reads neither the tool calls, nor the end, nor the usage of this stream."""
    async with stub() as fake:
        fake.reply = lambda _: sse(COHERE_EVENTS)
        got = await events(made, call_to(fake.url, "cohere_chat", {"tools": [TOOL]}, stream=True))
    chunks = [event.chunk for event in got if event.chunk]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert text_of(got) == "Hello"
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "I will look."
    calls = [part for delta in deltas for part in delta.get("tool_calls", ())]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("t1", "get_weather")
    assert "".join(part["function"]["arguments"] for part in calls) == '{"city":1}'
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]] == ["tool_calls"]
    assert chunks[-1]["usage"]["completion_tokens"] == 9
    assert got[-1].done


async def test_a_cut_cohere_stream_does_not_look_finished(made: HttpForwarder) -> None:
    async with stub() as fake:
        fake.reply = lambda _: sse(COHERE_EVENTS[:5])
        got = await events(made, call_to(fake.url, "cohere_chat", stream=True))
    assert text_of(got) == "Hello"
    assert not any(event.done for event in got)


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice", "REQUIRED"),
        ({"tools": [TOOL], "tool_choice": "none"}, "tool_choice", "NONE"),
        ({"response_format": {"type": "json_object"}}, "response_format", {"type": "json_object"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}},
            "response_format",
            {"type": "json_object", "json_schema": {"type": "object"}},
        ),
        ({"logprobs": True}, "logprobs", True),
        ({"top_k": 5}, "k", 5),
    ],
)
async def test_what_cohere_takes_in_words_of_its_own(
    made: HttpForwarder, body: dict[str, Any], field: str, value: object
) -> None:
    async with stub() as fake:
        fake.reply = lambda _: web.json_response(COHERE_ANSWER)
        await answer(made, call_to(fake.url, "cohere_chat", body))
        assert fake.seen[0][2][field] == value


async def test_coheres_errors_have_their_kind(made: HttpForwarder) -> None:
    async with stub() as fake:
        fake.reply = lambda _: web.json_response({"message": "too many tokens: total length 9 exceeds 8"}, status=400)
        found, _ = await failure(made, call_to(fake.url, "cohere_chat"))
        assert found.kind is K.CONTEXT_OVERFLOW
        fake.reply = lambda _: web.json_response({"message": "invalid api token"}, status=401)
        found, _ = await failure(made, call_to(fake.url, "cohere_chat"))
        assert found.kind is K.AUTH


# ---- Bedrock ----

BEDROCK_ANSWER: Final = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello from far away"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 11, "outputTokens": 4, "totalTokens": 15},
    "metrics": {"latencyMs": 1},
}
MODEL: Final = "anthropic.claude-3-5-sonnet-20240620-v1:0"


def frame(kind: str, payload: dict[str, Any]) -> bytes:
    """One message of AWS's event stream: lengths, checksum, headers, payload, checksum."""
    names = {":message-type": "event", ":event-type": kind, ":content-type": "application/json"}
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in names.items()
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", len(headers) + len(body) + 16, len(headers))
    message = prelude + struct.pack(">I", binascii.crc32(prelude)) + headers + body
    return message + struct.pack(">I", binascii.crc32(message))


BEDROCK_STREAM: Final[list[tuple[str, dict[str, Any]]]] = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": " again"}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": {"inputTokens": 11, "outputTokens": 2, "totalTokens": 13}}),
]


@pytest.fixture
async def aws() -> AsyncIterator[HttpForwarder]:
    made = HttpForwarder(secrets={"KEY": Secret("AKIDEXAMPLE:wJalrXUtnFEMI-example-secret")}.get)
    await made.open()
    yield made
    await made.close()


def bedrock(url: str, body: dict[str, Any] | None = None, *, stream: bool = False) -> Any:
    options = {"aws_region_name": "us-east-1"}
    return call_to(url, "bedrock", body, model=MODEL, options=options, stream=stream)


async def test_bedrock_is_signed_and_translated(aws: HttpForwarder) -> None:
    async with stub() as fake:
        fake.reply = lambda _: web.json_response(BEDROCK_ANSWER)
        got = await answer(aws, bedrock(fake.url, {"tools": [TOOL], "max_tokens": 40, "n": 1}))
        path, headers, sent = fake.seen[0]
    assert "converse" in path
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert sent["inferenceConfig"]["maxTokens"] == 40
    assert sent["toolConfig"]["tools"][0]["toolSpec"]["name"] == "get_weather"
    assert got.body["choices"][0]["message"]["content"] == "Hello from far away"
    assert got.body["choices"][0]["finish_reason"] == "stop"
    assert got.body["usage"]["prompt_tokens"] == 11


async def test_bedrocks_stream_is_read(aws: HttpForwarder) -> None:
    def reply(_: dict[str, Any]) -> web.Response:
        body = b"".join(frame(kind, payload) for kind, payload in BEDROCK_STREAM)
        return web.Response(body=body, content_type="application/vnd.amazon.eventstream")

    async with stub() as fake:
        fake.reply = reply
        got = await events(aws, bedrock(fake.url, stream=True))
    assert text_of(got) == "Hello again"
    assert got[-1].done
    assert [c["finish_reason"] for e in got if e.chunk for c in e.chunk["choices"] if c["finish_reason"]] == ["stop"]


async def test_a_cut_bedrock_stream_does_not_look_finished(aws: HttpForwarder) -> None:
    def reply(_: dict[str, Any]) -> web.Response:
        body = b"".join(frame(kind, payload) for kind, payload in BEDROCK_STREAM[:3])
        return web.Response(body=body, content_type="application/vnd.amazon.eventstream")

    async with stub() as fake:
        fake.reply = reply
        got = await events(aws, bedrock(fake.url, stream=True))
    assert text_of(got) == "Hello again"
    assert not any(event.done for event in got)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, K.INVALID_REQUEST), (403, K.AUTH), (429, K.RATE_LIMITED), (500, K.SERVER), (503, K.SERVER)],
)
async def test_bedrocks_errors_have_their_kind(aws: HttpForwarder, status: int, kind: K) -> None:
    async with stub() as fake:
        fake.reply = lambda _: web.json_response({"message": "no"}, status=status)
        found, _ = await failure(aws, bedrock(fake.url))
        assert len(fake.seen) == 1
    assert found.kind is kind


async def test_images_are_not_fetched_for_bedrock(aws: HttpForwarder) -> None:
    part = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}
    async with stub() as fake:
        found, _ = await failure(aws, bedrock(fake.url, {"messages": [{"role": "user", "content": [part]}]}))
        assert (found.kind, found.sent, fake.seen) == (K.INVALID_REQUEST, False, [])
