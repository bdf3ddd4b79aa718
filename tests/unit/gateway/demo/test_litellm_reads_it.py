"""litellm's own provider configs must read what the demo provider writes on Anthropic's and Gemini's wires."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jsonschema
import pytest

from tests.fakes.provider import FakeProvider

pytestmark = pytest.mark.anyio

MODELS = {"anthropic": "meadow-deep", "gemini": "summit-pro"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Local time of a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


class Quiet:
    """The logging object litellm's configs want: every method does nothing."""

    model_call_details: dict[str, Any] = {}  # noqa: RUF012 - litellm reads it, nobody writes
    optional_params: dict[str, Any] = {}  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


@dataclass
class Read:
    """What litellm made of an answer."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    finish: str | None = None
    usage: Any = None


@pytest.fixture(params=["anthropic", "gemini"])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[FakeProvider]:
    async with FakeProvider(request.param) as fake:
        fake.answer(delay_s=0, first_delay_s=0)
        yield fake


def prepare(fake: FakeProvider, messages: list[Any], params: dict[str, Any], *, stream: bool) -> tuple[Any, ...]:
    from litellm.llms.vertex_ai.gemini.transformation import _transform_request_body
    from litellm.types.utils import LlmProviders
    from litellm.utils import ProviderConfigManager

    model = MODELS[fake.wire]
    config: Any = ProviderConfigManager.get_provider_chat_config(model=model, provider=LlmProviders(fake.wire))
    options = config.map_openai_params(copy.deepcopy(params), {}, model, False)
    messages = copy.deepcopy(messages)
    if fake.wire == "anthropic":
        headers = config.validate_environment({}, model, messages, options, {}, "key", fake.base_url)
        body = config.transform_request(model, messages, dict(options), {}, headers)
        body.pop("json_mode", None)  # a note litellm writes for itself
        return config, options, fake.base_url + "/v1/messages", headers, body | ({"stream": True} if stream else {})
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    body = _transform_request_body(messages, model, dict(options), "gemini", {}, None)
    return config, options, f"{fake.base_url}/models/{model}:{verb}", {"x-goog-api-key": "key"}, body


async def post(url: str, headers: dict[str, str], body: Any) -> tuple[int, str, dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.post(url, headers=headers, json=body) as response:
        return response.status, await response.text(), dict(response.headers)


async def whole(fake: FakeProvider, messages: list[Any], **params: Any) -> Read:
    import httpx
    from litellm.types.utils import ModelResponse

    config, options, url, headers, body = prepare(fake, messages, params, stream=False)
    status, text, _ = await post(url, headers, body)
    assert status == 200, text
    answer = config.transform_response(
        model=MODELS[fake.wire],
        raw_response=httpx.Response(status, text=text, headers={"content-type": "application/json"}),
        model_response=ModelResponse(),
        logging_obj=Quiet(),
        request_data=body,
        messages=messages,
        optional_params=options,
        litellm_params={},
        encoding=None,
        api_key="key",
    )
    choice = answer.choices[0]
    calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
    thought = getattr(choice.message, "reasoning_content", None) or ""
    return Read(choice.message.content or "", thought, calls, choice.finish_reason, answer.usage)


async def streamed(fake: FakeProvider, messages: list[Any], **params: Any) -> Read:
    from litellm.llms.anthropic.chat.handler import ModelResponseIterator as Anthropic
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import ModelResponseIterator as Gemini

    _, _, url, headers, body = prepare(fake, messages, params, stream=True)
    status, text, _ = await post(url, headers, body)
    assert status == 200, text
    parser: Any = (
        Anthropic(streaming_response=iter([]), sync_stream=True, json_mode=False)
        if fake.wire == "anthropic"
        else Gemini(streaming_response=iter([]), sync_stream=True, logging_obj=Quiet())  # type: ignore[arg-type]
    )
    read, calls = Read(), {}
    for line in text.splitlines():
        chunk = parser.chunk_parser(json.loads(line[6:])) if line.startswith("data: ") else None
        if chunk is None:
            continue
        read.usage = getattr(chunk, "usage", None) or read.usage
        delta = chunk.choices[0].delta
        read.text += delta.content or ""
        read.reasoning += getattr(delta, "reasoning_content", None) or ""
        read.finish = chunk.choices[0].finish_reason or read.finish
        for call in delta.tool_calls or []:
            row = calls.setdefault(call.index, ["", ""])
            row[0] += call.function.name or ""
            row[1] += call.function.arguments or ""
    read.calls = [(name, arguments) for name, arguments in calls.values()]
    return read


def says(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def test_text_usage_and_finish_agree_whole_and_streamed(provider: FakeProvider):
    one = await whole(provider, says("what is 20*3?"), max_tokens=60)
    two = await streamed(provider, says("what is 20*3?"), max_tokens=60)
    assert one.text == two.text
    assert "20*3 = 60" in one.text
    assert one.finish == two.finish == "stop"
    assert one.usage.completion_tokens == two.usage.completion_tokens == len(one.text.split())
    assert one.usage.prompt_tokens == two.usage.prompt_tokens > 0


async def test_tool_calls_agree_whole_and_streamed(provider: FakeProvider):
    wish = says("Tell me the weather in Paris and the time in Tokyo")
    one = await whole(provider, wish, tools=[CLOCK, WEATHER], max_tokens=200)
    two = await streamed(provider, wish, tools=[CLOCK, WEATHER], max_tokens=200)
    assert [name for name, _ in one.calls] == ["get_weather", "get_time"]
    assert [(n, json.loads(a)) for n, a in one.calls] == [(n, json.loads(a)) for n, a in two.calls]
    assert one.finish == two.finish == "tool_calls"
    jsonschema.validate(json.loads(one.calls[0][1]), WEATHER["function"]["parameters"])


async def test_tool_results_are_quoted(provider: FakeProvider):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
    messages = [
        *says("weather in Paris"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny, 21 degrees"},
    ]
    assert "sunny, 21 degrees" in (await whole(provider, messages, tools=[WEATHER], max_tokens=99)).text


async def test_images_arrive_with_type_and_size(provider: FakeProvider):
    data = base64.b64encode(b"\x89PNG1234").decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}]
    assert "image/png of 8 bytes" in (await whole(provider, messages, max_tokens=99)).text


async def test_json_schema_is_satisfied_the_way_litellm_asks_for_it(provider: FakeProvider):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": schema}}
    read = await whole(provider, says("Who is Bob, aged 7?"), response_format=form, max_tokens=99)
    answer = json.loads(read.text or read.calls[0][1])
    jsonschema.validate(answer, schema)
    assert answer["age"] == 7


async def test_reasoning_is_shown_apart_from_the_answer(provider: FakeProvider):
    one = await whole(provider, says("Think hard"), reasoning_effort="low", max_tokens=3000)
    two = await streamed(provider, says("Think hard"), reasoning_effort="low", max_tokens=3000)
    assert one.reasoning == two.reasoning != ""
    assert "demo answer" in one.text
    assert one.text == two.text


async def test_limits_and_stops_end_the_answer(provider: FakeProvider):
    assert (await whole(provider, says("hello"), max_tokens=4)).finish == "length"
    stopped = await whole(provider, says("hello"), stop=["demo"], max_tokens=99)
    assert (stopped.text.strip(), stopped.finish) == ("This is a", "stop")


async def test_a_beginning_is_continued(provider: FakeProvider):
    provider.answer("one two three four")
    messages = [*says("count"), {"role": "assistant", "content": "one two"}]
    assert (await whole(provider, messages, max_tokens=99)).text.strip() == "three four"


async def test_a_refusal_is_a_content_filter_finish(provider: FakeProvider):
    provider.fail("finish_content_filter", after=2)
    assert (await whole(provider, says("hello"), max_tokens=99)).finish in {"content_filter", "refusal"}


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("rate_limit", 429, {"anthropic": "rate_limit_error", "gemini": "RESOURCE_EXHAUSTED"}),
        ("auth", 401, {"anthropic": "authentication_error", "gemini": "UNAUTHENTICATED"}),
        ("overloaded", 529, {"anthropic": "overloaded_error", "gemini": "UNAVAILABLE"}),
        ("context_length_exceeded", 400, {"anthropic": "prompt is too long", "gemini": "exceeds the maximum number"}),
        ("model_not_found", 404, {"anthropic": "not_found_error", "gemini": "NOT_FOUND"}),
    ],
)
async def test_errors_have_the_vendors_shape(provider: FakeProvider, kind: str, status: int, said: dict[str, str]):
    provider.fail(kind, retry_after=2)
    _, _, url, headers, body = prepare(provider, says("hi"), {"max_tokens": 9}, stream=False)
    found, text, answer_headers = await post(url, headers, body)
    assert found == status
    assert said[provider.wire] in text
    assert answer_headers["Retry-After"] == "2"
    error = json.loads(text)["error"]
    assert set(error) >= ({"type", "message"} if provider.wire == "anthropic" else {"code", "message", "status"})


async def test_what_the_vendor_does_not_know_is_refused(provider: FakeProvider):
    _, _, url, headers, body = prepare(provider, says("hi"), {"max_tokens": 9}, stream=False)
    status, text, _ = await post(url, headers, {**body, "made_up_key": 1})
    assert status == 400
    assert "made_up_key" in text


async def test_anthropic_wants_its_version_and_a_limit():
    async with FakeProvider("anthropic") as fake:
        body = {"model": "m", "messages": says("hi"), "max_tokens": 5}
        url, version = fake.base_url + "/v1/messages", {"anthropic-version": "2023-06-01"}
        assert (await post(url, {}, body))[0] == 400
        assert (await post(url, version, {"model": "m", "messages": says("hi")}))[0] == 400
        assert (await post(url, version, body))[0] == 200


async def test_both_list_their_models():
    async with (
        FakeProvider("anthropic", models=["a"]) as one,
        FakeProvider("gemini", models=["b"]) as two,
        aiohttp.ClientSession() as session,
        session.get(one.base_url + "/v1/models") as first,
        session.get(two.base_url + "/models") as second,
    ):
        assert (await first.json())["data"][0]["id"] == "a"
        assert (await second.json())["models"][0]["name"] == "models/b"
