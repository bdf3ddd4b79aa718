"""What of a stream's events goes to the client, and what is remembered of it."""

from __future__ import annotations

import copy
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import chunks
from gateway.relay import DONE, Relay, frame, frames
from router_core.deployment import Deployment
from router_core.ports import Event
from router_core.registry import Registry


def deployment() -> Deployment:
    rows = [
        {
            "id": "p/m",
            "provider": "p",
            "model": "m",
            "context_window": 8000,
            "price_usd_per_mtok": {"input": 1, "output": 2},
        }
    ]
    return Registry.from_mapping({"providers": {"p": {"wire": "openai"}}, "deployments": rows}).deployments["p/m"]


def relay(*, include_usage: bool = False, n: int = 1, keep: bool = False) -> Relay:
    return Relay(deployment(), include_usage=include_usage, n=n, keep=keep)


def chunk(delta: dict[str, object] | None = None, finish: str | None = None, **extra: object) -> Event:
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    raw = orjson.dumps({"id": "c1", "created": 7, "model": "m", "choices": choices, **extra})
    return Event(orjson.loads(raw), raw)


def test_an_event_that_needs_no_change_is_passed_on_as_the_very_bytes_that_came():
    event = chunk({"content": "two words", "odd": [1.0, "é"]})
    assert relay().feed(event) is event.raw


def test_another_model_name_is_replaced_and_a_dated_one_is_kept():
    raw = orjson.dumps({"model": "internal-name", "choices": []})
    renamed = relay().feed(Event(orjson.loads(raw), raw))
    assert renamed is not None
    assert orjson.loads(renamed)["model"] == "m"
    dated = orjson.dumps({"model": "m-2026-01-31", "choices": []})
    assert relay().feed(Event(orjson.loads(dated), dated)) is dated


def test_a_usage_of_null_that_nobody_asked_for_is_cut_out_and_nothing_else():
    event = chunk({"content": "x"}, usage=None)
    assert event.raw is not None
    assert event.raw.endswith(b',"usage":null}')
    assert relay().feed(event) == event.raw.replace(b',"usage":null', b"")
    assert relay(include_usage=True).feed(event) is event.raw


def test_text_that_looks_like_a_usage_of_null_is_left_alone():
    event = chunk({"content": 'say ,"usage":null twice'}, usage=None)
    sent = relay().feed(event)
    assert sent is not None
    assert orjson.loads(sent)["choices"][0]["delta"]["content"] == 'say ,"usage":null twice'
    assert "usage" not in orjson.loads(sent)


def test_the_usage_chunk_is_held_back_for_the_end_and_only_for_those_who_asked():
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    asked, silent = relay(include_usage=True), relay()
    assert asked.feed(chunk(usage=usage)) is None
    assert silent.feed(chunk(usage=usage)) is None
    assert asked.usage == silent.usage == usage
    assert asked.usage_chunk is not None
    assert silent.usage_chunk is None


def test_a_stream_is_complete_when_every_choice_has_ended():
    both = relay(n=2)
    both.feed(chunk({"content": "a"}, "stop"))
    assert not both.complete
    event = Event({"model": "m", "choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]})
    both.feed(event)
    assert both.complete
    assert both.finish_reason == "stop"


def test_the_end_mark_and_broken_events_are_counted_and_never_sent():
    told = relay()
    assert told.feed(Event(malformed=True)) is None
    assert told.feed(Event(done=True)) is None
    assert (told.skipped, told.done) == (1, True)


@pytest.mark.parametrize(
    "shape", [{"choices": []}, {"choices": [{"index": 0, "delta": {}}]}, {"choices": [], "more": 1}]
)
def test_shapes_nobody_knows_are_passed_on(shape: dict[str, object]):
    raw = orjson.dumps({"model": "m", **shape})
    assert relay().feed(Event(orjson.loads(raw), raw)) is raw


@pytest.mark.parametrize("shape", [{"choices": None}, {"choices": "x"}, {"choices": [3]}, {"choices": {"a": 1}}, {}])
@pytest.mark.parametrize("more", [{}, {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}])
def test_what_is_no_list_of_choices_is_an_empty_one(shape: dict[str, object], more: dict[str, object]):
    raw = orjson.dumps({"model": "m", **shape, **more})
    told = relay(include_usage=True)
    payload = told.feed(Event(orjson.loads(raw), raw))
    chunk = told.usage_chunk if more and payload is None else orjson.loads(payload or b"")
    assert chunk == {"model": "m", "choices": [], **more}


@pytest.mark.parametrize("number", [{}, {"index": None}, {"index": "0"}])
def test_a_choice_without_a_number_has_its_place(number: dict[str, object]):
    told = relay(n=2)
    payload = told.feed(Event({"model": "m", "choices": [{"delta": {}}, {"delta": {}, "finish_reason": "stop"}]}))
    assert payload is not None
    assert [choice["index"] for choice in orjson.loads(payload)["choices"]] == [0, 1]
    assert (told.finished, told.complete) == ({1}, False)
    assert told.feed(Event({"model": "m", "choices": [{**number, "delta": {}, "finish_reason": "stop"}]})) is not None
    assert told.complete


@pytest.mark.parametrize(
    ("content", "text", "thoughts"),
    [
        ([{"type": "text", "text": "one "}, {"type": "text", "text": "two"}], "one two", None),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "x"}],
            "x",
            "hm",
        ),
        ({"type": "text", "text": "one"}, "one", None),
        (["one ", "two", None], "one two", None),
        (5, "5", None),
    ],
)
def test_content_that_is_no_text_is_put_into_words(content: object, text: str, thoughts: str | None):
    told = relay(keep=True)
    payload = told.feed(chunk({"content": content}))
    assert payload is not None
    delta = orjson.loads(payload)["choices"][0]["delta"]
    assert (delta["content"], delta.get("reasoning_content")) == (text, thoughts)
    assert (told.text, told.characters) == (text, len(text + (thoughts or "")))


def test_text_and_tool_calls_are_counted():
    told = relay(keep=True)
    told.feed(chunk({"content": "ab"}))
    told.feed(chunk({"tool_calls": [{"index": 0, "id": "t1", "function": {"arguments": ""}}]}))
    told.feed(chunk({"refusal": "no"}))
    assert (told.text, told.tool_calls, told.refusal, told.plain) == ("ab", 1, True, False)
    assert told.characters == 2 + 32 + 2
    assert told.tail(0.5).provider_cost_usd == 0.5


@given(st.lists(st.binary(min_size=1).filter(lambda data: b"\n" not in data), min_size=1))
def test_events_sent_together_are_the_same_bytes_as_sent_one_by_one(payloads: list[bytes]):
    assert frames(payloads) == b"".join(map(frame, payloads))
    assert frame(b"[DONE]") == DONE


def test_what_is_no_delta_is_put_into_a_clients_shape():
    told = relay()
    payload = told.feed(Event({"model": "m", "choices": [{"delta": 5}, {"message": {"content": "hi"}}]}))
    assert payload is not None
    assert [choice["delta"] for choice in orjson.loads(payload)["choices"]] == [{}, {"content": "hi"}]
    assert told.characters == 2


def test_a_usage_that_is_no_object_is_none():
    told = relay(include_usage=True)
    payload = told.feed(Event({"model": "m", "choices": [], "usage": "much"}))
    assert payload is not None
    assert orjson.loads(payload)["usage"] is None
    assert told.usage is None


def test_malformed_events_after_the_end_cost_nothing():
    told = relay()
    told.feed(Event({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    told.feed(Event(malformed=True))
    assert (told.complete, told.skipped) == (True, 0)


def test_fewer_choices_than_asked_for_are_whole_when_the_end_mark_says_so():
    told = relay(n=2)
    told.feed(Event({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    assert (told.complete, told.whole) == (False, False)
    told.feed(Event(done=True))
    assert told.whole


def test_a_choice_that_began_and_did_not_end_is_never_whole():
    told = relay(n=2)
    told.feed(Event({"model": "m", "choices": [{"index": 1, "delta": {"content": "x"}}]}))
    told.feed(Event({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    told.feed(Event(done=True))
    assert not told.whole


def test_half_a_character_is_passed_on_and_joined_in_the_text():
    told = relay(keep=True)
    for half in ("\ud83d", "\udc26"):
        chunk = {"model": "other", "choices": [{"index": 0, "delta": {"content": half}}]}
        payload = told.feed(Event(chunk))
        assert payload is not None
        assert json.loads(payload)["choices"][0]["delta"]["content"] == half
    assert told.text == "\U0001f426"


@pytest.mark.parametrize("keep", [True, False])
def test_tool_calls_are_kept_like_text(keep):
    told = relay(keep=keep)
    told.feed(chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{"}}]}))
    told.feed(chunk({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}))
    assert [call["function"]["arguments"] for call in told.calls] == (["{}"] if keep else [])
    assert told.tool_calls == 1


_ODDS = st.sampled_from([None, 1, "", "x", [], ["x"], {}, {"content": "x"}])
_DELTAS = st.one_of(
    st.builds(lambda text: {"content": text}, st.text(max_size=4)),
    st.builds(lambda text, more: {"content": text, "role": more}, st.text(max_size=4), _ODDS),
    _ODDS,
)
_CHOICES = st.one_of(
    st.fixed_dictionaries(
        {}, optional={"index": st.sampled_from([0, 1, None, True]), "delta": _DELTAS, "finish_reason": _ODDS}
    ),
    _ODDS,
)


@given(st.lists(_CHOICES, max_size=3), st.booleans(), st.booleans())
def test_a_chunk_of_text_alone_is_tallied_like_any_other(choices, keep, include_usage):
    said = []
    for only_text in (chunks.only_text, lambda choices: ""):
        told = relay(include_usage=include_usage, keep=keep)
        event = Event(copy.deepcopy({"model": "m", "choices": choices}), b"raw")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chunks, "only_text", only_text)
            payload = told.feed(event)
        tallied = [getattr(told, name) for name in ("characters", "content_events", "finished", "parts", "plain")]
        said.append((payload, event.chunk, tallied))
    assert said[0] == said[1]
