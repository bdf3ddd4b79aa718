from __future__ import annotations

import jsonschema
import pytest

from router_core.schema import MAX_FAULTS, violations

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b", 1]}, "minItems": 1, "maxItems": 2},
        "next": {"$ref": "#"},
        "kind": {"const": "x"},
        "size": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]},
        "odd": {"oneOf": [{"type": "integer"}, {"minimum": 5}]},
        "both": {"allOf": [{"type": "number"}, {"exclusiveMaximum": 10}]},
        "no": {"not": {"type": "string"}},
        "pair": {"prefixItems": [{"type": "string"}, {"type": "boolean"}], "items": False},
        "many": {"type": ["string", "null"]},
        "gone": False,
    },
    "required": ["name"],
    "additionalProperties": False,
}

VALUES = [
    {"name": "Ada"},
    {"name": ""},
    {"name": "too long"},
    {"age": 3},
    {"name": "a", "age": 3.0},
    {"name": "a", "age": 3.5},
    {"name": "a", "age": True},
    {"name": "a", "age": -1},
    {"name": "a", "age": 151},
    {"name": "a", "tags": ["a", "b"]},
    {"name": "a", "tags": []},
    {"name": "a", "tags": ["a", "b", "a"]},
    {"name": "a", "tags": [True]},
    {"name": "a", "next": {"name": "b", "next": {}}},
    {"name": "a", "kind": "y"},
    {"name": "a", "kind": "x"},
    {"name": "a", "size": None},
    {"name": "a", "size": 0},
    {"name": "a", "odd": 7},
    {"name": "a", "odd": 3},
    {"name": "a", "odd": 0.5},
    {"name": "a", "both": 10},
    {"name": "a", "both": 9},
    {"name": "a", "no": "text"},
    {"name": "a", "no": 1},
    {"name": "a", "pair": ["x", True]},
    {"name": "a", "pair": ["x", 1]},
    {"name": "a", "pair": ["x", True, 3]},
    {"name": "a", "many": None},
    {"name": "a", "many": 1},
    {"name": "a", "gone": 1},
    {"name": "a", "other": 1},
    [],
    "text",
    None,
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_it_agrees_with_the_reference_implementation(value):
    assert (not violations(value, PERSON)) == jsonschema.Draft202012Validator(PERSON).is_valid(value)


@pytest.mark.parametrize(
    ("value", "schema", "fine"),
    [
        ({"x": 1}, {"additionalProperties": {"type": "string"}}, False),
        ({"x": "1"}, {"additionalProperties": {"type": "string"}}, True),
        ({"x_1": 1}, {"patternProperties": {"^x": {}}, "additionalProperties": False}, True),
        (1, {"type": "unheard-of"}, True),
        (1, {"type": ["string", "unheard-of"]}, True),
        (1, {"$ref": "https://elsewhere.example/schema"}, True),
        (1, {"$ref": "#/$defs/a/b", "$defs": {"a": 3}}, True),
        (1, {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}}, False),
        (1, {"anyOf": [], "oneOf": {}, "allOf": 3, "not": True, "enum": 4, "minimum": "low"}, True),
        ({"a": 1}, {"properties": 3, "required": "a"}, True),
        ([1], {"prefixItems": 3, "items": {"type": "string"}}, False),
        (1, True, True),
    ],
)
def test_what_is_not_understood_is_not_judged(value, schema, fine):
    assert (not violations(value, schema)) is fine


def test_faults_are_named_by_path_and_bounded():
    assert violations({"age": 1}, PERSON) == ["$.name is missing"]
    many = violations(["x"] * 50, {"items": {"type": "integer"}})
    assert len(many) == MAX_FAULTS
    assert many[0] == "$[0] must be integer"


def test_recursion_and_size_end_without_a_verdict():
    assert violations(1, {"$ref": "#"}) == []
    assert violations([0] * 50_000, {"items": {"type": "integer"}}) == []
