"""On OpenAI's own wire a call goes through as it came, both ways; what the gateway adds stands in headers and on request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.fakes.edge import CAPABILITIES, CHAT, HELLO, Edge
from tests.fakes.gateway import GatewayProcess
from tests.fakes.stage import Reply

pytestmark = pytest.mark.anyio

ANSWER = (
    b'{ "id":"chatcmpl-1",  "object":"chat.completion","created":1700000000,"model":"small-2026-01-01",\n'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"caf\\u00e9 \xe2\x9c\x93","x_mood":"bright"},'
    b'"logprobs":null,"finish_reason":"stop","x_choice":[1,2.50,1e3]}],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"x_joules":0.10},'
    b'"system_fingerprint":"fp_1","x_unknown":{"deep":[{"er":null}]},"x_big":12345678901234567890}'
)
CHUNKS = (
    (
        b'{"id":"c1","object":"chat.completion.chunk","created":1,"model":"small","x_new":1.50,'
        b'"choices":[{"index":0,"delta":{"role":"assistant","content":"caf\\u00e9"},"finish_reason":null}]}'
    ),
    (
        b'{"id":"c1","object":"chat.completion.chunk","created":1,"model":"small", '
        b'"choices":[{"index":0,"delta":{"content":" ok","x_mood":"bright"},"finish_reason":null}]}'
    ),
    (
        b'{"id":"c1","object":"chat.completion.chunk","created":1,"model":"small",'
        b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
    ),
)
USAGE = (
    b'{"id":"c1","object":"chat.completion.chunk","created":1,"model":"small","choices":[],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}'
)


@dataclass(slots=True)
class Upstream:
    """A provider on OpenAI's wire that answers with fixed bytes and keeps what it was sent."""

    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        self.bodies.append(raw)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if not json.loads(raw).get("stream"):
            return web.Response(body=ANSWER, content_type="application/json")
        events = [
            *CHUNKS,
            *([USAGE] if (self.last.get("stream_options") or {}).get("include_usage") else []),
            b"[DONE]",
        ]
        body = b"".join(b"data: " + event + b"\n\n" for event in events)
        return web.Response(body=body, content_type="text/event-stream")

    @property
    def last(self) -> dict[str, Any]:
        """The last request's body."""
        return dict(json.loads(self.bodies[-1]))


@pytest.fixture(scope="module")
async def stage(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Edge, Upstream]]:
    upstream = Upstream()
    runner = web.ServerRunner(web.Server(upstream.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    models = {
        "providers": {"alpha": {"wire": "openai", "base_url": base, "api_key": "sk-of-the-gateway-0001"}},
        "deployments": [
            {
                "id": f"alpha/{name}",
                "provider": "alpha",
                "model": name,
                "context_window": 100_000,
                "price_usd_per_mtok": {"input": 1.0, "output": 2.0},
                "capabilities": CAPABILITIES,
            }
            for name in ("small", "large")
        ],
        "routes": {"main": {"order": "listed", "deployments": ["alpha/small", "alpha/large"]}},
    }
    gateway = GatewayProcess(tmp_path_factory.mktemp("wire"), models)
    await asyncio.to_thread(gateway.__enter__)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            yield Edge(gateway, {}, session), upstream
    finally:
        await asyncio.to_thread(gateway.stop)
        await runner.cleanup()


UNKNOWN = {
    "temperature": 0.25,
    "seed": 7,
    "logit_bias": {"50256": -100},
    "x_vendor_option": {"deep": [1, None, "\u00e9"]},
    "reasoning_effort": "low",
    "metadata": {"team": "a"},
    "user": "someone",
    "prompt_cache_key": "k1",
}


async def test_fields_nobody_knows_reach_the_provider_untouched_and_ours_do_not(stage: tuple[Edge, Upstream]):
    edge, upstream = stage
    messages = [{"role": "user", "content": "hello", "x_note": "kept"}]
    ours = {"router": {"tags": ["t"]}, "session_id": "s1", "models": ["alpha/small"], "provider": {"sort": "price"}}
    answer = await edge.chat({"x-router-policy": "cost"}, messages=messages, **UNKNOWN, **ours)
    assert answer.status == 200, answer.body
    assert upstream.last == {"model": "small", "messages": messages, **UNKNOWN}
    sent = upstream.headers[-1]
    assert sent["authorization"] == "Bearer sk-of-the-gateway-0001"
    assert not [name for name in sent if name.startswith("x-router")]


async def test_requests_that_come_at_once_are_each_answered_for_what_they_asked(stage: tuple[Edge, Upstream]):
    edge, upstream = stage
    before = len(upstream.bodies)
    kinds: list[tuple[int, dict[str, Any]]] = [(200, {}), (404, {"model": "nobody"}), (400, {"temperature": "hot"})]

    async def ask(number: int) -> tuple[int, int, str]:
        status, changes = kinds[number % 3]
        message = {"role": "user", "content": f"prompt {number}"}
        answer = await edge.chat({"x-request-id": f"burst-{number}"}, messages=[message], **changes)
        assert answer.headers["x-request-id"] == f"burst-{number}"
        return status, answer.status, answer.headers.get("x-router-decision-id", "")

    found = await asyncio.gather(*map(ask, range(90)))
    assert [wanted for wanted, _, _ in found] == [got for _, got, _ in found]
    said = [json.loads(raw)["messages"][0]["content"] for raw in upstream.bodies[before:]]
    assert sorted(said) == sorted(f"prompt {number}" for number in range(0, 90, 3))
    names = [name for wanted, _, name in found if wanted == 200]
    assert len(set(names)) == 30
    for number, name in zip(range(0, 90, 3), names, strict=True):
        decision = await edge.request("GET", f"/v1/decisions/{name}")
        assert decision.json["request_id"] == f"burst-{number}"


async def test_an_answer_comes_back_byte_for_byte(stage: tuple[Edge, Upstream]):
    edge, _ = stage
    answer = await edge.chat()
    assert answer.body == ANSWER
    assert answer.headers["x-router-model"] == "small-2026-01-01"  # a dated form of the registry's name stays


async def test_a_model_that_is_named_otherwise_is_given_the_registry_s_name_and_nothing_else_changes(
    stage: tuple[Edge, Upstream],
):
    edge, _ = stage
    answer = await edge.chat(model="alpha/large")
    assert answer.json == {**json.loads(ANSWER), "model": "large"}
    assert answer.headers["x-router-model"] == "large"


async def test_a_stream_comes_back_byte_for_byte_and_usage_only_when_asked(stage: tuple[Edge, Upstream]):
    edge, upstream = stage
    answer = await edge.chat(stream=True)
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert upstream.last["stream_options"] == {"include_usage": True}  # always known inside
    assert answer.body == b"".join(b"data: " + chunk + b"\n\n" for chunk in (*CHUNKS, b"[DONE]"))
    asked = await edge.chat(stream=True, stream_options={"include_usage": True})
    events = asked.body.split(b"\n\n")
    assert events[: len(CHUNKS)] == [b"data: " + chunk for chunk in CHUNKS]
    usage = json.loads(events[len(CHUNKS)].removeprefix(b"data: "))
    assert usage["choices"] == []
    cost = usage["usage"].pop("cost")
    assert usage["usage"] == json.loads(USAGE)["usage"]
    assert cost == pytest.approx((5 * 1.0 + 3 * 2.0) / 1e6)
    assert events[len(CHUNKS) + 1 :] == [b"data: [DONE]", b""]
    refused = await edge.chat(stream=True, stream_options={"include_usage": False})
    assert b"usage" not in refused.body
    for seen in (answer, asked, refused):
        record = (await edge.request("GET", f"/v1/decisions/{seen.headers['x-router-decision-id']}")).json
        assert (
            record["outcome"]["attempts"][0]["usage"] | {"estimated": False}
            == record["outcome"]["attempts"][0]["usage"]
        )
        assert record["outcome"]["cost_usd"] == pytest.approx(cost)


ALWAYS = {
    "x-request-id",
    "x-router-overhead-ms",
    "x-router-decision-id",
    "x-router-model",
    "x-router-provider",
    "x-router-task",
    "x-router-task-confidence",
    "x-router-policy",
    "x-router-mode",
    "x-router-score",
    "x-router-attempts",
}


@pytest.mark.parametrize("stream", [False, True])
async def test_the_headers_say_what_was_decided(stage: tuple[Edge, Upstream], stream: bool):
    edge, _ = stage
    answer = await edge.chat({"x-request-id": "mine-1", "x-router-task": "testing"}, stream=stream)
    assert {name.lower() for name in answer.headers} >= ALWAYS
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["x-router-task"] == "testing"
    assert (answer.headers["x-router-provider"], answer.headers["x-router-attempts"]) == ("alpha", "1")
    assert 0.0 <= float(answer.headers["x-router-score"]) <= 100.0
    assert ("x-router-cost-usd" in answer.headers) is not stream
    if not stream:
        assert float(answer.headers["x-router-cost-usd"]) == pytest.approx(11e-6)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_explanation_comes_when_asked_for(stage: tuple[Edge, Upstream], stream: bool):
    edge, _ = stage
    answer = await edge.chat(stream=stream, router={"explain": True})
    reply = Reply(answer.status, answer.headers, answer.body)
    found = reply.chunks[-1]["router"] if stream else reply.json["router"]
    assert found["decision_id"] == answer.headers["x-router-decision-id"]
    assert found["chosen"] == "alpha/small"
    assert reply.text == ("caf\u00e9 ok" if stream else "caf\u00e9 \u2713")


@pytest.mark.parametrize("given", [{}, {"max_tokens": 90_000}, {"max_completion_tokens": 90_000}])
async def test_a_cost_limit_lowers_the_output_limit_and_says_so(stage: tuple[Edge, Upstream], given: dict[str, int]):
    edge, upstream = stage
    answer = await edge.chat(router={"max_cost_usd": 0.002}, **given)
    assert answer.status == 200, answer.body
    name = next(iter(given), "max_tokens")
    assert answer.headers["x-router-adjusted-params"] == name
    assert 0 < upstream.last[name] <= 0.002 / 2e-6
    assert set(upstream.last) == {"model", "messages", name}


async def test_a_cost_limit_that_is_not_reached_changes_nothing(stage: tuple[Edge, Upstream]):
    edge, upstream = stage
    answer = await edge.chat(router={"max_cost_usd": 5.0}, max_tokens=100)
    assert "x-router-adjusted-params" not in answer.headers
    assert upstream.last["max_tokens"] == 100


async def test_a_cost_limit_that_buys_nothing_is_refused_before_anybody_is_called(stage: tuple[Edge, Upstream]):
    edge, upstream = stage
    before = len(upstream.bodies)
    answer = await edge.chat({"x-router-max-cost-usd": "0.0000001"})
    assert (answer.status, answer.error["code"]) == (400, "max_cost_too_low")
    assert {each["rule"] for each in answer.error["candidates"]} == {"cost"}
    assert answer.headers["x-router-decision-id"]
    assert len(upstream.bodies) == before


async def test_every_name_that_is_listed_can_be_asked_for(stage: tuple[Edge, Upstream]):
    edge, _ = stage
    listed = [row["id"] for row in (await edge.request("GET", "/v1/models")).json["data"]]
    assert {"auto", "auto:quality", "auto:cost", "auto:speed", "main", "small", "alpha/small"} <= set(listed)
    for name in listed:
        assert (await edge.request("GET", f"/v1/models/{name}")).json["id"] == name
        answer = await edge.request("POST", CHAT, json={"model": name, "messages": HELLO})
        assert answer.status == 200, (name, answer.body)
    unknown = await edge.chat(model="gpt-99")
    assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")
