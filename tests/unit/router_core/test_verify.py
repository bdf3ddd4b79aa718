from __future__ import annotations

import pytest

from router_core import verify as v
from router_core.verify import parses, refuses, verify

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def held(request, message, finish="stop"):
    return {check.name: check.held for check in verify(request, message, finish)}


def call(name="weather", arguments='{"city": "Rome"}'):
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


def test_plain_prose_needs_no_check():
    assert verify({}, {"content": "Hello, here you are."}, "stop") == ()


@pytest.mark.parametrize("message", [{}, {"content": None}, {"content": "  \n"}, {"content": 3, "tool_calls": "no"}])
def test_an_empty_answer_is_found(message):
    assert held({}, message) == {"not_empty": False}


def test_a_cut_answer_is_found_and_its_open_code_block_is_not_a_second_fault():
    assert held({}, {"content": "Here:\n```python\nprint(1"}, "length") == {"not_cut": False}
    assert held({}, {"content": "Here:\n```python\nprint(1"}) == {"code_closed": False}


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this request.",
        "As an AI language model, I can't do this",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Lo siento, no puedo ayudar con eso.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Извините, я не могу помочь с этим.",
        "对不起，我不能帮助你。",
        "申し訳ありませんが、お手伝いできません。",
    ],
)
def test_refusals_are_recognised_in_several_languages(text):
    assert held({}, {"content": text}) == {"not_refused": False}


@pytest.mark.parametrize(
    "text",
    [
        "I cannot stress enough how good this is.",
        "Sorry for the delay! Here it is.",
        "I can't help with that." + "x" * 700,
    ],
)
def test_what_only_sounds_like_a_refusal_is_none(text):
    assert not refuses(text)


def test_the_provider_s_own_refusal_counts():
    assert held({}, {"content": "no", "refusal": "policy"}) == {"not_refused": False}


@pytest.mark.parametrize(
    ("wanted", "text", "result"),
    [
        ({"type": "json_object"}, '{"a": 1}', {"json": True}),
        ({"type": "json_object"}, "a: 1", {"json": False}),
        ({"type": "json_object"}, "[" * 100_000, {"json": False}),
        ({"type": "text"}, "a: 1", {}),
        ("json", "a: 1", {}),
        (
            {"type": "json_schema", "json_schema": {"schema": {"type": "array"}}},
            "[]",
            {"json": True, "json_schema": True},
        ),
        (
            {"type": "json_schema", "json_schema": {"schema": {"type": "array"}}},
            "{}",
            {"json": True, "json_schema": False},
        ),
        ({"type": "json_schema"}, "{}", {"json": True}),
        ({"type": "json_schema", "json_schema": {}}, "{}", {"json": True}),
    ],
)
def test_the_response_format_is_held_against_the_answer(wanted, text, result):
    assert held({"response_format": wanted}, {"content": text}) == result


@pytest.mark.parametrize(
    ("made", "fine"),
    [
        (call(), True),
        (call(arguments="{}"), False),
        (call(arguments=""), False),
        (call(arguments='{"city": 3}'), False),
        (call(arguments="[]"), False),
        (call(arguments="{city}"), False),
        (call(arguments={"city": "Rome"}), False),
        (call(name="time"), False),
        (call(name=["weather"]), False),
    ],
)
def test_tool_arguments_are_held_against_their_schema(made, fine):
    request = {"tools": [WEATHER, "odd", {"function": {"name": 3}}]}
    assert held(request, {"content": None, "tool_calls": [made]}) == {"tool_arguments": fine}


def test_a_tool_without_a_schema_takes_any_object_and_calls_of_unknown_shape_are_passed_over():
    request = {"tools": [{"function": {"name": "free"}}]}
    assert held(request, {"tool_calls": [call("free", '{"x": 1}'), 3, {}]}) == {"tool_arguments": True}
    assert held({"tools": "none"}, {"tool_calls": [call("free")]}) == {"tool_arguments": False}


@pytest.mark.parametrize(
    ("language", "code", "told"),
    [
        ("python", "def f():\n    return 1\n", ""),
        ("py", "def f(:\n", "not Python"),
        ("python", ">>> 1 + 1\n2\n", None),
        ("python", "x = '\\d'\n", ""),
        ("python", "a\0b", "not Python"),
        ("python", "(" * 500 + ")" * 500, "not Python"),
        ("json", '{"a": [1]}', ""),
        ("json", "{a: 1}", "not JSON"),
        ("js", "function f() { return '}'; } // }", ""),
        ("go", "func f() { if (x { } }", "brackets do not match"),
        ("rust", "fn f() { let x = vec![1];", "brackets are left open"),
        ("java", "} {", "brackets do not match"),
        ("c", "int x; /* never closed {", ""),
        ("bash", "if [", None),
        ("python", "x = 1\n" * 20_000, None),
    ],
)
def test_code_is_parsed_where_its_language_can_be(language, code, told):
    assert parses(language, code) == told


def test_python_too_deep_for_the_parser_is_not_judged(monkeypatch):
    def deep(code):
        raise RecursionError

    monkeypatch.setattr(v.ast, "parse", deep)
    assert parses("python", "x") is None


def test_each_complete_block_is_checked_up_to_a_bound():
    text = "Look:\n```python\nx = 1\n```\nand\n```json\n{bad}\n```\nand\n```text\nfree\n```\n"
    assert held({}, {"content": text}) == {"code_python": True, "code_json": False}
    many = "```json\n{}\n```\n" * 50
    assert len(verify({}, {"content": many}, "stop")) == v.MAX_BLOCKS


def test_a_text_beyond_the_bound_is_left_alone():
    assert held({"response_format": {"type": "json_object"}}, {"content": "x" * (v.MAX_CHARS + 1)}) == {}
