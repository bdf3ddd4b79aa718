"""The part of JSON Schema that providers accept in ``response_format`` and tools, checked within bounds.

Understood: type, enum, const, properties, required, additionalProperties, items, prefixItems, minItems, maxItems,
minLength, maxLength, minimum, maximum, exclusiveMinimum, exclusiveMaximum, anyOf, oneOf, allOf, not, local $ref.
What is not understood (pattern, format, …) is not judged: a verifier may miss a fault, it must not invent one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

MAX_STEPS: Final = 20_000
MAX_DEPTH: Final = 60
MAX_FAULTS: Final = 10


class _Spent(Exception):
    """The check has used its steps: nothing more is judged."""


@dataclass(slots=True)
class _Bound:
    root: Mapping[str, Any]
    left: int = MAX_STEPS

    def step(self) -> None:
        """Use one step."""
        self.left -= 1
        if self.left < 0:
            raise _Spent


def violations(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return what in ``value`` breaks ``schema``, at most ten sentences with paths; empty when nothing found does.

    Paths name the schema's own properties and positions, never values.
    """
    found: list[str] = []
    try:
        for fault in _check(value, schema, "$", _Bound(schema), 0):
            found.append(fault)
            if len(found) >= MAX_FAULTS:
                break
    except _Spent:
        pass
    return found


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: (isinstance(v, int) and not isinstance(v, bool)) or (isinstance(v, float) and v.is_integer()),
}


def _check(value: Any, schema: Any, path: str, bound: _Bound, depth: int) -> Iterator[str]:
    bound.step()
    if depth > MAX_DEPTH:
        raise _Spent
    if schema is False:
        yield f"{path} is not allowed"
    if not isinstance(schema, Mapping):
        return
    target = _resolve(schema.get("$ref"), bound.root)
    if target is not None:
        yield from _check(value, target, path, bound, depth + 1)
    yield from _own(value, schema, path)
    yield from _combined(value, schema, path, bound, depth)
    if isinstance(value, dict):
        yield from _object(value, schema, path, bound, depth)
    elif isinstance(value, list):
        yield from _array(value, schema, path, bound, depth)


def _resolve(reference: Any, root: Mapping[str, Any]) -> Any:
    """Return what a local reference (``#/$defs/x``) points to; None for anything else."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: Any = root
    for part in reference[1:].split("/")[1:]:
        if not isinstance(found, Mapping):
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found


def _own(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    wanted = schema.get("type")
    names = [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else []
    tests = [_TYPES[name] for name in names if isinstance(name, str) and name in _TYPES]
    if names and len(tests) == len(names) and not any(test(value) for test in tests):
        yield f"{path} must be {' or '.join(names)}"
    if isinstance(schema.get("enum"), list) and not any(_same(value, allowed) for allowed in schema["enum"]):
        yield f"{path} is none of the allowed values"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{path} is not the fixed value"
    if isinstance(value, str | list):
        yield from _sizes(value, schema, path, "Length" if isinstance(value, str) else "Items")
    if _TYPES["number"](value):
        yield from _range(value, schema, path)


def _same(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _sizes(value: Sequence[Any], schema: Mapping[str, Any], path: str, what: str) -> Iterator[str]:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    if isinstance(low, int) and len(value) < low:
        yield f"{path} is shorter than {low}"
    if isinstance(high, int) and len(value) > high:
        yield f"{path} is longer than {high}"


_RANGE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "minimum": lambda v, b: v >= b,
    "maximum": lambda v, b: v <= b,
    "exclusiveMinimum": lambda v, b: v > b,
    "exclusiveMaximum": lambda v, b: v < b,
}


def _range(value: float, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, holds in _RANGE.items():
        limit = schema.get(name)
        if isinstance(limit, int | float) and not isinstance(limit, bool) and not holds(value, limit):
            yield f"{path} breaks {name} {limit}"


def _combined(value: Any, schema: Mapping[str, Any], path: str, bound: _Bound, depth: int) -> Iterator[str]:
    def fits(part: Any) -> bool:
        return next(_check(value, part, path, bound, depth + 1), None) is None

    for name in ("anyOf", "oneOf"):
        parts = schema.get(name)
        if isinstance(parts, list) and parts:
            count = sum(1 for part in parts if fits(part))
            if count == 0 or (name == "oneOf" and count > 1):
                yield f"{path} fits {'none' if count == 0 else 'more than one'} of {name}"
    parts = schema.get("allOf")
    for part in parts if isinstance(parts, list) else ():
        yield from _check(value, part, path, bound, depth + 1)
    if isinstance(schema.get("not"), Mapping) and fits(schema["not"]):
        yield f"{path} fits what it must not"


def _object(value: dict[str, Any], schema: Mapping[str, Any], path: str, bound: _Bound, depth: int) -> Iterator[str]:
    known = schema.get("properties")
    known = known if isinstance(known, Mapping) else {}
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if name not in value:
            yield f"{path}.{name} is missing"
    rest = schema.get("additionalProperties", True)
    if "patternProperties" in schema:
        rest = True
    for name, item in value.items():
        if name in known:
            yield from _check(item, known[name], f"{path}.{name}", bound, depth + 1)
        elif rest is False:
            yield f"{path} has a property that is not allowed"
        elif rest is not True:
            yield from _check(item, rest, f"{path}.*", bound, depth + 1)


def _array(value: list[Any], schema: Mapping[str, Any], path: str, bound: _Bound, depth: int) -> Iterator[str]:
    first = schema.get("prefixItems")
    first = first if isinstance(first, list) else []
    for index, (item, part) in enumerate(zip(value, first, strict=False)):
        yield from _check(item, part, f"{path}[{index}]", bound, depth + 1)
    rest = schema.get("items", True)
    if rest is not True:
        for index, item in enumerate(value[len(first) :], len(first)):
            yield from _check(item, rest, f"{path}[{index}]", bound, depth + 1)
