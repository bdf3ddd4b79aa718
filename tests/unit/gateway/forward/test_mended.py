"""JSON that orjson refuses and clients would take."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from gateway.forward.answers import parse
from gateway.forward.mended import mended, passable, sound, too_deep
from gateway.forward.streams import RelayDecoder
from router_core.errors import AttemptFailed


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "x\xff"}', {"a": "x�"}),
        (b'{"a": NaN, "b": -Infinity}', {"a": None, "b": None}),
        (b'{"a": 1e999, "b": [-1e999, 1.5]}', {"a": None, "b": [None, 1.5]}),
        (b'{"a": "\\ud83d"}', {"a": "\ud83d"}),
        (b'{"a": "one\ttwo\n"}', {"a": "one\ttwo\n"}),
        (b'{"a": ', None),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_what_is_forgiven(data: bytes, value: Any):
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(data)
    assert mended(data) == value


@pytest.mark.parametrize(
    ("data", "may"),
    [
        (b'{"a": "\\ud83d"}', True),
        (b'{"a": NaN}', False),
        (b'{"a": "\\ud83d", "b": 1e999}', False),
        (b'{"a": "\\ud83d", "b": 1e9}', True),
        (b'{"a": "\xff"}', False),
        (b'{"a": "\t"}', False),
        (b"{", False),
    ],
)
def test_only_halves_of_characters_go_on_as_they_came(data: bytes, may: bool):
    assert passable(data) is may


def test_a_sound_value_can_be_written_in_utf8():
    found = sound({"pair": "\ud83d\udc26", "half": "a\ud83d", "list": [1, None, "x"]})
    assert found == {"pair": "\U0001f426", "half": "a�", "list": [1, None, "x"]}
    assert orjson.loads(orjson.dumps(found)) == json.loads(json.dumps(found))


@pytest.mark.parametrize(("levels", "deep"), [(10, False), (300, False), (500, False), (1010, True)])
@pytest.mark.parametrize("opens", [b"[", b'{"a":'])
def test_what_nests_too_deeply_for_a_writer_is_no_answer(levels: int, deep: bool, opens: bytes):
    closes = b"]" if opens == b"[" else b"}"
    data = b'{"choices":[],"x":' + opens * levels + b"1" + closes * levels + b"}"
    assert too_deep(data, orjson.loads(data)) is deep
    (event,) = RelayDecoder().events([(b"", data)])
    assert event.malformed is deep
    if deep:
        with pytest.raises(AttemptFailed):
            parse(data)
    else:
        assert parse(data)[1]


def test_what_has_many_parts_is_not_deep():
    data = b"[" + b"[1]," * 5000 + b"[1]]"
    assert not too_deep(data, orjson.loads(data))
