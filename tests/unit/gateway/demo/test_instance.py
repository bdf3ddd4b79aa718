"""Whatever a tool's schema says, the made-up arguments satisfy it."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.demo.instance import instance

CHECK = jsonschema.Draft202012Validator


def leaves() -> st.SearchStrategy[dict[str, Any]]:
    strings = st.builds(
        lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more},
        st.integers(0, 80),
        st.integers(0, 40),
    )
    numbers = st.builds(
        lambda kind, low, more: {"type": kind, "minimum": low, "maximum": low + more},
        st.sampled_from(["integer", "number"]),
        st.integers(-1000, 1000),
        st.integers(0, 50),
    )
    steps = st.builds(lambda step: {"type": "integer", "multipleOf": step}, st.integers(1, 50))
    open_ends = st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.integers(-50, 50))
    plain = st.sampled_from([{"type": name} for name in ("string", "integer", "number", "boolean", "null")])
    choice = st.lists(st.one_of(st.text(max_size=5), st.integers(), st.none()), min_size=1).map(lambda v: {"enum": v})
    several = st.sampled_from([{"type": ["string", "null"]}, {"const": {"a": [1]}}, {"type": "integer", "default": 4}])
    formats = st.sampled_from(["date", "email", "uuid", "ipv4"]).map(lambda name: {"type": "string", "format": name})
    return st.one_of(strings, numbers, steps, open_ends, plain, choice, several, formats)


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    arrays = st.builds(
        lambda item, low, more: {"type": "array", "items": item, "minItems": low, "maxItems": low + more},
        inner,
        st.integers(0, 3),
        st.integers(0, 3),
    )
    properties = st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=4)
    objects = st.builds(
        lambda props, every: {
            "type": "object",
            "properties": props,
            "required": sorted(props) if every else sorted(props)[:1],
            "additionalProperties": False,
        },
        properties,
        st.booleans(),
    )
    any_of = st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    return st.one_of(arrays, objects, any_of)


@settings(max_examples=300, deadline=None)
@given(schema=st.recursive(leaves(), nested, max_leaves=8), hint=st.text(max_size=50))
def test_the_value_is_valid_and_always_the_same(schema: dict[str, Any], hint: str):
    value = instance(schema, hint)
    CHECK(schema).validate(value)
    assert instance(schema, hint) == value


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {
            "$defs": {"a": {"type": "integer", "minimum": 3}},
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/a"}},
        },
        {
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {
                        "v": {"type": "string"},
                        "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]},
                    },
                    "required": ["v"],
                }
            },
            "$ref": "#/$defs/node",
        },
        {
            "allOf": [
                {"properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"properties": {"b": {"type": "null"}}},
            ]
        },
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
        {"type": "array", "items": {"type": "string"}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 2, "uniqueItems": True},
        {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    ],
)
def test_references_and_combinations(schema: dict[str, Any]):
    CHECK(schema).validate(instance(schema, "a hint of 5"))


def test_a_schema_that_never_ends_is_cut_off():
    endless = {"$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}}}
    assert isinstance(instance({**endless, "$ref": "#/$defs/n"}), dict)
    assert instance({"$ref": "#"}) is not None


def test_the_prompt_shows_in_free_values():
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
    assert instance(schema, "Rome for 3 days") == {"city": "Rome for 3 days", "days": 3}
    assert instance({"enum": ["cheap", "dear"]}, "the dear one") == "dear"
