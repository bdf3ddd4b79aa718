"""Wires that look like OpenAI's: shaped by litellm going up, mended where needed coming back, steered by nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.forward.forwarder import HttpForwarder, needs_litellm
from gateway.forward.wire_openai_like import Mend
from gateway.forward.wires import WIRES
from router_core.deployment import Lane, Provider
from router_core.outcome import FailureKind as K
from tests.fakes.provider import FakeProvider
from tests.unit.gateway.forward.calls import answer, call_to, events, failure, forwarder, text_of

pytestmark = pytest.mark.anyio

LIKE = sorted(name for name, wire in WIRES.items() if wire.lane is Lane.TRANSLATE and wire.shape == "openai")


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider("openai") as made:
        yield made


@pytest.fixture
async def made() -> AsyncIterator[HttpForwarder]:
    async with forwarder() as one:
        yield one


@pytest.mark.parametrize("wire", LIKE)
async def test_every_wire_like_openais_answers_and_streams_untouched(
    fake: FakeProvider, made: HttpForwarder, wire: str
) -> None:
    body = {"temperature": 0.5, "max_tokens": 30, "x_unknown": {"a": [1]}}
    whole = await answer(made, call_to(fake.base_url, wire, body))
    assert fake.requests[-1].path == "/v1/chat/completions"
    assert fake.requests[-1].body["x_unknown"] == {"a": [1]}
    assert "stream" not in fake.requests[-1].body
    assert whole.raw is not None
    assert orjson.loads(whole.raw) == whole.body
    got = await events(made, call_to(fake.base_url, wire, body, stream=True))
    assert fake.requests[-1].body["stream"] is True
    assert all(event.raw is not None for event in got if event.chunk)
    assert text_of(got) == whole.body["choices"][0]["message"]["content"]
    assert got[-1].done


STEERING = {
    "api_base": "http://127.0.0.1:1",
    "base_url": "http://127.0.0.1:1",
    "api_key": "stolen",
    "extra_headers": {"x-evil": "1"},
    "custom_llm_provider": "openai",
    "mock_response": "mocked",
    "model_list": [{"model_name": "x"}],
    "timeout": 0.001,
    "num_retries": 9,
    "fallbacks": ["other"],
}


@pytest.mark.parametrize("wire", ["openai", "groq", "mistral", "openrouter"])
async def test_a_body_steers_nothing(fake: FakeProvider, made: HttpForwarder, wire: str) -> None:
    got = await answer(made, call_to(fake.base_url, wire, STEERING))
    assert len(fake.requests) == 1
    assert "x-evil" not in fake.requests[0].headers
    assert "stolen" not in fake.requests[0].headers["authorization"]
    assert "mocked" not in got.body["choices"][0]["message"]["content"]


@pytest.mark.parametrize("name", sorted(STEERING))
async def test_a_body_does_not_steer_litellms_own_call(fake: FakeProvider, made: HttpForwarder, name: str) -> None:
    call = call_to(fake.base_url, "openai", {name: STEERING[name]}, lane=Lane.ACOMPLETION)
    found, _ = await failure(made, call)
    assert (found.kind, found.param, found.sent) == (K.INVALID_REQUEST, name, False)
    assert fake.requests == []


async def test_unsupported_parameters_are_dropped_only_when_allowed(fake: FakeProvider, made: HttpForwarder) -> None:
    body = {"logprobs": True, "x_unknown": 1}
    await answer(made, call_to(fake.base_url, "cerebras", body))
    assert fake.requests[-1].body["logprobs"] is True
    got = await answer(made, call_to(fake.base_url, "cerebras", body, drop_params=True))
    assert got.dropped_params == ("logprobs",)
    assert "logprobs" not in fake.requests[-1].body
    assert fake.requests[-1].body["x_unknown"] == 1


async def test_pdfs_by_address_are_not_fetched_but_images_go_on(fake: FakeProvider, made: HttpForwarder) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}
    await answer(made, call_to(fake.base_url, "groq", {"messages": [{"role": "user", "content": [image]}]}))
    assert "https://example.com/x.png" in str(fake.requests[-1].body)
    part = {"type": "file", "file": {"file_id": f"{fake.origin}/secret.pdf"}}
    found, _ = await failure(made, call_to(fake.base_url, "groq", {"messages": [{"role": "user", "content": [part]}]}))
    assert found.kind is K.INVALID_REQUEST
    assert len(fake.requests) == 1


async def test_requests_that_cannot_be_read_are_the_clients_fault(fake: FakeProvider, made: HttpForwarder) -> None:
    for body in ({"messages": ["x"]}, {"messages": [{"role": "user", "content": 7}]}, {"tools": "no"}):
        call = call_to(fake.base_url, "anthropic", body)
        found, _ = await failure(made, call)
        assert found.kind is K.INVALID_REQUEST
        assert "litellm" not in found.message.lower()
    assert fake.requests == []


# ---- the repairs ----


def mended(wire: str, choice: dict[str, Any], name: str = "message", *, json_tool: bool = False) -> Any:
    return Mend(wire, json_tool=json_tool).choice(choice, name)


def test_what_needs_no_mending_is_the_same_object() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    assert mended("groq", choice) is choice


def test_reasoning_has_one_name() -> None:
    got = mended("groq", {"message": {"content": "x", "reasoning": "because"}, "finish_reason": "stop"})
    assert got["message"] == {"content": "x", "reasoning": "because", "reasoning_content": "because"}


def test_mistrals_blocks_become_text_and_reasoning() -> None:
    blocks = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm "}, {"type": "text", "text": "ok"}]},
        {"type": "text", "text": "Hel"},
        {"type": "text", "text": "lo"},
    ]
    got = mended("mistral", {"delta": {"content": blocks}, "finish_reason": None}, "delta")
    assert got["delta"] == {"content": "Hello", "reasoning_content": "hm ok"}


def test_the_tool_that_stands_for_a_schema_becomes_content() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "json_tool_call", "arguments": '{"a":1}'}}
    message = {"content": None, "tool_calls": [call]}
    got = mended("groq", {"message": message, "finish_reason": "tool_calls"}, json_tool=True)
    assert got == {"message": {"content": '{"a":1}'}, "finish_reason": "stop"}


def test_an_empty_finish_reason_is_mended() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    assert mended("xai", {"message": {"tool_calls": [call]}, "finish_reason": ""})["finish_reason"] == "tool_calls"
    assert mended("xai", {"message": {"content": "x"}, "finish_reason": ""})["finish_reason"] is None
    mend = Mend("xai", json_tool=False)
    mend.choice({"delta": {"tool_calls": [call]}, "finish_reason": None}, "delta")
    assert mend.choice({"delta": {}, "finish_reason": "stop"}, "delta")["finish_reason"] == "tool_calls"


def test_xais_reasoning_is_counted_into_its_completion_once() -> None:
    mend = Mend("xai", json_tool=False)
    details = {"completion_tokens_details": {"reasoning_tokens": 30}}
    apart = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45, **details}
    assert mend.usage(apart)["completion_tokens"] == 35
    within = {"prompt_tokens": 10, "completion_tokens": 35, "total_tokens": 45, **details}
    assert mend.usage(within) is within
    assert Mend("groq", json_tool=False).usage(apart) is apart


def test_which_providers_need_litellm() -> None:
    assert not needs_litellm(Provider(id="a", wire="openai"))
    assert not needs_litellm(Provider(id="a", wire="azure"))
    assert needs_litellm(Provider(id="a", wire="anthropic"))
    assert needs_litellm(Provider(id="a", wire="bedrock"))
    assert needs_litellm(Provider(id="a", wire="openai", lane=Lane.ACOMPLETION))
    assert not needs_litellm(Provider(id="a", wire="groq", lane=Lane.RELAY))
