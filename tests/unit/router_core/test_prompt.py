from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.prompt import SYSTEM_HEAD, SYSTEM_TAIL, USER_HEAD, USER_TAIL, clip, read_prompt


def chat(*turns, **more):
    return {"messages": [{"role": role, "content": content} for role, content in turns], **more}


def test_reads_the_last_user_turn_the_system_text_and_what_came_before():
    prompt = read_prompt(
        chat(("system", "Be brief."), ("user", "Write a poem"), ("assistant", "Roses"), ("user", "and now in French?"))
    )
    assert prompt.user == "and now in French?"
    assert prompt.system == "Be brief."
    assert prompt.before == "Write a poem\nRoses"
    assert prompt.n_messages == 4


def test_a_first_turn_has_nothing_before_it():
    assert read_prompt(chat(("assistant", "Hello, what can I do?"), ("user", "hi"))).before == ""


def test_of_many_earlier_turns_the_first_and_the_latest_are_kept():
    prompt = read_prompt(chat(*[("user", f"turn {i}") for i in range(9)]))
    assert prompt.before.split("\n") == ["turn 0", "turn 6", "turn 7"]


def test_developer_messages_are_system_text():
    assert read_prompt(chat(("developer", "a"), ("system", "b"))).system == "a\nb"


def test_long_texts_keep_head_and_tail_but_are_counted_whole():
    text = "h" * 50_000 + "t" * 50_000
    prompt = read_prompt(chat(("system", text), ("user", text)))
    assert prompt.user == "h" * USER_HEAD + "\n" + "t" * USER_TAIL
    assert len(prompt.system) <= SYSTEM_HEAD + SYSTEM_TAIL + 1
    assert prompt.chars == 200_000
    assert prompt.user_chars == 100_000


def test_parts_are_joined_and_media_named():
    content = [
        {"type": "text", "text": "what is"},
        "loose",
        {"type": "image_url", "image_url": {"url": "data:"}},
        {"type": "input_audio", "input_audio": {}},
        {"type": "file", "file": {}},
        {"type": 7},
        None,
        {"type": "refusal", "refusal": "no"},
    ]
    prompt = read_prompt(chat(("user", content)))
    assert prompt.user == "what is\nloose\nno"
    assert prompt.media == {"image", "audio", "file"}
    assert prompt.images == 1


def test_wide_characters_are_counted_with_their_bytes():
    prompt = read_prompt(chat(("user", "ab яж 中文")))
    assert (prompt.chars, prompt.wide_chars, prompt.wide_bytes) == (8, 4, 10)


@given(st.text(), st.sampled_from([1, 5000]))
def test_the_bytes_of_any_text_are_those_of_utf_8(text, times):
    text = text * times
    prompt = read_prompt(chat(("user", text)))
    narrow = sum(c.isascii() for c in text)
    assert (prompt.wide_chars, prompt.wide_bytes) == (len(text) - narrow, len(text.encode()) - narrow)


def test_lone_surrogates_are_counted():
    assert read_prompt(chat(("user", "\ud800x"))).wide_chars == 1


def test_tools_and_functions_are_counted_with_their_size():
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    prompt = read_prompt(chat(("user", "x"), tools=tools, functions=[{"name": "g"}]))
    assert prompt.n_tools == 2
    assert prompt.tool_chars > 60


@pytest.mark.parametrize("role", ["tool", "function"])
def test_tool_messages_are_noticed(role):
    assert read_prompt(chat(("user", "x"), (role, "42"))).has_tool_messages


@pytest.mark.parametrize("name", ["tool_calls", "function_call"])
def test_recorded_tool_calls_are_noticed_and_counted(name):
    prompt = read_prompt({"messages": [{"role": "assistant", "content": None, name: [{"id": "1"}]}]})
    assert prompt.has_tool_messages
    assert prompt.tool_chars > 0


def test_a_schema_nested_beyond_reason_is_no_error():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert read_prompt({"messages": [], "tools": [deep]}).tool_chars == 1000


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": None},
        {"messages": "text"},
        {"messages": [1, None, "x"]},
        {"messages": [{}]},
        {"messages": [{"role": ["user"], "content": b"x"}]} | {"tools": "t"},
        {"messages": [{"role": "user", "content": {"text": "x"}}], "tools": {}},
    ],
)
def test_unknown_shapes_are_skipped(body):
    assert read_prompt(body).user == ""


def test_clip_leaves_short_texts_alone():
    assert clip("abc", 2, 1) == "abc"
    assert clip("abcd", 2, 1) == "ab\nd"
    assert clip("abcd", 2, 0) == "ab\n"


KEYS = ["messages", "role", "content", "type", "text", "tools", "functions", "tool_calls", "image_url"]
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KEYS), json_like))
def test_no_body_is_refused(body):
    prompt = read_prompt(body)
    assert prompt.wide_chars <= prompt.chars
    assert len(prompt.user) <= USER_HEAD + USER_TAIL + 1
