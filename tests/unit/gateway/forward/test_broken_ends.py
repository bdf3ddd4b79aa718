"""Answers whose own last word is that they are none, on the wires that have such a word."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.forward.forwarder import HttpForwarder
from router_core.errors import AttemptFailed
from router_core.outcome import FailureKind
from router_core.ports import Answer, Call
from tests.fakes.raw_provider import event, sse, whole
from tests.fakes.sockets import raw_server
from tests.unit.gateway.forward.calls import call_to, forwarder

pytestmark = pytest.mark.anyio

BASE = {"gemini": "/v1beta", "anthropic": "", "cohere_chat": "", "openai": "/v1"}


def candidate(reason: str) -> dict[str, Any]:
    return {"candidates": [{"index": 0, "finishReason": reason, "content": {"role": "model", "parts": []}}]}


COHERE = {"id": "x", "message": {"role": "assistant", "content": [{"type": "text", "text": "hal"}]}}
OPENAI = {"choices": [{"index": 0, "message": {"content": "hal"}, "delta": {}, "finish_reason": "error"}]}


async def ends(made: HttpForwarder, call: Call) -> list[Any]:
    """Return how the choices of an answer ended, a stream read to its end."""
    found = await made.send(call)
    bodies = [found.body] if isinstance(found, Answer) else [each.chunk async for each in found if each.chunk]
    return [choice["finish_reason"] for body in bodies for choice in body["choices"] if choice.get("finish_reason")]


@pytest.mark.parametrize(
    ("wire", "stream", "reply"),
    [
        ("gemini", False, whole(candidate("MALFORMED_FUNCTION_CALL"))),
        ("gemini", True, sse() + event(candidate("MALFORMED_FUNCTION_CALL"))),
        ("gemini", False, whole(candidate("UNEXPECTED_TOOL_CALL"))),
        ("cohere_chat", False, whole({**COHERE, "finish_reason": "ERROR"})),
        ("openai", False, whole(OPENAI)),
        ("openai", True, sse() + event(OPENAI)),
        ("anthropic", True, sse() + event(b"Internal Server Error", "error")),
    ],
)
async def test_an_answer_that_says_it_is_none_is_a_failure(wire: str, stream: bool, reply: bytes):
    async with raw_server(reply) as port, forwarder() as made:
        call = call_to(f"http://127.0.0.1:{port}{BASE[wire]}", wire, stream=stream)
        with pytest.raises(AttemptFailed) as caught:
            await ends(made, call)
    assert caught.value.failure.kind in {FailureKind.PROTOCOL, FailureKind.SERVER}


async def test_a_reason_without_a_word_of_openai_s_ends_an_answer_all_the_same():
    body = json.loads(json.dumps(candidate("OTHER")))
    body["candidates"][0]["content"]["parts"] = [{"text": "so far"}]
    async with raw_server(whole(body)) as port, forwarder() as made:
        assert await ends(made, call_to(f"http://127.0.0.1:{port}/v1beta", "gemini")) == ["stop"]
