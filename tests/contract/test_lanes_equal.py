"""The lanes say the same: each call goes through our lane and through litellm's own, to the same loopback provider.

What arrives upstream must be equal in meaning, the answers equal, the failure kinds equal. What litellm's call loses on
the way, and our lanes do not:

* parameters its lists do not know are refused, though the provider would take them (``Row.refuses``),
* ``user`` is taken for its own bookkeeping and not sent to many hosts (``LOSES_USER``),
* of several streamed answers (n > 1) on OpenAI's wire only the first gets a finish reason,
* groq's tool that stands for a JSON schema leaves ``tool_calls`` as the finish reason,
* redirects, nonsense and cut bodies all look like a 500 or a lost connection (``BETTER``),
* a stream that Gemini cut looks finished; a request that met a reset is sent again without being asked to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from gateway.forward.forwarder import HttpForwarder
from gateway.forward.litellm_door import door
from router_core.deployment import Lane
from router_core.errors import AttemptFailed
from router_core.outcome import Failure
from router_core.outcome import FailureKind as K
from tests.fakes.provider import FakeProvider
from tests.unit.gateway.forward.calls import HELLO, answer, call_to, events, forwarder

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PIXEL: Final = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awA="
WEATHER: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA: Final = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
CALLS: Final = [
    {"id": f"call_{n}", "type": "function", "function": {"name": "get_weather", "arguments": f'{{"city":"{city}"}}'}}
    for n, city in enumerate(("Bern", "Rome"))
]
CASES: Final[dict[str, dict[str, Any]]] = {
    "chat": {
        "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
        "temperature": 0.3,
        "max_tokens": 40,
        "top_p": 0.9,
    },
    "stop": {"stop": ["END"]},
    "tools": {"tools": [WEATHER], "tool_choice": "required"},
    "parallel": {
        "tools": [WEATHER],
        "messages": [
            *HELLO,
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "call_0", "content": "sun"},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ],
    },
    "image": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": PIXEL}}],
            }
        ]
    },
    "schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    },
    "json": {"response_format": {"type": "json_object"}},
    "reasoning": {"reasoning_effort": "low", "max_completion_tokens": 4000},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "n": {"n": 2},
    "seed": {"seed": 3},
    "user": {"user": "u1"},
    "extra": {"x_custom": 1},
}


@dataclass(frozen=True)
class Row:
    """A wire in the suite. ``refuses`` are the cases that litellm's call refuses and we let the provider judge."""

    fake: str
    model: str
    base: str = "/v1"
    refuses: frozenset[str] = frozenset({"extra"})
    both_refuse: frozenset[str] = frozenset()
    their_base: str | None = None


def row(fake: str, model: str, *, refuses: str = "", both: str = "", **more: Any) -> Row:
    return Row(fake, model, refuses=frozenset(refuses.split()), both_refuse=frozenset(both.split()), **more)


WIRES: Final[dict[str, Row]] = {
    "openai": row("openai", "gpt-4o", refuses="extra reasoning"),
    "azure": row("openai", "gpt-4o", refuses="extra reasoning", base=""),
    "hosted_vllm": row("openai", "qwen3", refuses="extra"),
    "anthropic": row("anthropic", "claude-sonnet-4-5", base="", both="extra logprobs n"),
    "gemini": row("gemini", "gemini-2.5-flash", base="/v1beta", both="extra logprobs"),
    "vertex_ai": row(
        "gemini", "gemini-2.5-flash", base="/v1beta", both="extra", their_base="/v1beta/models/gemini-2.5-flash"
    ),
    "mistral": row("openai", "mistral-large-latest", refuses="extra reasoning logprobs n"),
    "groq": row("openai", "llama-3.3-70b-versatile", refuses="extra reasoning"),
    "together_ai": row("openai", "meta-llama/Llama-3.3-70B-Instruct-Turbo", refuses="extra reasoning"),
    "openrouter": row("openai", "openai/gpt-4o", refuses="extra"),
    "deepseek": row("openai", "deepseek-chat", refuses="extra"),
    "xai": row("openai", "grok-4", refuses="extra reasoning stop"),
    "fireworks_ai": row("openai", "accounts/fireworks/models/llama-v3p3-70b-instruct", refuses="extra reasoning tools"),
}

LOSES_USER: Final = frozenset({"hosted_vllm", "mistral", "groq", "together_ai", "openrouter", "deepseek"})
NO_USAGE_ASKED: Final = frozenset({"mistral"})
"""Mistral sends a stream's usage unasked; the loopback provider, being OpenAI's, does not, and litellm then guesses."""


@pytest.fixture(autouse=True)
def _no_google_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vertex AI's token is stubbed: fetching one needs an account."""
    door()
    from litellm.llms.vertex_ai.vertex_llm_base import VertexBase

    async def token(*args: Any, **kwargs: Any) -> tuple[str, str]:
        return "stub", "project"

    monkeypatch.setattr(VertexBase, "_ensure_access_token_async", token)


@pytest.fixture(scope="module", autouse=True)
async def _clients_of_litellm(anyio_backend: str) -> AsyncIterator[None]:
    """Its own call keeps its clients, open, for as long as the process lives."""
    yield
    from litellm import in_memory_llm_clients_cache
    from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients

    await close_litellm_async_clients()
    in_memory_llm_clients_cache.flush_cache()


@pytest.fixture
async def made() -> AsyncIterator[HttpForwarder]:
    async with forwarder() as one:
        yield one


@dataclass
class Seen:
    """One call's trace: what went up, and what came back in a form that can be compared."""

    path: str | None
    body: dict[str, Any] | None
    choices: dict[int, tuple[Any, ...]] | None = None
    usage: tuple[int | None, int | None] | None = None
    failure: Failure | None = None


def _no_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _no_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_no_nulls(inner) for inner in value] if isinstance(value, list) else value


def _sent(fake: FakeProvider, before: int) -> tuple[str | None, dict[str, Any] | None]:
    if len(fake.requests) == before:
        return None, None
    request = fake.requests[before]
    body = {key: value for key, value in request.body.items() if key not in {"stream", "stream_options"}}
    return request.path, _no_nulls(body)


def _counts(usage: Mapping[str, Any]) -> tuple[int | None, int | None]:
    return usage.get("prompt_tokens"), usage.get("completion_tokens")


def _whole(body: dict[str, Any]) -> tuple[dict[int, tuple[Any, ...]], tuple[int | None, int | None]]:
    out = {}
    for choice in body["choices"]:
        message = choice["message"]
        calls = [(c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls") or ()]
        text = message.get("content") or "", message.get("reasoning_content") or ""
        out[choice["index"]] = (*text, calls, [choice["finish_reason"]], bool(choice.get("logprobs")))
    return out, _counts(body.get("usage") or {})


def _streamed(chunks: list[dict[str, Any]]) -> tuple[dict[int, tuple[Any, ...]], tuple[int | None, int | None]]:
    parts: dict[int, list[Any]] = {}
    usage: dict[str, Any] = {}
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            part = parts.setdefault(choice["index"], ["", "", {}, [], False])
            delta = choice["delta"]
            part[0] += delta.get("content") or ""
            part[1] += delta.get("reasoning_content") or ""
            for piece in delta.get("tool_calls") or ():
                name_and_arguments = part[2].setdefault(piece["index"], ["", ""])
                name_and_arguments[0] += piece["function"].get("name") or ""
                name_and_arguments[1] += piece["function"].get("arguments") or ""
            part[3] += [choice["finish_reason"]] if choice.get("finish_reason") else []
            part[4] = part[4] or bool(choice.get("logprobs"))
    out = {index: (p[0], p[1], [tuple(c) for c in p[2].values()], p[3], p[4]) for index, p in parts.items()}
    return out, _counts(usage)


async def run(
    made: HttpForwarder, fake: FakeProvider, wire: str, lane: Lane, body: Mapping[str, Any], *, stream: bool
) -> Seen:
    spec = WIRES[wire]
    path = spec.their_base if lane is Lane.ACOMPLETION and spec.their_base is not None else spec.base
    options = {"api_version": "2024-10-21"} if wire == "azure" else {}
    call = call_to(fake.origin + path, wire, body, model=spec.model, stream=stream, lane=lane, options=options)
    before = len(fake.requests)
    try:
        if stream:
            choices, usage = _streamed([event.chunk for event in await events(made, call) if event.chunk])
        else:
            choices, usage = _whole((await answer(made, call)).body)
    except AttemptFailed as exc:
        return Seen(*_sent(fake, before), failure=exc.failure)
    return Seen(*_sent(fake, before), choices=choices, usage=usage)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("wire", WIRES)
async def test_both_lanes_say_the_same(made: HttpForwarder, wire: str, case: str, stream: bool) -> None:
    spec = WIRES[wire]
    async with FakeProvider(spec.fake) as fake:
        ours = await run(made, fake, wire, Lane.AUTO, CASES[case], stream=stream)
        theirs = await run(made, fake, wire, Lane.ACOMPLETION, CASES[case], stream=stream)
    if case in spec.both_refuse:
        assert ours.failure is not None
        assert theirs.failure is not None
        assert (ours.failure.kind, ours.body) == (theirs.failure.kind, theirs.body) == (K.INVALID_REQUEST, None)
        return
    assert ours.failure is None
    if case in spec.refuses:
        assert theirs.failure is not None
        assert theirs.failure.kind is K.INVALID_REQUEST
        assert ours.body is not None
        assert CASES[case].keys() - {"max_completion_tokens"} <= ours.body.keys()
        return
    assert theirs.failure is None
    if case == "user" and wire in LOSES_USER:
        assert ours.body is not None
        assert ours.body.pop("user") == "u1"
    assert (ours.path or "").split("?")[0] == (theirs.path or "").split("?")[0] or wire == "gemini"
    assert ours.body == theirs.body
    _same_answer(wire, case, ours, theirs, stream=stream)


def _same_answer(wire: str, case: str, ours: Seen, theirs: Seen, *, stream: bool) -> None:
    assert ours.choices is not None
    assert theirs.choices is not None
    assert ours.choices.keys() == theirs.choices.keys()
    for index, mine in ours.choices.items():
        other = theirs.choices[index]
        assert mine[:3] == other[:3]
        if case == "n" and stream and index > 0:
            assert mine[3] == ["stop"]
            assert other[3] in ([], ["stop"])
        elif case == "schema" and wire == "groq":
            assert (mine[3], other[3]) == (["stop"], ["tool_calls"])
        else:
            assert mine[3] == other[3]
        assert mine[4] >= other[4]
    if not (stream and wire in NO_USAGE_ASKED):
        assert ours.usage == theirs.usage


FAULTS: Final = (
    "bad_request",
    "auth",
    "permission",
    "model_not_found",
    "request_timeout",
    "conflict",
    "too_large",
    "unprocessable",
    "rate_limit",
    "insufficient_quota",
    "server_error",
    "unavailable",
    "gateway_timeout",
    "overloaded",
    "context_length_exceeded",
    "content_filter",
    "html",
    "truncated_json",
)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("wire", ["openai", "anthropic", "gemini", "mistral", "deepseek"])
async def test_both_lanes_fail_alike(made: HttpForwarder, wire: str, fault: str) -> None:
    async with FakeProvider(WIRES[wire].fake) as fake:
        seen = []
        for lane in (Lane.AUTO, Lane.ACOMPLETION):
            fake.reset()
            fake.fail(fault, times=None, **({"retry_after": 7} if fault == "rate_limit" else {}))
            seen.append(await run(made, fake, wire, lane, {}, stream=False))
    ours, theirs = seen[0].failure, seen[1].failure
    assert ours is not None
    assert theirs is not None
    assert ours.kind is theirs.kind
    assert ours.retry_after_s == theirs.retry_after_s
    for text in (ours.message, theirs.message):
        assert "litellm" not in text.lower()
        assert "127.0.0.1" not in text


BETTER: Final = {
    "redirect": (K.PROTOCOL, {K.SERVER, K.CONNECT, K.PROTOCOL}),
    "not_http": (K.PROTOCOL, {K.SERVER, K.PROTOCOL}),
    "short_body": (K.PROTOCOL, {K.CONNECT, K.SERVER, K.PROTOCOL, K.INVALID_REQUEST}),
    "error_object_200": (K.PROTOCOL, {K.PROTOCOL, K.SERVER}),
}


@pytest.mark.parametrize("fault", BETTER)
@pytest.mark.parametrize("wire", ["openai", "anthropic", "gemini"])
async def test_where_litellms_call_sees_less(made: HttpForwarder, wire: str, fault: str) -> None:
    """litellm reports most broken answers as a 500; its kind must at least be one that moves on."""
    mine, acceptable = BETTER[fault]
    async with FakeProvider(WIRES[wire].fake) as fake:
        seen = []
        for lane in (Lane.AUTO, Lane.ACOMPLETION):
            fake.reset()
            fake.fail(fault, times=None)
            seen.append(await run(made, fake, wire, lane, {}, stream=False))
        if fault == "redirect":
            assert len(fake.requests) <= 1
    assert seen[0].failure is not None
    assert seen[1].failure is not None
    assert seen[0].failure.kind is mine
    assert seen[1].failure.kind in acceptable


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_a_truncated_stream_looks_finished_in_neither_lane(made: HttpForwarder, wire: str) -> None:
    async with FakeProvider(wire) as fake:
        for lane in (Lane.AUTO, Lane.ACOMPLETION):
            fake.fail("clean_end_after", after=3)
            seen = await run(made, fake, wire, lane, {}, stream=True)
            assert seen.choices is not None
            assert all(choice[3] == [] for choice in seen.choices.values())
