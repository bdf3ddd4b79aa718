"""A body becomes a checked request: ours taken out, the rest as it came."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.http.errors import ApiError
from gateway.http.wire import CONSUMED, STEERING, parse_chat, parse_object
from router_core.needs import KNOWN
from router_core.policy import InputLimits

LIMITS = InputLimits()
BASE: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def parse(**fields: Any) -> Any:
    return parse_chat(orjson.dumps({**BASE, **fields}), LIMITS)


def refused(**fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(**fields)
    return caught.value


def test_what_is_known_is_read():
    chat = parse(stream=True, stream_options={"include_usage": True}, max_tokens=5, n=2)
    assert (chat.model, chat.stream, chat.include_usage, chat.max_output_tokens, chat.n) == ("m", True, True, 5, 2)


def test_what_is_absent_or_null_has_its_default():
    for chat in (parse(), parse(stream=None, stream_options=None, max_tokens=None, n=None, tools=None)):
        assert (chat.stream, chat.include_usage, chat.max_output_tokens, chat.n) == (False, False, None, 1)


def test_the_newer_name_of_the_token_limit_wins():
    assert parse(max_tokens=5, max_completion_tokens=7).max_output_tokens == 7


def test_ours_is_taken_out_and_the_rest_stays():
    chat = parse(**dict.fromkeys(CONSUMED, None), user="u", unknown={"a": [1]})
    assert set(chat.body) == {"model", "messages", "user", "unknown"}
    assert set(chat.own) == CONSUMED
    assert chat.body["unknown"] == {"a": [1]}


@pytest.mark.parametrize("name", sorted(STEERING))
def test_no_steering_parameter_passes(name: str):
    error = refused(**{name: None})
    assert (error.status, error.param, error.code) == (400, name, "forbidden_parameter")


def test_a_steering_name_is_shown_short_and_printable():
    error = refused(**{"aws_\r\n" + "x" * 500: 1})
    assert error.param is not None
    assert len(error.param) <= 64
    assert error.param.isprintable()


def test_litellms_own_parameters_never_travel_unless_they_are_openais():
    from gateway.forward.params import STANDARD  # what becomes a keyword of litellm's call, when anything does

    assert not STANDARD & STEERING
    assert not KNOWN & STEERING


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"null", b'{"a":NaN}', b"\xff{}", b'{"a":1}x'])
def test_only_a_json_object_is_one(raw: bytes):
    with pytest.raises(ApiError) as caught:
        parse_object(raw, LIMITS)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_a_parsers_words_hold_nothing_of_the_body():
    with pytest.raises(ApiError) as caught:
        parse_object(b'{"password": hunter2}', LIMITS)
    assert "hunter2" not in caught.value.message
    assert "line 1, column" in caught.value.message


def test_stream_options_belong_to_a_stream():
    assert refused(stream_options={}).param == "stream_options"
    assert refused(stream=False, stream_options={}).param == "stream_options"
