"""Requests whose fields cannot be: every known field in every wrong type, every shape of a message and a tool."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.http.fields import FIELDS
from tests.fakes.edge import HELLO, Edge, assert_refused

pytestmark = pytest.mark.anyio


SAMPLES: dict[str, Any] = {
    "true": True,
    "whole": 7,
    "negative": -1,
    "huge": 10**18,
    "fraction": 0.5,
    "text": "zebra",
    "empty text": "",
    "list": [1],
    "empty list": [],
    "object": {"a": 1},
    "empty object": {},
}
"""One of each type of JSON; null counts as absent."""

WHOLE, FRACTION, TEXT, FLAG = {"whole"}, {"fraction"}, {"text", "empty text"}, {"true"}
OBJECT = {"object", "empty object"}
RIGHT: dict[str, set[str]] = {
    "stream": FLAG,
    "stream_options": set(),
    "n": WHOLE,
    "temperature": FRACTION,
    "top_p": FRACTION,
    "max_tokens": WHOLE,
    "max_completion_tokens": WHOLE,
    "presence_penalty": FRACTION | {"negative"},
    "frequency_penalty": FRACTION | {"negative"},
    "logprobs": FLAG,
    "top_logprobs": WHOLE,
    "seed": WHOLE | {"negative", "huge"},
    "stop": TEXT | {"empty list"},
    "logit_bias": OBJECT,
    "user": TEXT,
    "metadata": OBJECT,
    "response_format": set(),
    "tool_choice": OBJECT,
    "function_call": TEXT,
    "parallel_tool_calls": FLAG,
    "modalities": {"empty list"},
    "audio": OBJECT,
    "prediction": OBJECT,
    "reasoning_effort": TEXT,
    "verbosity": TEXT,
    "store": FLAG,
    "service_tier": TEXT,
    "prompt_cache_key": TEXT,
    "prompt_cache_retention": TEXT,
    "safety_identifier": TEXT,
    "web_search_options": OBJECT,
    "tools": {"empty list"},
    "functions": {"empty list"},
    "model": set(),
    "messages": set(),
}
"""Field -> the samples that are right for it, or at least another rule's to judge."""

WRONG = [(field, sample) for field, right in RIGHT.items() for sample in SAMPLES if sample not in right]


def test_every_known_field_is_in_the_table():
    assert set(FIELDS) | {"tools", "functions", "model", "messages"} == set(RIGHT)


async def test_every_field_in_every_wrong_type_is_refused_by_its_name(edge: Edge):
    for field, sample in WRONG:
        if (field, sample) == ("model", "text"):
            continue  # a name that nobody has: 404, below
        error = assert_refused(await edge.chat(**{field: SAMPLES[sample]}), 400)
        assert (error["param"] or "").split(".")[0].split("[")[0] == field, (field, sample, error)
        assert error["code"] == "invalid_request", (field, sample, error)
    assert edge.calls == []
    await edge.assert_well()


def message(**fields: Any) -> list[Any]:
    return [{"role": "user", "content": "hello", **fields}]


def part(**fields: Any) -> list[Any]:
    return [{"role": "user", "content": [fields]}]


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
FUNCTION = {"name": "f", "parameters": {}}

BODIES: dict[str, tuple[dict[str, Any], str | None]] = {
    "no model": ({"model": ...}, "model"),
    "empty model": ({"model": ""}, "model"),
    "model is null": ({"model": None}, "model"),
    "no messages": ({"messages": ...}, "messages"),
    "messages are null": ({"messages": None}, "messages"),
    "empty messages": ({"messages": []}, "messages"),
    "too many messages": ({"messages": HELLO * 65}, "messages"),
    "message is text": ({"messages": ["hello"]}, "messages[0]"),
    "message is null": ({"messages": [None]}, "messages[0]"),
    "unknown role": ({"messages": message(role="wizard")}, "messages[0].role"),
    "role with spaces": ({"messages": message(role=" user")}, "messages[0].role"),
    "role is a list": ({"messages": message(role=["user"])}, "messages[0].role"),
    "no role": ({"messages": [{"content": "x"}]}, "messages[0].role"),
    "the second is bad": ({"messages": [*HELLO, {"role": "x", "content": ""}]}, "messages[1].role"),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0].content"),
    "content is null": ({"messages": message(content=None)}, "messages[0].content"),
    "content is a number": ({"messages": message(content=5)}, "messages[0].content"),
    "content is an object": ({"messages": message(content={})}, "messages[0].content"),
    "content is an empty list": ({"messages": message(content=[])}, "messages[0].content"),
    "a part is text": ({"messages": message(content=["x"])}, "messages[0].content[0]"),
    "a part without type": ({"messages": part(text="x")}, "messages[0].content[0]"),
    "a part's text is a number": ({"messages": part(type="text", text=5)}, "messages[0].content[0].text"),
    "a part without text": ({"messages": part(type="text")}, "messages[0].content[0].text"),
    "an image without address": ({"messages": part(type="image_url")}, "messages[0].content[0].image_url.url"),
    "an image that is a number": (
        {"messages": part(type="image_url", image_url={"url": 5})},
        "messages[0].content[0].image_url.url",
    ),
    "audio without data": (
        {"messages": part(type="input_audio", input_audio={})},
        "messages[0].content[0].input_audio",
    ),
    "a file that is text": ({"messages": part(type="file", file="x")}, "messages[0].content[0].file"),
    "a name that is a list": ({"messages": message(name=["x"])}, "messages[0].name"),
    "a silent assistant": ({"messages": [{"role": "assistant"}]}, "messages[0].content"),
    "tool calls are text": (
        {"messages": [{"role": "assistant", "tool_calls": "x"}]},
        "messages[0].tool_calls",
    ),
    "a tool call without id": (
        {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "id": None}]}]},
        "messages[0].tool_calls[0]",
    ),
    "a tool call's arguments are an object": (
        {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]}]},
        "messages[0].tool_calls[0]",
    ),
    "a tool's answer to nothing": ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    "n is 0": ({"n": 0}, "n"),
    "n is huge": ({"n": 10_000}, "n"),
    "n is true": ({"n": True}, "n"),
    "n beyond 64 bits": ({"n": 10**30}, "n"),
    "no tokens": ({"max_tokens": 0}, "max_tokens"),
    "negative tokens": ({"max_tokens": -5}, "max_tokens"),
    "absurd tokens": ({"max_tokens": 10**12}, "max_tokens"),
    "negative completion tokens": ({"max_completion_tokens": -1}, "max_completion_tokens"),
    "tokens in text": ({"max_tokens": "100"}, "max_tokens"),
    "hot": ({"temperature": 2.1}, "temperature"),
    "cold": ({"temperature": -0.1}, "temperature"),
    "temperature beyond floats": ({"temperature": 10**18}, "temperature"),
    "top_p": ({"top_p": 1.1}, "top_p"),
    "top_logprobs": ({"top_logprobs": 21}, "top_logprobs"),
    "penalty": ({"presence_penalty": 2.5}, "presence_penalty"),
    "bias": ({"logit_bias": {"1": 101}}, "logit_bias"),
    "bias in text": ({"logit_bias": {"1": "much"}}, "logit_bias"),
    "too many stops": ({"stop": ["x"] * 17}, "stop"),
    "a stop that is a number": ({"stop": ["x", 5]}, "stop"),
    "options without a stream": ({"stream_options": {"include_usage": True}}, "stream_options"),
    "usage wish in text": (
        {"stream": True, "stream_options": {"include_usage": "yes"}},
        "stream_options.include_usage",
    ),
    "a format without type": ({"response_format": {}}, "response_format"),
    "a schema that is text": (
        {"response_format": {"type": "json_schema", "json_schema": "x"}},
        "response_format.json_schema",
    ),
    "an unknown tool choice": ({"tool_choice": "maybe"}, "tool_choice"),
    "thousands of tools": ({"tools": [{"type": "function", "function": FUNCTION}] * 5000}, "tools"),
    "a tool without type": ({"tools": [{"function": FUNCTION}]}, "tools[0].type"),
    "a tool without function": ({"tools": [{"type": "function"}]}, "tools[0]"),
    "a tool without name": ({"tools": [{"type": "function", "function": {"parameters": {}}}]}, "tools[0]"),
    "a tool with an empty name": ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0]"),
    "parameters are text": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
        "tools[0].parameters",
    ),
    "strict is text": (
        {"tools": [{"type": "function", "function": {"name": "f", "strict": "yes"}}]},
        "tools[0].strict",
    ),
    "modalities": ({"modalities": ["text", 5]}, "modalities"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_cannot_be_is_refused_by_the_field(edge: Edge, name: str):
    fields, param = BODIES[name]
    assert_refused(await edge.chat(**fields), 400, "invalid_request", param)
    body = {key: value for key, value in {"model": "main", "messages": HELLO, **fields}.items() if value is not ...}
    assert_refused(await edge.request("POST", "/v1/route", json=body), 400, "invalid_request", param)
    assert edge.calls == []


@pytest.mark.parametrize(
    "name",
    ["nobody", "alpha", "alpha/none", "../main", "main ", "MAIN", "alpha/small#2", "x" * 100_000, "a\r\nb", "%00"],
)
async def test_a_model_nobody_has_is_not_found(edge: Edge, name: str):
    seen = await edge.chat(model=name)
    error = assert_refused(seen, 404, "model_not_found", "model")
    assert len(error["message"]) < 1000
    assert edge.calls == []
