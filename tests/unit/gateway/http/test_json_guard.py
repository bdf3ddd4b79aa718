"""Depth and duplicate keys: the count by bytes must agree with an exact parser, whatever the text looks like."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.errors import ApiError
from gateway.http.json_guard import check_tree

KEYS = st.sampled_from(["a", "b", 'q"', "\\", 'x":', "ö", "", " ", ":", '":', "\\\\"]) | st.text(max_size=5)


class Pairs(list[tuple[str, Any]]):
    """An object as it is written: keys may repeat."""


def pairs(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Pairs]:
    return st.lists(st.tuples(KEYS, inner), max_size=4).map(Pairs)


VALUES = st.recursive(
    st.none() | st.integers(0, 9) | KEYS, lambda inner: st.lists(inner, max_size=3) | pairs(inner), max_leaves=12
)


def written(value: Any, space: str) -> str:
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}{space}:{written(inner, space)}" for key, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(inner, space) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def repeats(value: Any) -> bool:
    if isinstance(value, Pairs):
        return len({key for key, _ in value}) != len(value) or any(repeats(inner) for _, inner in value)
    return isinstance(value, list) and any(repeats(inner) for inner in value)


@given(value=pairs(VALUES), space=st.sampled_from(["", " ", "\t", "\n ", "\r\n"]))
def test_a_repeated_key_is_found_exactly_where_there_is_one(value: Pairs, space: str):
    raw = written(value, space).encode()
    if repeats(value):
        with pytest.raises(ApiError, match="repeats the key"):
            check_tree(raw, orjson.loads(raw), 64)
    else:
        check_tree(raw, orjson.loads(raw), 64)


def test_a_tree_deeper_than_can_be_written_is_judged_by_counting():
    raw = b'{"a":' * 500 + b"1" + b"}" * 500
    check_tree(raw, orjson.loads(raw), 1000)


@pytest.mark.parametrize("depth", [1, 2, 10, 64])
def test_the_depth_is_counted_in_containers(depth: int):
    fits = b'{"a":' * depth + b"1" + b"}" * depth
    check_tree(fits, orjson.loads(fits), depth)
    deeper = b'{"a":' * depth + b"[]" + b"}" * depth
    with pytest.raises(ApiError, match=f"deeper than {depth} levels"):
        check_tree(deeper, orjson.loads(deeper), depth)


def test_a_number_beyond_reason_is_refused_by_the_exact_parser():
    body = {"a": 1.0}
    with pytest.raises(ApiError, match="not valid JSON"):
        check_tree(b'{"a" :' + b"9" * 401 + b"}", body, 64)


def test_a_repeated_key_is_named_without_control_characters():
    raw = b'{"a\\u0000b":1,"a\\u0000b":2}'
    with pytest.raises(ApiError) as caught:
        check_tree(raw, orjson.loads(raw), 64)
    assert "'ab'" in caught.value.message
