from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.recovery import PREFILL, Mismatch, Splice, can_continue, continuation
from gateway.relay import Relay
from router_core.ports import Event
from tests.fakes.contexts import context, services
from tests.unit.router_core.builders import deployment, registry

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
LONG = st.text("abc \n\u00e9\U0001f600", min_size=24, max_size=60)


def relay_of(*chunks: dict[str, Any], **options: Any) -> Relay:
    relay = Relay(deployment(), include_usage=False, keep=True, **options)
    for chunk in chunks:
        relay.feed(Event(chunk))
    return relay


FIRST = {"id": "first-id", "created": 7, "model": "m1", "choices": [{"index": 0, "delta": {"content": "x"}}]}


def splice(text: str, *, prefilled: bool) -> Splice:
    return Splice(text, relay_of(dict(FIRST)), prefilled=prefilled)


def chunk(content: str | None = None, reason: str | None = None, **delta: Any) -> dict[str, Any]:
    fresh = {**({} if content is None else {"content": content}), **delta}
    return {"id": "second-id", "created": 9, "choices": [{"index": 0, "delta": fresh, "finish_reason": reason}]}


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({min(place, len(text)) for place in places} | {len(text)})
    return [text[low:high] for low, high in zip([0, *ends], ends, strict=False) if high > low]


def given_out(one: Splice, pieces: list[str], reason: str | None = "stop") -> str:
    """Feed pieces and an end; return the content that goes to the client."""
    chunks = [chunk(piece) for piece in pieces]
    if reason is not None:
        chunks.append(chunk(reason=reason))
    sent = [orjson.loads(payload) for each in chunks for payload in one.take(each)]
    return "".join(choice["delta"].get("content", "") for each in sent for choice in each["choices"])


@given(TEXT, st.integers(0, 60), st.lists(st.integers(0, 60)))
def test_wherever_it_was_cut_an_answer_written_again_gives_the_client_exactly_that_answer(answer, sent, places):
    had = answer[:sent]
    one = splice(had, prefilled=False)
    assert had + given_out(one, cut(answer, places)) == answer
    assert one.text == answer
    one.require_end()


@pytest.mark.parametrize("sent", range(len("Whole, exact.") + 1))
def test_character_by_character_nothing_is_said_twice(sent):
    answer = "Whole, exact."
    assert answer[:sent] + given_out(splice(answer[:sent], prefilled=False), list(answer)) == answer


@given(TEXT, TEXT, st.lists(st.integers(0, 120)))
@example("abc", "abd", [])
@example("abc", "ab", [1])
def test_an_answer_that_differs_is_refused_before_anything_of_it_is_sent(had, other, places):
    one = splice(had, prefilled=False)
    if other.startswith(had):
        assert had + given_out(one, cut(other, places)) == other
        return
    sent: list[bytes] = []

    def feed() -> None:
        for piece in (*(chunk(piece) for piece in cut(other, places)), chunk(reason="stop")):
            sent.extend(one.take(piece))

    with pytest.raises(Mismatch):
        feed()
    assert sent == []
    assert one.text == had


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_an_answer_that_ends_earlier_than_what_was_sent_is_refused(reason):
    one = splice("one two three", prefilled=False)
    with pytest.raises(Mismatch):
        given_out(one, ["one two"], reason)
    with pytest.raises(Mismatch):
        one.require_end()


@given(LONG, TEXT, st.lists(st.integers(0, 120)))
def test_a_prefilled_answer_goes_on_where_the_other_one_stopped(had, rest, places):
    if rest.startswith(had[:24]) or had.startswith(rest[:24]):
        return  # it could just as well have begun anew
    one = splice(had, prefilled=True)
    assert given_out(one, cut(rest, places)) == rest
    assert one.text == had + rest


@given(LONG, st.text("abc ", max_size=30), st.lists(st.integers(0, 120)))
def test_a_prefilled_answer_that_begins_anew_is_spliced_like_one_written_again(had, rest, places):
    one = splice(had, prefilled=True)
    assert given_out(one, cut(had + rest, places)) == rest
    assert one.text == had + rest
    one.require_end()


def test_a_prefilled_answer_that_begins_anew_and_then_differs_is_refused():
    had = "The capital of France is Paris, of course."
    one = splice(had, prefilled=True)
    with pytest.raises(Mismatch):
        given_out(one, [had[:30], "something else"])


@given(st.integers(1, 5))
def test_a_short_continuation_that_looks_like_the_beginning_is_given_out_at_the_end(length):
    had = "ha ha ha ha ha ha ha ha ha ha"
    one = splice(had, prefilled=True)
    assert given_out(one, list(had[:length])) == had[:length]
    assert one.text == had + had[:length]


def test_the_first_answer_s_id_stays_and_the_second_one_s_usage_is_not_told():
    one = splice("ab", prefilled=False)
    payloads = [*one.take({**chunk("abc"), "usage": {"prompt_tokens": 3}}), *one.take(chunk(reason="stop"))]
    sent = [orjson.loads(payload) for payload in payloads]
    assert [(each["id"], each["created"]) for each in sent] == [("first-id", 7)] * 2
    assert all("usage" not in each for each in sent)
    assert sent[-1]["choices"][0]["finish_reason"] == "stop"


def test_reasoning_and_chunks_without_news_are_not_passed_on():
    one = splice("ab", prefilled=False)
    assert list(one.take(chunk(reasoning_content="hm"))) == []
    assert list(one.take(chunk("ab", role="assistant"))) == []
    assert list(one.take(None)) == []
    assert list(one.take({"choices": None})) == []
    assert list(one.take({"choices": ["odd", {"delta": "odd"}]})) == []


def test_tool_calls_come_after_the_repeated_text_or_not_at_all():
    calls = [{"index": 0, "id": "c"}]
    one = splice("ab", prefilled=False)
    with pytest.raises(Mismatch):
        list(one.take(chunk(tool_calls=calls)))
    one = splice("ab", prefilled=False)
    (payload,) = one.take(chunk("ab", tool_calls=calls))
    assert orjson.loads(payload)["choices"][0]["delta"] == {"tool_calls": calls}


PARTS = services(
    registry(
        {"id": "acme/m1", "capabilities": ["prefill", "tools", "json_object"]}, {"id": "beta/m2", "capabilities": []}
    )
)
JSON_MODE = {"response_format": {"type": "json_object"}}
TOOLS = {"tools": [{"type": "function", "function": {"name": "f"}}]}


def changes(deployment: str, text: str = "so far", **body: Any) -> dict[str, Any]:
    return dict(continuation(PARTS, context(PARTS, **body), text)(deployment))


def test_only_one_known_to_accept_a_prefill_gets_one():
    assert changes("acme/m1")["messages"] == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "so far"},
    ]
    assert changes("beta/m2") == {}


@pytest.mark.parametrize(
    ("text", "body"), [("so far", JSON_MODE), ("so far", TOOLS), ("", {}), ("ends in a space ", {}), ("line\n", {})]
)
def test_what_a_prefill_could_break_is_written_again(text, body):
    assert changes("acme/m1", text, **body) == {}


def test_one_that_refused_a_prefill_is_not_sent_one_again():
    PARTS.quirks.add(("acme/m1", PREFILL))
    try:
        assert changes("acme/m1") == {}
    finally:
        PARTS.quirks.clear()


def test_only_one_choice_of_plain_text_can_be_continued():
    plain = relay_of({"choices": [{"delta": {"content": "a"}}]})
    calls = relay_of({"choices": [{"delta": {"tool_calls": [{"id": "c"}]}}]})
    thought = relay_of({"choices": [{"delta": {"reasoning_content": "hm"}}]})
    one = context(PARTS)
    assert [can_continue(one, each) for each in (plain, calls, thought)] == [True, False, False]
    parts = services(registry({"id": "acme/m1", "capabilities": ["n"]}))
    assert not can_continue(context(parts, n=2), plain)
