"""The translate lane against a real loopback provider: Anthropic's and Gemini's wires, well and broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.forward.forwarder import HttpForwarder
from router_core.outcome import FailureKind as K
from router_core.ports import Event, Stream
from tests.fakes.provider import FakeProvider
from tests.unit.gateway.forward.calls import KEY, answer, call_to, events, failure, forwarder, text_of

pytestmark = pytest.mark.anyio

WIRES = ("anthropic", "gemini")
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awA="
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(params=WIRES)
async def fake(request: pytest.FixtureRequest) -> AsyncIterator[FakeProvider]:
    async with FakeProvider(request.param) as made:
        yield made


@pytest.fixture
async def made() -> AsyncIterator[HttpForwarder]:
    async with forwarder() as one:
        yield one


def finishes(got: list[Event]) -> list[str]:
    return [c["finish_reason"] for e in got if e.chunk for c in e.chunk["choices"] if c["finish_reason"]]


async def test_an_answer_has_openais_shape(fake: FakeProvider, made: HttpForwarder) -> None:
    got = await answer(made, call_to(fake.base_url, fake.wire))
    assert got.raw is None
    assert got.body["object"] == "chat.completion"
    assert got.body["id"]
    choice = got.body["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    usage = got.body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    header = "x-api-key" if fake.wire == "anthropic" else "x-goog-api-key"
    assert fake.requests[-1].headers[header] == KEY
    assert KEY not in fake.requests[-1].path + fake.requests[-1].query


async def test_a_stream_says_what_the_answer_says(fake: FakeProvider, made: HttpForwarder) -> None:
    whole = await answer(made, call_to(fake.base_url, fake.wire))
    got = await events(made, call_to(fake.base_url, fake.wire, stream=True))
    assert text_of(got) == whole.body["choices"][0]["message"]["content"]
    assert finishes(got) == ["stop"]
    assert got[-1].done
    chunks = [event.chunk for event in got if event.chunk]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["usage"] == whole.body["usage"]


async def test_tools_come_back_as_tool_calls_both_ways(fake: FakeProvider, made: HttpForwarder) -> None:
    body: dict[str, Any] = {"tools": [WEATHER], "tool_choice": "required"}
    whole = await answer(made, call_to(fake.base_url, fake.wire, body))
    choice = whole.body["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
    got = await events(made, call_to(fake.base_url, fake.wire, body, stream=True))
    assert finishes(got) == ["tool_calls"]
    parts = [
        part
        for event in got
        if event.chunk
        for c in event.chunk["choices"]
        for part in c["delta"].get("tool_calls", ())
    ]
    assert parts[0]["id"]
    assert parts[0]["function"]["name"] == "get_weather"
    arguments = "".join(part["function"].get("arguments") or "" for part in parts)
    assert arguments.replace(" ", "") == choice["message"]["tool_calls"][0]["function"]["arguments"].replace(" ", "")


async def test_tool_results_images_and_system_go_up(fake: FakeProvider, made: HttpForwarder) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Bern"}'}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": PIXEL}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    before = [dict(message) for message in messages]
    whole = await answer(made, call_to(fake.base_url, fake.wire, {"messages": messages, "tools": [WEATHER]}))
    assert whole.body["choices"][0]["message"]["content"]
    assert messages == before
    sent = str(fake.requests[-1].body)
    assert "Be brief." in sent
    assert "sunny" in sent
    assert PIXEL.partition("base64,")[2] in sent


@pytest.mark.parametrize(
    ("messages", "roles"),
    [
        (
            [{"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Hi."}],
            ["user", "assistant", "user"],
        ),
        (
            [
                {"role": "system", "content": "Be brief."},
                {"role": "assistant", "content": "Hello!"},
                {"role": "user", "content": "Hi."},
            ],
            ["user", "assistant", "user"],
        ),
        ([{"role": "system", "content": "Write a haiku."}], ["user"]),
        ([{"role": "user", "content": "Hi."}], ["user"]),
    ],
)
async def test_a_conversation_that_no_user_opens_is_opened_for_anthropic(
    messages: list[dict[str, Any]], roles: list[str]
) -> None:
    async with FakeProvider("anthropic") as fake, forwarder() as made:
        whole = await answer(made, call_to(fake.base_url, "anthropic", {"messages": messages}))
        assert whole.body["choices"][0]["message"]["content"]
        sent = fake.requests[-1].body
        assert [each["role"] for each in sent["messages"]] == roles
        assert all(text in str(sent) for text in (each["content"] for each in messages))


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-9"])
@pytest.mark.parametrize(
    ("body", "most", "limit"),
    [
        ({}, 32_000, 32_000),
        ({"reasoning_effort": "low"}, 32_000, 32_000),
        ({"max_tokens": 50}, 32_000, 50),
        ({"max_completion_tokens": 60}, 32_000, 60),
    ],
)
async def test_anthropic_may_write_all_that_the_deployment_can(
    model: str, body: dict[str, Any], most: int, limit: int
) -> None:
    async with FakeProvider("anthropic") as fake, forwarder() as made:
        call = call_to(fake.base_url, "anthropic", body, model=model)
        await answer(made, replace(call, deployment=replace(call.deployment, max_output_tokens=most)))
        assert fake.requests[-1].body["max_tokens"] == limit


async def test_thoughts_that_are_asked_for_fit_into_anthropics_limit() -> None:
    body = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    async with FakeProvider("anthropic") as fake, forwarder() as made:
        call = call_to(fake.base_url, "anthropic", body, model="claude-sonnet-4-5")
        await answer(made, replace(call, deployment=replace(call.deployment, max_output_tokens=1500)))
        assert fake.requests[-1].body["max_tokens"] > 2000


@pytest.mark.parametrize(
    "model", ["gemini-2.5-flash", "gemini-99-unheard-of", "behind-an-address-of-its-own", "gemma-9"]
)
@pytest.mark.parametrize("alone", [True, False])
async def test_every_gemini_gets_a_system_instruction_and_a_schema(model: str, alone: bool) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    asked = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    messages: list[dict[str, Any]] = [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}]
    if not alone:
        messages += [{"role": "user", "content": "Where?"}, {"role": "system", "content": "And kind."}]
    before = [dict(each) for each in messages]
    async with FakeProvider("gemini") as fake, forwarder() as made:
        body = {"messages": messages, "response_format": asked}
        await answer(made, call_to(fake.base_url, "gemini", body, model=model))
        sent = fake.requests[-1].body
    assert messages == before
    if model.startswith("gemma"):
        assert "system_instruction" not in sent
        return
    assert sent["system_instruction"] == {"parts": [{"text": each} for each in ("Be brief.", "And kind.")[: 2 - alone]]}
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "." if alone else "Where?"}]}]
    told = sent["generationConfig"]
    assert (told.get("response_schema") or told["response_json_schema"])["required"] == ["city"]


async def test_a_json_schema_gives_json_in_the_content(fake: FakeProvider, made: HttpForwarder) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    body = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}}
    whole = await answer(made, call_to(fake.base_url, fake.wire, body))
    choice = whole.body["choices"][0]
    assert choice["message"]["content"].strip().startswith("{")
    assert (choice["finish_reason"], "tool_calls" in choice["message"]) == ("stop", False)
    got = await events(made, call_to(fake.base_url, fake.wire, body, stream=True))
    assert text_of(got).strip().startswith("{")
    assert finishes(got) == ["stop"]


async def test_advice_is_dropped_and_named(fake: FakeProvider, made: HttpForwarder) -> None:
    body = {"store": True, "metadata": {"a": "b"}, "prompt_cache_key": "k", "n": 1, "logprobs": False, "stop": None}
    got = await answer(made, call_to(fake.base_url, fake.wire, body))
    assert {"store", "metadata", "prompt_cache_key"} <= set(got.dropped_params)
    assert not {"n", "logprobs", "stop"} & set(got.dropped_params)


@pytest.mark.parametrize("param", ["logit_bias", "x_unknown", "api_base", "extra_headers", "mock_response"])
async def test_what_the_provider_does_not_take_is_refused_by_name(
    fake: FakeProvider, made: HttpForwarder, param: str
) -> None:
    body = {param: {"50256": -100}}
    found, _ = await failure(made, call_to(fake.base_url, fake.wire, body))
    assert (found.kind, found.status, found.param, found.sent) == (K.INVALID_REQUEST, 400, param, False)
    assert fake.requests == []
    got = await answer(made, call_to(fake.base_url, fake.wire, body, drop_params=True))
    assert got.dropped_params == (param,)
    assert param not in str(fake.requests[-1].body)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}},
        {"type": "image_url", "image_url": "http://169.254.169.254/latest/meta-data"},
        {"type": "file", "file": {"file_data": "https://example.com/a.pdf"}},
        {"type": "file", "file": {"file_id": "www.example.com/a.pdf"}},
        {"type": "image_url", "image_url": {"url": "gs://bucket/x"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
    ],
)
async def test_nothing_is_fetched_for_a_caller(fake: FakeProvider, made: HttpForwarder, part: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "See http://here.example"}, part]}]}
    found, _ = await failure(made, call_to(fake.base_url, fake.wire, body))
    assert (found.kind, found.param, found.sent) == (K.INVALID_REQUEST, "messages[0].content[1]", False)
    assert fake.requests == []


STATUS_ROWS = [
    ("bad_request", K.INVALID_REQUEST),
    ("auth", K.AUTH),
    ("permission", K.AUTH),
    ("model_not_found", K.NOT_FOUND),
    ("too_large", K.INVALID_REQUEST),
    ("rate_limit", K.RATE_LIMITED),
    ("server_error", K.SERVER),
    ("unavailable", K.SERVER),
    ("gateway_timeout", K.TIMEOUT),
    ("overloaded", K.OVERLOADED),
    ("context_length_exceeded", K.CONTEXT_OVERFLOW),
    ("html", K.SERVER),
    ("redirect", K.PROTOCOL),
    ("error_object_200", K.PROTOCOL),
    ("empty_body", K.PROTOCOL),
    ("reset", K.CONNECT),
    ("not_http", K.PROTOCOL),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "kind"), STATUS_ROWS)
async def test_a_failure_has_its_kind(
    fake: FakeProvider, made: HttpForwarder, fault: str, kind: K, stream: bool
) -> None:
    fake.fail(fault)
    found, got = await failure(made, call_to(fake.base_url, fake.wire, stream=stream))
    assert (found.kind, [event for event in got if event.chunk]) == (kind, [])
    assert "127.0.0.1" not in found.message


@pytest.mark.parametrize(
    ("fault", "empty"), [("truncated_json", False), ("short_body", False), ("empty_choices", True)]
)
async def test_broken_bodies(fake: FakeProvider, made: HttpForwarder, fault: str, empty: bool) -> None:
    fake.fail(fault)
    found, _ = await failure(made, call_to(fake.base_url, fake.wire))
    assert (found.kind, found.empty) == (K.PROTOCOL, empty)


async def test_missing_usage_is_no_failure(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("no_usage", times=2)
    got = await answer(made, call_to(fake.base_url, fake.wire))
    assert got.body["choices"][0]["message"]["content"]
    streamed = await events(made, call_to(fake.base_url, fake.wire, stream=True))
    assert streamed[-1].done


@pytest.mark.parametrize("fault", ["reset_after", "cut_after"])
async def test_a_cut_stream_breaks(fake: FakeProvider, made: HttpForwarder, fault: str) -> None:
    fake.fail(fault, after=3)
    found, got = await failure(made, call_to(fake.base_url, fake.wire, stream=True))
    assert found.kind is K.STREAM_BROKEN
    assert text_of(got)


async def test_a_truncated_stream_does_not_look_finished(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("clean_end_after", after=3)
    got = await events(made, call_to(fake.base_url, fake.wire, stream=True))
    assert finishes(got) == []
    assert not any(event.done for event in got)


async def test_a_missing_end_mark_is_made_up_for() -> None:
    async with FakeProvider("anthropic") as fake, forwarder() as made:
        fake.fail("no_done")
        got = await events(made, call_to(fake.base_url, "anthropic", stream=True))
        assert finishes(got) == ["stop"]
        assert got[-1].done


@pytest.mark.parametrize(("fault", "before"), [("error_event_first", False), ("error_event_after", True)])
async def test_error_events(fake: FakeProvider, made: HttpForwarder, fault: str, before: bool) -> None:
    fake.fail(fault, after=2)
    found, got = await failure(made, call_to(fake.base_url, fake.wire, stream=True))
    assert found.kind in {K.SERVER, K.OVERLOADED}
    assert bool(text_of(got)) is before


async def test_odd_events(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("malformed_event", after=2)
    got = await events(made, call_to(fake.base_url, fake.wire, stream=True))
    assert [event.malformed for event in got].count(True) == 1
    assert got[-1].done
    fake.fail("invalid_utf8")
    assert "\ufffd" in text_of(await events(made, call_to(fake.base_url, fake.wire, stream=True)))
    fake.fail("json_to_stream")
    got = await events(made, call_to(fake.base_url, fake.wire, stream=True))
    assert text_of(got)
    assert (finishes(got), got[-1].done) == (["stop"], True)


async def test_a_filtered_ending_is_an_answer(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("finish_content_filter", times=2)
    whole = await answer(made, call_to(fake.base_url, fake.wire))
    assert whole.body["choices"][0]["finish_reason"] == "content_filter"
    got = await events(made, call_to(fake.base_url, fake.wire, stream=True))
    assert finishes(got) == ["content_filter"]


async def test_leaving_closes_the_socket(fake: FakeProvider, made: HttpForwarder) -> None:
    fake.fail("hang_after", seconds=60)
    stream = await made.send(call_to(fake.base_url, fake.wire, stream=True))
    assert isinstance(stream, Stream)
    async for event in stream:
        if event.chunk:
            break
    await stream.aclose()
    async with asyncio.timeout(60.0):
        while fake.active:  # noqa: ASYNC110 - the provider is its own program
            await asyncio.sleep(0.005)


async def test_warming_prepares_every_wire(made: HttpForwarder) -> None:
    assert not made.litellm_ready
    assert await made.warm()
    assert made.litellm_ready
