from __future__ import annotations

import json

import pytest

from gateway.chunks import (
    CONTENT,
    as_chunks,
    before_content,
    begins,
    ends_unsaid,
    estimate_usage,
    joined_calls,
    limit_name,
    read_answer,
    safe_name,
    shown_model,
    to_json,
)
from gateway.relay import Relay
from router_core.deployment import Provider
from router_core.outcome import Failure, FailureKind, Usage
from router_core.ports import Event
from tests.unit.router_core.builders import deployment


def chunk(delta: object = None, **choice: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, **choice}]}


@pytest.mark.parametrize("name", CONTENT)
def test_every_kind_of_content_begins_an_answer(name):
    assert begins(chunk({"role": "assistant", name: [{"x": 1}] if name.endswith("s") else "x"}))
    assert not begins(chunk({"role": "assistant", name: [] if name.endswith("s") else ""}))


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (chunk({"role": "assistant"}), False),
        (chunk({"content": None}), False),
        (chunk({}, finish_reason="stop"), True),
        (chunk({}, finish_reason=None), False),
        ({"choices": [{"text": "legacy"}]}, True),
        ({"choices": [{"delta": {}}, {"delta": {"content": "second choice"}}]}, True),
        ({"choices": []}, False),
        ({"choices": None}, False),
        ({"choices": "content"}, False),
        ({"choices": ["content", None, 3]}, False),
        ({"choices": [{"delta": "content"}]}, False),
        ({}, False),
        ({"usage": {"prompt_tokens": 3}}, False),
    ],
)
def test_only_content_or_an_end_begins_an_answer(found, wanted):
    assert begins(found) is wanted


@pytest.mark.parametrize(
    ("found", "unsaid"),
    [
        ([], False),
        ([Event(comment=True), Event(chunk({"role": "assistant"})), Event(chunk({}, finish_reason="stop"))], False),
        ([Event(malformed=True), Event(chunk({}, finish_reason="stop"))], True),
        ([Event(malformed=True), Event({"choices": None}), Event({"choices": [None, {"delta": 1}]})], True),
        ([Event(malformed=True), Event(chunk({"content": "x"}))], False),
        ([Event(malformed=True), Event(chunk({"tool_calls": [{}]}))], False),
    ],
)
def test_an_answer_that_was_all_in_what_is_no_json_is_unsaid(found, unsaid):
    assert ends_unsaid(found) is unsaid


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("chatcmpl-1", "chatcmpl-1"),
        (5, ""),
        (None, ""),
        ("a\ud83d", "a\ufffd"),
        ("\ud83d\udc26", "\U0001f426"),
        ("x" * 999, "x" * 200),
    ],
)
def test_a_name_of_a_providers_can_be_written_down(value, name):
    assert safe_name(value) == name


def test_whatever_a_provider_has_a_part_in_can_be_written():
    deep = found = []
    for _ in range(400):
        found.append([])
        found = found[0]
    chunk = {"half": "\ud83d", "large": 10**30, "deep": deep, "set": {1}}
    assert json.loads(to_json(chunk, str)) == {**chunk, "set": "{1}"}
    with pytest.raises(TypeError):
        to_json(chunk)


@pytest.mark.parametrize("kind", FailureKind)
def test_a_stream_that_breaks_before_content_may_be_repeated_and_nothing_else_changes(kind):
    failure = Failure(kind, "why", status=500, retry_after_s=3.0)
    wanted = FailureKind.PROTOCOL if kind in {"stream_broken", "stream_truncated"} else kind
    found = before_content(failure)
    assert found == Failure(wanted, "why", status=500, retry_after_s=3.0)


@pytest.mark.parametrize(
    ("model", "upstream", "shown"),
    [
        ("gpt-5", "gpt-5", "gpt-5"),
        ("gpt-5", "gpt-5-2026-01-31", "gpt-5-2026-01-31"),
        ("gpt-5", "gpt-5-0613", "gpt-5-0613"),
        ("claude-x", "claude-x@20260131", "claude-x@20260131"),
        ("llama", "llama:3.1", "llama:3.1"),
        ("m", "m-v2", "m-v2"),
        ("gpt-5", "gpt-5-mini", "gpt-5"),
        ("gpt-5", "gpt-5-2026-01-31-preview", "gpt-5"),
        ("gpt-5", "/srv/weights/gpt-5", "gpt-5"),
        ("gpt-5", "azure-deployment-7", "gpt-5"),
        ("gpt-5", "", "gpt-5"),
        ("gpt-5", None, "gpt-5"),
        ("gpt-5", 5, "gpt-5"),
        ("gpt-5", "gpt-5-2026\n", "gpt-5"),
    ],
)
def test_the_client_sees_the_registry_s_name_or_a_dated_form_of_it(model, upstream, shown):
    assert shown_model(upstream, deployment(f"acme/{model}")) == shown


def test_a_long_name_is_read_in_no_time():
    assert shown_model("gpt-5" + "-1" * 50_000 + "x", deployment("acme/gpt-5")) == "gpt-5"


@pytest.mark.parametrize(
    ("body", "reasoning", "base_url", "wire", "wanted"),
    [
        ({"max_tokens": 5}, True, None, "openai", "max_tokens"),
        ({"max_completion_tokens": 5}, False, "http://x/v1", "mistral", "max_completion_tokens"),
        ({"max_completion_tokens": 5, "max_tokens": 4}, False, None, "openai", "max_completion_tokens"),
        ({"max_tokens": None}, False, None, "openai", "max_completion_tokens"),
        ({}, True, "http://x/v1", "openai", "max_completion_tokens"),
        ({}, False, "http://x/v1", "openai", "max_tokens"),
        ({}, True, "http://x/v1", "azure", "max_completion_tokens"),
        ({}, True, None, "anthropic", "max_tokens"),
    ],
)
def test_a_limit_of_ours_goes_by_the_name_that_is_understood(body, reasoning, base_url, wire, wanted):
    provider = Provider("acme", wire, base_url=base_url)
    assert limit_name(body, deployment(reasoning=reasoning), provider) == wanted


def test_usage_that_was_not_said_is_estimated_and_marked():
    assert estimate_usage(7, 9) == Usage(input=7, output=3, estimated=True)
    assert estimate_usage(0, 0).total == 0


def test_what_a_whole_answer_says_of_itself():
    calls = [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]
    body = {
        "choices": [
            {"finish_reason": "tool_calls", "message": {"content": "four", "tool_calls": calls}},
            {"finish_reason": "stop", "message": {"content": None, "reasoning_content": "ab"}},
            "odd",
            {"message": "odd"},
        ]
    }
    facts = read_answer(body)
    assert (facts.tool_calls, facts.finish_reason, facts.refusal) == (1, "tool_calls", False)
    assert facts.characters == 6 + len(str(calls[0]))


@pytest.mark.parametrize(
    "choice",
    [
        {"finish_reason": "stop", "message": {"refusal": "I will not"}},
        {"finish_reason": "content_filter", "message": {"content": ""}},
    ],
)
def test_a_refusal_is_seen(choice):
    assert read_answer({"choices": [choice]}).refusal


@pytest.mark.parametrize("body", [{}, {"choices": None}, {"choices": []}])
def test_an_answer_without_choices_says_nothing(body):
    assert read_answer(body).characters == 0


def test_a_whole_answer_as_chunks_says_the_same():
    body = {
        "id": "a1",
        "created": 7,
        "model": "m1",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hello world", "refusal": None},
            },
            {
                "index": 1,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": f"c{n}", "type": "function", "function": {"name": "f"}} for n in range(2)],
                },
            },
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    pieces = as_chunks(body)
    assert [piece["id"] for piece in pieces] == ["a1"] * len(pieces)
    relay = Relay(deployment(), include_usage=True, n=2, keep=True)
    assert [relay.feed(Event(piece)) is not None for piece in pieces] == [True] * 4 + [False]
    assert relay.complete
    assert relay.text == "Hello world"
    assert relay.tool_calls == 2
    assert relay.usage == body["usage"]
    assert [call["index"] for call in pieces[1]["choices"][0]["delta"]["tool_calls"]] == [0, 1]
    assert all(choice["finish_reason"] is None for piece in pieces[:2] for choice in piece["choices"])
    assert [piece["choices"][0]["finish_reason"] for piece in pieces[2:4]] == ["stop", "tool_calls"]


def test_an_answer_without_usage_has_no_usage_chunk():
    assert as_chunks({"choices": [], "usage": None}) == []


def piece(arguments: object = None, **fields: object) -> dict[str, object]:
    name = {"name": fields.pop("name")} if "name" in fields else {}
    return {**fields, "function": {**name, "arguments": arguments}}


def named(*calls: tuple[object, str, str]) -> list[dict[str, object]]:
    return [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in calls]


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        ([], []),
        (
            [piece("", index=0, id="a", type="function", name="f"), piece('{"x"', index=0), piece(": 1}", index=0)],
            named(("a", "f", '{"x": 1}')),
        ),
        (  # interleaved
            [
                piece("", index=0, id="a", name="f"),
                piece("", index=1, id="b", name="g"),
                piece("1", index=0),
                piece("2", index=1),
            ],
            named(("a", "f", "1"), ("b", "g", "2")),
        ),
        (  # every one is number 0, or has none
            [piece("1", index=0, id="a", name="f"), piece("2", index=0, id="b", name="f")],
            named(("a", "f", "1"), ("b", "f", "2")),
        ),
        ([piece("1", id="a", name="f"), piece("2", id="b", name="f")], named(("a", "f", "1"), ("b", "f", "2"))),
        # said again in each piece
        ([piece("1", index=0, id="a", name="f"), piece("2", index=0, id="a", name="f")], named(("a", "f", "12"))),
        ([piece("1", index=[], id="a", name="f"), piece("2", index={})], named(("a", "f", "12"))),
        (["x", None, piece(None, index=0, id="a", name="f"), {"index": 0, "function": "y"}], named(("a", "f", ""))),
        ([{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f"}}], [{"id": "a", "type": "custom"}]),
    ],
)
def test_pieces_of_tool_calls_become_calls(pieces: list[object], calls: list[object]):
    assert joined_calls(pieces) == calls
