"""The demo provider on OpenAI's wire, through OpenAI's own SDK."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import openai
import pytest

from tests.fakes.provider import FakeProvider

pytestmark = pytest.mark.anyio

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
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


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider("openai") as fake:
        yield fake


@pytest.fixture
async def client(provider: FakeProvider) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="key", max_retries=0) as sdk:
        yield sdk


def says(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


async def ask(client: openai.AsyncOpenAI, text: str = "hello", **more: Any) -> Any:
    return await client.chat.completions.create(**{"model": "m", "messages": says(text), **more})


async def test_a_plain_answer_looks_like_openais(client: openai.AsyncOpenAI):
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=says("what is 20 + 22?"))
    body = json.loads(raw.content)
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["system_fingerprint"].startswith("fp_")
    assert raw.headers["x-request-id"].startswith("req_")
    answer = raw.parse()
    assert "demo answer by m" in answer.choices[0].message.content
    assert "20 + 22 = 42" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens == len(answer.choices[0].message.content.split())


async def test_the_same_prompt_gets_the_same_answer_and_another_model_another(client: openai.AsyncOpenAI):
    first, second = [(await ask(client)).choices[0].message.content for _ in range(2)]
    assert first == second
    assert (await ask(client, model="other")).choices[0].message.content != first


async def test_a_stream_says_what_the_whole_answer_says(client: openai.AsyncOpenAI):
    whole = (await ask(client, "plan a party")).choices[0].message.content
    stream = await ask(client, "plan a party", stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len(whole.split())
    assert len({chunk.id for chunk in chunks}) == 1


async def test_usage_is_streamed_only_when_asked_for(client: openai.AsyncOpenAI):
    chunks = [chunk async for chunk in await ask(client, stream=True)]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_the_best_fitting_tool_is_called_with_valid_arguments(client: openai.AsyncOpenAI):
    answer = await ask(client, "What is the weather in Paris, in fahrenheit?", tools=[CLOCK, WEATHER])
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    jsonschema.validate(arguments, WEATHER["function"]["parameters"])
    assert arguments["unit"] == "fahrenheit"


async def test_two_wishes_make_two_parallel_calls_unless_forbidden(client: openai.AsyncOpenAI):
    wish = "Tell me the weather in Paris and the time in Tokyo"
    answer = await ask(client, wish, tools=[CLOCK, WEATHER])
    assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["get_weather", "get_time"]
    assert len({call.id for call in answer.choices[0].message.tool_calls}) == 2
    single = await ask(client, wish, tools=[CLOCK, WEATHER], parallel_tool_calls=False)
    assert len(single.choices[0].message.tool_calls) == 1


async def test_streamed_tool_calls_add_up_to_the_whole_ones(client: openai.AsyncOpenAI):
    wish = "Tell me the weather in Paris and the time in Tokyo"
    whole = (await ask(client, wish, tools=[CLOCK, WEATHER])).choices[0].message.tool_calls
    calls: dict[int, list[str]] = {}
    async for chunk in await ask(client, wish, tools=[CLOCK, WEATHER], stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            row = calls.setdefault(part.index, ["", "", ""])
            row[0] += part.id or ""
            row[1] += part.function.name or ""
            row[2] += part.function.arguments or ""
    assert calls == {at: [c.id, c.function.name, c.function.arguments] for at, c in enumerate(whole)}


@pytest.mark.parametrize(
    ("choice", "called"),
    [("none", None), ("required", "get_weather"), ({"type": "function", "function": {"name": "get_time"}}, "get_time")],
)
async def test_tool_choice_is_obeyed(client: openai.AsyncOpenAI, choice: Any, called: str | None):
    answer = await ask(client, "the weather please", tools=[CLOCK, WEATHER], tool_choice=choice)
    calls = answer.choices[0].message.tool_calls
    assert (calls[0].function.name if calls else None) == called


async def test_a_tool_result_is_quoted(client: openai.AsyncOpenAI):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        *says("weather in Paris"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny, 21 degrees"},
    ]
    answer = await client.chat.completions.create(model="m", messages=messages, tools=[WEATHER])
    assert "sunny, 21 degrees" in answer.choices[0].message.content


async def test_the_older_functions_still_work(client: openai.AsyncOpenAI):
    answer = await ask(client, "weather in Rome", functions=[WEATHER["function"]])
    assert answer.choices[0].finish_reason == "function_call"
    assert answer.choices[0].message.function_call.name == "get_weather"


async def test_a_json_schema_is_satisfied(client: openai.AsyncOpenAI):
    schema = {
        "type": "object",
        "properties": {
            "steps": {
                "type": "array",
                "items": {"type": "object", "properties": {"n": {"type": "integer"}}},
                "minItems": 2,
            },
            "answer": {"type": "string", "maxLength": 5},
        },
        "required": ["steps", "answer"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}}
    answer = await ask(client, response_format=form)
    jsonschema.validate(json.loads(answer.choices[0].message.content), schema)
    loose = await ask(client, response_format={"type": "json_object"})
    assert json.loads(loose.choices[0].message.content)["demo"] is True


async def test_images_are_acknowledged(client: openai.AsyncOpenAI):
    data = base64.b64encode(b"\x89PNG1234").decode()
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]
    answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": parts}])
    assert "image/png of 8 bytes" in answer.choices[0].message.content


async def test_n_answers_differ_and_stream_interleaved(client: openai.AsyncOpenAI):
    whole = await ask(client, n=2)
    texts = [choice.message.content for choice in whole.choices]
    assert len(set(texts)) == 2
    streamed = ["", ""]
    async for chunk in await ask(client, n=2, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


async def test_logprobs_cover_every_token(client: openai.AsyncOpenAI):
    answer = await ask(client, logprobs=True, top_logprobs=2)
    rows = answer.choices[0].logprobs.content
    assert "".join(row.token for row in rows) == answer.choices[0].message.content
    assert all(len(row.top_logprobs) == 2 and row.logprob < 0 for row in rows)


async def test_limits_and_stops_end_the_answer(client: openai.AsyncOpenAI):
    cut = await ask(client, max_tokens=4)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 4)
    stopped = await ask(client, stop=["demo"])
    assert stopped.choices[0].message.content == "This is a "
    assert stopped.choices[0].finish_reason == "stop"


async def test_what_openai_refuses_is_refused_in_its_shape(client: openai.AsyncOpenAI):
    with pytest.raises(openai.BadRequestError) as no_messages:
        await client.chat.completions.create(model="m", messages=[])
    assert no_messages.value.param == "messages"
    with pytest.raises(openai.BadRequestError) as bad_role:
        await client.chat.completions.create(model="m", messages=[{"role": "robot", "content": "x"}])  # type: ignore[list-item]
    assert bad_role.value.code == "invalid_value"


async def test_only_its_own_models_are_served():
    async with (
        FakeProvider("openai", models=["mine"]) as fake,
        openai.AsyncOpenAI(base_url=fake.base_url, api_key="k", max_retries=0) as sdk,
    ):
        assert [model.id for model in (await sdk.models.list()).data] == ["mine"]
        await ask(sdk, model="mine")
        with pytest.raises(openai.NotFoundError) as unknown:
            await ask(sdk, model="yours")
        assert unknown.value.code == "model_not_found"


async def test_weak_models_are_briefer_and_sometimes_unsure(client: openai.AsyncOpenAI, provider: FakeProvider):
    provider.answer(delay_s=0, first_delay_s=0)
    prompts = [f"Tell me about the number {number}" for number in range(12)]
    weak = [(await ask(client, p, model="harbor-mini")).choices[0].message.content for p in prompts]
    strong = [(await ask(client, p, model="harbor-large")).choices[0].message.content for p in prompts]
    assert all(len(small) < len(large) for small, large in zip(weak, strong, strict=True))
    assert 0 < sum("possible mistake" in text for text in weak) < len(weak)
    assert not any("possible mistake" in text for text in strong)


async def test_a_repeated_long_beginning_is_found_in_the_prompt_cache(client: openai.AsyncOpenAI):
    messages = [{"role": "system", "content": "rule " * 2000}, *says("first")]
    first = await client.chat.completions.create(model="m", messages=messages)
    second = await client.chat.completions.create(model="m", messages=[messages[0], *says("second")])
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert 1024 <= second.usage.prompt_tokens_details.cached_tokens <= second.usage.prompt_tokens


async def test_a_fixed_answer_is_given_word_for_word(client: openai.AsyncOpenAI, provider: FakeProvider):
    provider.answer(
        "one two three four five six", chunks=3, usage={"output": 99}, reasoning="hm well", model="real-name"
    )
    whole = await ask(client)
    assert (whole.choices[0].message.content, whole.model) == ("one two three four five six", "real-name")
    assert whole.usage.completion_tokens == 99
    assert whole.choices[0].message.reasoning_content == "hm well"
    deltas = [c.choices[0].delta async for c in await ask(client, stream=True)]
    assert [d.content for d in deltas if d.content] == ["one two", " three four", " five six"]


async def test_a_fixed_answer_may_quote_the_prompt(client: openai.AsyncOpenAI, provider: FakeProvider):
    provider.answer("You said {prompt}.")
    assert (await ask(client, "one")).choices[0].message.content == "You said one."
    assert (await ask(client, "two")).choices[0].message.content == "You said two."


async def test_fixed_tool_calls_and_raw_chunks(client: openai.AsyncOpenAI, provider: FakeProvider):
    provider.answer(tool_calls=[{"id": "x1", "name": "f", "arguments": {"a": 1}}])
    (call,) = (await ask(client)).choices[0].message.tool_calls
    assert (call.id, call.function.arguments) == ("call_x1", '{"a":1}')
    provider.answer(raw_chunks=['data: {"choices":[{"index":0,"delta":{"content":"é"}}]}\n\n', "data: [DONE]\n\n"])
    chunks = [c async for c in await ask(client, stream=True)]
    assert [c.choices[0].delta.content for c in chunks] == ["é"]


async def test_bench_mode_answers_the_same_without_recording(client: openai.AsyncOpenAI, provider: FakeProvider):
    provider.answer("word " * 20, chunks=10, bench=True)
    provider.server.recorder.enabled = False
    whole = await ask(client)
    streamed = [c.choices[0].delta.content async for c in await ask(client, stream=True)]
    assert whole.choices[0].message.content == "".join(text or "" for text in streamed) == "word " * 20
    assert provider.requests == []
    assert provider.server.recorder.total == 2
