"""What may be in a known field: bounds at their edges, and the messages and tools OpenAI knows."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.http.errors import ApiError
from gateway.http.fields import FIELDS, ROLES, check_messages, check_tools
from router_core.policy import InputLimits

LIMITS = InputLimits(n=4, max_output_tokens=100, messages=3, tools=2)

EDGES: list[tuple[str, list[Any], list[Any]]] = [
    ("n", [1, 4], [0, 5, 1.0, True]),
    ("max_tokens", [1, 100], [0, 101, -1, 1.5]),
    ("max_completion_tokens", [1, 100], [0, 101]),
    ("temperature", [0, 2, 0.0, 2.0], [-0.001, 2.001, "1", True]),
    ("top_p", [0, 1], [1.001, -1]),
    ("presence_penalty", [-2, 2], [-2.1, 2.1]),
    ("frequency_penalty", [-2, 2], [-2.1, 2.1]),
    ("top_logprobs", [0, 20], [-1, 21, 1.5]),
    ("seed", [-(2**63), 2**63 - 1], [2**63, 1.0]),
    ("stop", ["", "x", [], ["x"] * 16], [["x"] * 17, [1], {}]),
    ("logit_bias", [{}, {"1": -100, "2": 100.0}], [{"1": 100.1}, {"1": "1"}, []]),
    ("response_format", [{"type": "text"}, {"type": "json_schema", "json_schema": {}}], [{}, {"type": "json_schema"}]),
    ("tool_choice", ["none", "auto", "required", {"type": "function"}], ["any", 1, []]),
    ("function_call", ["none", "auto", {"name": "f"}], [{}, {"name": 1}, 1]),
    ("modalities", [[], ["text", "audio"]], ["text", [1]]),
    ("stream_options", [{}, {"include_usage": None}, {"include_usage": False}], [{"include_usage": 1}, []]),
]


@pytest.mark.parametrize(("name", "good", "bad"), EDGES, ids=[edge[0] for edge in EDGES])
def test_a_field_ends_where_it_says(name: str, good: list[Any], bad: list[Any]):
    for value in good:
        FIELDS[name](name, value, LIMITS)
    for value in bad:
        with pytest.raises(ApiError) as caught:
            FIELDS[name](name, value, LIMITS)
        assert caught.value.status == 400
        assert (caught.value.param or "").startswith(name)


GOOD_MESSAGES: list[list[Any]] = [
    *([{"role": role, "content": "x", "tool_call_id": "c"}] for role in sorted(ROLES)),
    [{"role": "user", "content": ""}],
    [{"role": "user", "content": "x", "name": None, "unknown": {"a": 1}}],
    [{"role": "user", "content": [{"type": "text", "text": ""}, {"type": "made_up", "x": 1}]}],
    [{"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}],
    [{"role": "assistant", "content": None, "tool_calls": [{"type": "custom", "custom": {}}]}],
    [{"role": "assistant", "function_call": {"name": "f", "arguments": ""}}],
    [{"role": "assistant", "refusal": "no"}],
    [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
    [{"role": "assistant", "audio": {"id": "a"}}],
    [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]}],
    [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}],
]


@pytest.mark.parametrize("messages", GOOD_MESSAGES)
def test_messages_as_openai_knows_them_pass(messages: list[Any]):
    check_messages(messages, LIMITS)


def test_too_many_messages_and_tools_are_refused_at_the_limit():
    message = {"role": "user", "content": "x"}
    check_messages([message] * 3, LIMITS)
    with pytest.raises(ApiError, match="at most 3"):
        check_messages([message] * 4, LIMITS)
    tool = {"type": "function", "function": {"name": "f"}}
    check_tools({"tools": [tool] * 2, "functions": None}, LIMITS)
    with pytest.raises(ApiError, match="at most 2"):
        check_tools({"tools": [tool] * 3}, LIMITS)


def test_tools_of_other_kinds_pass_as_they_are():
    check_tools({"tools": [{"type": "web_search"}, {"type": "custom", "custom": {"name": "x"}}]}, LIMITS)
    check_tools({"functions": [{"name": "f", "parameters": None}]}, LIMITS)
    with pytest.raises(ApiError):
        check_tools({"functions": [{"description": "nameless"}]}, LIMITS)
