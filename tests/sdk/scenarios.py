"""What an application does with the OpenAI Python SDK, against a running gateway. Runs with 2.x and with 3.x.

    python scenarios.py BASE_URL BASE_URL_WITH_KEYS KEY

A program, because each release of the SDK lives in an environment of its own, where no test runner is. It prints one
JSON object a line for each scenario: {"name", "ok", "error"}. Nothing of the gateway is imported.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Callable
from functools import partial

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

TASKS = {
    "reasoning", "code_generation", "code_review", "planning", "analysis", "documentation", "testing", "refactoring",
    "security_audit", "tool_use", "multimodal", "long_context", "general",
}  # fmt: skip
HELLO = [{"role": "user", "content": "Say hello in one short sentence."}]
PIXEL_BYTES = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
PIXEL = f"data:image/png;base64,{PIXEL_BYTES}"


def function(name: str, description: str, **parameters: str) -> dict:
    """A tool as OpenAI's API takes it, with required string parameters."""
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {key: {"type": "string", "description": value} for key, value in parameters.items()},
                "required": list(parameters),
                "additionalProperties": False,
            },
        },
    }


WEATHER = function("get_weather", "Look up the current weather in a city", city="The city")
TIME = function("get_time", "Look up the current local time in a city", city="The city")
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


class Person(BaseModel):
    """What ``parse`` should return."""

    name: str
    age: int
    tags: list[str]


def raises(kind: type[openai.APIStatusError], status: int, call: Callable[[], object]) -> openai.APIStatusError:
    """Call and return the SDK's exception, which has OpenAI's error body."""
    try:
        call()
    except openai.APIStatusError as caught:
        error = caught
    else:
        msg = f"no {kind.__name__}"
        raise AssertionError(msg)
    assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
    assert error.status_code == status, error.status_code
    assert isinstance(error.body, dict), error.body
    assert error.body["message"], error.body
    assert set(error.body) >= {"message", "type", "param", "code"}, error.body
    assert error.response.headers["x-request-id"]
    assert "Traceback" not in error.response.text
    assert "litellm" not in error.response.text.lower()
    return error


class Scenarios:
    """Each public method is a scenario; it passes by returning."""

    def __init__(self, base_url: str, guarded_url: str, key: str) -> None:
        self.client = OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60)
        self.asynchronous = AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60)
        self.guarded_url = guarded_url
        self.key = key

    def create(self, **arguments):
        """One chat completion, over everything there is unless told otherwise."""
        return self.client.chat.completions.create(**{"model": "auto", "messages": HELLO, **arguments})

    # --- chat

    def chat(self) -> None:
        answer = self.create()
        assert answer.object == "chat.completion"
        assert answer.id
        assert answer.created > 1_600_000_000
        assert len(answer.choices) == 1
        choice = answer.choices[0]
        assert choice.index == 0
        assert choice.finish_reason == "stop"
        assert choice.message.role == "assistant"
        assert choice.message.content
        assert not choice.message.tool_calls
        assert answer.usage.prompt_tokens > 0
        assert answer.usage.completion_tokens > 0
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
        assert answer.model != "auto"

    def conversation(self) -> None:
        answer = self.create(
            messages=[
                {"role": "system", "content": "You are terse."},
                {"role": "user", "content": [{"type": "text", "text": "My name is Ada."}]},
                {"role": "assistant", "content": "Hello Ada."},
                {"role": "user", "content": "What did I say?"},
            ],
            temperature=0.2,
            seed=7,
            user="somebody",
            extra_body={"a_field_of_next_year": {"deep": [1, 2.5, None]}},
        )
        assert answer.choices[0].message.content

    def max_tokens(self) -> None:
        answer = self.create(messages=[{"role": "user", "content": "Explain how rivers form."}], max_tokens=3)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.completion_tokens <= 8

    def several_choices(self) -> None:
        answer = self.create(n=2)
        assert [choice.index for choice in answer.choices] == [0, 1]
        assert all(choice.message.content for choice in answer.choices)

    def raw_headers(self) -> None:
        raw = self.client.chat.completions.with_raw_response.create(
            model="auto",
            messages=[{"role": "user", "content": "Write a Python function that parses ISO 8601 durations"}],
            extra_headers={"x-router-policy": "cost", "x-router-max-cost-usd": "0.01", "x-request-id": "sdk-test.1"},
        )
        headers = raw.headers
        assert headers["x-request-id"] == "sdk-test.1"
        assert 0 <= float(headers["x-router-overhead-ms"]) < 10_000
        assert headers["x-router-decision-id"]
        assert headers["x-router-provider"]
        assert headers["x-router-policy"] == "cost"
        assert headers["x-router-mode"] == "single"
        assert headers["x-router-task"] == "code_generation"
        assert 0 <= float(headers["x-router-task-confidence"]) <= 1
        assert int(headers["x-router-attempts"]) == 1
        assert float(headers["x-router-score"]) == float(headers["x-router-score"])
        assert 0 <= float(headers["x-router-cost-usd"]) <= 0.01
        answer = raw.parse()
        assert answer.choices[0].message.content
        assert answer.model in headers["x-router-model"]

    def hints_in_the_body(self) -> None:
        answer = self.create(extra_body={"router": {"task": "planning", "policy": "quality", "explain": True}})
        explained = answer.model_extra["router"]
        assert isinstance(explained, dict)
        assert "planning" in json.dumps(explained)

    def different_prompts_are_different_tasks(self) -> None:
        prompts = {
            "code_generation": "Write a Python function that merges two sorted lists.",
            "planning": "Make a project plan with milestones for moving our office to another city.",
        }
        for task, prompt in prompts.items():
            raw = self.client.chat.completions.with_raw_response.create(
                model="auto", messages=[{"role": "user", "content": prompt}]
            )
            assert raw.headers["x-router-task"] in TASKS
            assert raw.headers["x-router-task"] == task, (prompt, raw.headers["x-router-task"])

    def route_without_calling(self) -> None:
        decision = self.client.post("/route", body={"model": "auto", "messages": HELLO}, cast_to=object)
        assert isinstance(decision, dict)
        assert "choices" not in decision

    # --- streams

    def stream(self) -> None:
        chunks = list(self.create(stream=True))
        assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
        assert len({chunk.id for chunk in chunks}) == 1
        assert all(chunk.usage is None for chunk in chunks), "usage was not asked for"
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        assert deltas[0].role == "assistant"
        assert len([delta for delta in deltas if delta.content]) > 1
        finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
        assert finishes[-1] == "stop"
        assert set(finishes[:-1]) == {None}

    def stream_usage(self) -> None:
        chunks = list(self.create(stream=True, stream_options={"include_usage": True}))
        last = chunks[-1]
        assert last.choices == []
        assert last.usage.prompt_tokens > 0
        assert last.usage.completion_tokens > 0
        assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens
        assert last.usage.model_extra["cost"] >= 0
        assert all(chunk.usage is None for chunk in chunks[:-1])

    def stream_helper(self) -> None:
        with self.client.chat.completions.stream(model="auto", messages=HELLO) as stream:
            text = "".join(event.delta for event in stream if event.type == "content.delta")
            final = stream.get_final_completion()
        assert text
        assert final.choices[0].message.content == text

    def stream_headers(self) -> None:
        with self.client.chat.completions.with_streaming_response.create(
            model="auto", messages=HELLO, stream=True
        ) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["x-router-decision-id"]
            assert response.headers["x-router-task"] in TASKS
            lines = [line for line in response.iter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        assert all(line.startswith("data: ") for line in lines)

    def stream_left_early(self) -> None:
        stream = self.create(stream=True)
        next(iter(stream))
        stream.close()
        assert self.create().choices[0].message.content

    def asynchronous_chat_and_stream(self) -> None:
        async def both() -> None:
            async with self.asynchronous as client:
                answers = await asyncio.gather(
                    *(client.chat.completions.create(model="auto", messages=HELLO) for _ in range(4))
                )
                assert all(answer.choices[0].message.content for answer in answers)
                stream = await client.chat.completions.create(model="auto", messages=HELLO, stream=True)
                text = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
                assert "".join(text)

        asyncio.run(both())

    # --- tools

    def tools(self) -> None:
        question = [{"role": "user", "content": "What is the weather in Paris?"}]
        first = self.create(messages=question, tools=[WEATHER])
        assert first.choices[0].finish_reason == "tool_calls"
        (call,) = first.choices[0].message.tool_calls
        assert call.id
        assert call.type == "function"
        assert call.function.name == "get_weather"
        assert isinstance(json.loads(call.function.arguments)["city"], str)
        result = {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 21.5 degrees"}
        turn = first.choices[0].message.model_dump(exclude_none=True)
        second = self.create(messages=[*question, turn, result], tools=[WEATHER])
        assert second.choices[0].finish_reason == "stop"
        assert "21.5" in second.choices[0].message.content

    def tool_choice(self) -> None:
        named = {"type": "function", "function": {"name": "get_time"}}
        answer = self.create(tools=[WEATHER, TIME], tool_choice=named)
        assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["get_time"]
        answer = self.create(tools=[WEATHER], tool_choice="none")
        assert answer.choices[0].finish_reason == "stop"
        assert answer.choices[0].message.content

    def custom_tools(self) -> None:
        tool = {"type": "custom", "custom": {"name": "run_code", "description": "Run code"}}
        raw = self.client.chat.completions.with_raw_response.create(model="auto", messages=HELLO, tools=[tool])
        assert raw.headers["x-router-provider"] == "demo-openai", "no other wire has a word for it"
        assert "x-router-dropped-params" not in raw.headers

    def parallel_tools(self) -> None:
        question = [{"role": "user", "content": "Look up the weather in Paris and the local time in Tokyo"}]
        first = self.create(messages=question, tools=[WEATHER, TIME], parallel_tool_calls=True)
        calls = first.choices[0].message.tool_calls
        assert [call.function.name for call in calls] == ["get_weather", "get_time"]
        assert len({call.id for call in calls}) == 2
        turn = first.choices[0].message.model_dump(exclude_none=True)
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": f"result number {40 + index}"}
            for index, call in enumerate(calls)
        ]
        second = self.create(messages=[*question, turn, *results], tools=[WEATHER, TIME])
        assert "40" in second.choices[0].message.content
        assert "41" in second.choices[0].message.content

    def stream_tools(self) -> None:
        question = [{"role": "user", "content": "What is the weather in Paris?"}]
        made: dict[int, dict[str, str]] = {}
        finish = None
        for chunk in self.create(messages=question, tools=[WEATHER], stream=True):
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
                for delta in choice.delta.tool_calls or []:
                    call = made.setdefault(delta.index, {"id": "", "name": "", "arguments": ""})
                    call["id"] += delta.id or ""
                    call["name"] += delta.function.name or ""
                    call["arguments"] += delta.function.arguments or ""
        assert finish == "tool_calls"
        assert list(made) == [0]
        assert made[0]["id"]
        assert made[0]["name"] == "get_weather"
        assert isinstance(json.loads(made[0]["arguments"])["city"], str)

    # --- shapes

    def json_schema(self) -> None:
        answer = self.create(
            messages=[{"role": "user", "content": "Invent a person."}],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "person", "strict": True, "schema": PERSON},
            },
        )
        made = json.loads(answer.choices[0].message.content)
        assert set(made) == {"name", "age", "tags"}
        assert isinstance(made["age"], int)
        assert isinstance(made["tags"], list)

    def parse(self) -> None:
        answer = self.client.chat.completions.parse(
            model="auto", messages=[{"role": "user", "content": "Invent a person."}], response_format=Person
        )
        assert isinstance(answer.choices[0].message.parsed, Person)

    def json_object(self) -> None:
        answer = self.create(
            messages=[{"role": "user", "content": "Answer with a JSON object."}],
            response_format={"type": "json_object"},
        )
        assert isinstance(json.loads(answer.choices[0].message.content), dict)

    def images(self) -> None:
        content = [
            {"type": "text", "text": "What is on this picture?"},
            {"type": "image_url", "image_url": {"url": PIXEL}},
        ]
        raw = self.client.chat.completions.with_raw_response.create(
            model="auto", messages=[{"role": "user", "content": content}]
        )
        assert raw.headers["x-router-task"] == "multimodal"
        # The demo models say what arrived, so this shows that the picture itself did.
        assert "image/png" in raw.parse().choices[0].message.content

    def audio_and_files(self) -> None:
        sound = {"type": "input_audio", "input_audio": {"data": "UklGRiQAAABXQVZF", "format": "wav"}}
        paper = {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQKJSVFT0Y="},
        }
        for part, kind in ((sound, "audio/wav"), (paper, "application/pdf")):
            content = [{"type": "text", "text": "What is in this?"}, part]
            raw = self.client.chat.completions.with_raw_response.create(
                model="auto", messages=[{"role": "user", "content": content}]
            )
            assert raw.headers["x-router-task"] == "multimodal"
            text = raw.parse().choices[0].message.content
            assert "1 file(s)" in text
            assert kind in text

    # --- names and errors

    def models(self) -> None:
        listed = [model.id for model in self.client.models.list()]
        assert {"auto", "auto:quality", "auto:cost", "auto:speed"} <= set(listed)
        assert self.client.models.retrieve("auto").id == "auto"
        pinned = next(name for name in listed if "/" in name)
        assert self.client.models.retrieve(pinned).id == pinned
        raw = self.client.chat.completions.with_raw_response.create(
            model=pinned, messages=HELLO, extra_headers={"x-router-fallbacks": "none"}
        )
        assert raw.headers["x-router-model"] in {pinned, pinned.partition("/")[2]}
        raises(openai.NotFoundError, 404, lambda: self.client.models.retrieve("no-such-model"))

    def bad_request(self) -> None:
        error = raises(openai.BadRequestError, 400, lambda: self.create(messages=[]))
        assert error.param == "messages"
        raises(openai.BadRequestError, 400, lambda: self.create(messages=[{"role": "nobody", "content": "x"}]))
        raises(openai.BadRequestError, 400, lambda: self.create(temperature="warm"))
        error = raises(openai.BadRequestError, 400, lambda: self.create(extra_headers={"x-router-policy": "no-such"}))
        assert "balanced" in error.message, "says what is allowed"
        raises(openai.BadRequestError, 400, lambda: self.create(extra_body={"router": {"no_such_hint": 1}}))

    def too_cheap(self) -> None:
        error = raises(
            openai.BadRequestError, 400, lambda: self.create(extra_headers={"x-router-max-cost-usd": "0.000000000001"})
        )
        assert error.code == "max_cost_too_low"

    def nobody_can(self) -> None:
        hint = {"x-router-max-latency-ms": "1"}
        error = raises(openai.BadRequestError, 400, lambda: self.create(extra_headers=hint))
        assert error.param == "router.max_latency_ms"
        assert "is above 1 ms" in error.message, "a newer SDK shows the message and nothing else"

    def unknown_model(self) -> None:
        error = raises(openai.NotFoundError, 404, lambda: self.create(model="no-such-model"))
        assert "GET /v1/models" in error.message
        raises(openai.NotFoundError, 404, lambda: self.create(model="no-such-model", stream=True))

    def unsupported_endpoint(self) -> None:
        for call in (
            lambda: self.client.embeddings.create(model="auto", input="x"),
            lambda: self.client.responses.create(model="auto", input="x"),
            lambda: self.client.completions.create(model="auto", prompt="x"),
            lambda: self.client.moderations.create(input="x"),
            self.client.files.list,
        ):
            error = raises(openai.NotFoundError, 404, call)
            assert error.code == "not_supported"
            assert "use /v1/chat/completions" in error.message.replace("POST ", "")

    def wrong_address(self) -> None:
        for wrong in ("", "/v1/v1", "/api"):
            base_url = str(self.client.base_url).removesuffix("/v1/") + wrong
            client = OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60)
            create = partial(client.chat.completions.create, model="auto", messages=HELLO)
            error = raises(openai.NotFoundError, 404, create)
            assert "use POST /v1/chat/completions" in error.message
            assert "use GET /v1/models" in raises(openai.NotFoundError, 404, client.models.list).message
        error = raises(openai.APIStatusError, 405, self.client.chat.completions.list)
        assert "use POST" in error.message

    def wrong_key(self) -> None:
        client = OpenAI(base_url=self.guarded_url, api_key="wrong", max_retries=0, timeout=60)
        raises(openai.AuthenticationError, 401, lambda: client.chat.completions.create(model="auto", messages=HELLO))
        raises(openai.AuthenticationError, 401, client.models.list)
        client = OpenAI(base_url=self.guarded_url, api_key=self.key, max_retries=0, timeout=60)
        assert client.chat.completions.create(model="auto", messages=HELLO).choices[0].message.content


def names() -> list[str]:
    """The scenarios in the order they are written."""
    return [name for name in vars(Scenarios) if not name.startswith("_") and name != "create"]


def main(base_url: str, guarded_url: str, key: str) -> None:
    """Run every scenario; one line of JSON each."""
    scenarios = Scenarios(base_url, guarded_url, key)
    for name in names():
        line = {"name": name, "ok": True, "error": ""}
        try:
            getattr(scenarios, name)()
        except Exception:  # noqa: BLE001 - whatever it is, it is this scenario's result
            line |= {"ok": False, "error": traceback.format_exc(limit=-4)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
