"""A small generator of JSON values that satisfy a JSON schema, so that tool calls and structured answers are valid.

It knows what tool schemas use: types, enum, const, properties, required, items, length and number bounds, formats,
anyOf / oneOf / allOf, and references inside the same schema. It is deterministic: one schema and hint, one value.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from gateway.demo.ask import Json

_MAX_DEPTH: Final = 12
_FORMATS: Final = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "demo@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")


def instance(schema: Json, hint: str = "", root: Json | None = None, depth: int = 0) -> Any:
    """Return a value that is valid under ``schema``.

    ``hint`` is the prompt: a free string or number takes its value from it, so that a call looks meant.
    Beyond twelve levels of nesting optional things are left out and the rest is null.
    """
    root = schema if root is None else root
    if depth > _MAX_DEPTH:
        return None
    schema = _resolve(schema, root)
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if options := schema.get("enum"):
        return next((o for o in options if isinstance(o, str) and o.lower() in hint.lower()), options[0])
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    kind = str(kind or ("object" if "properties" in schema else "array" if "items" in schema else "string")).lower()
    match kind:
        case "object":
            return _object(schema, hint, root, depth)
        case "array":
            return _array(schema, hint, root, depth)
        case "integer" | "number":
            return _number(schema, hint, whole=kind == "integer")
        case _:
            return {"boolean": True, "null": None}.get(kind, _string(schema, hint))


def _resolve(schema: Json, root: Json) -> Json:
    """Follow a local reference and fold in the first alternative, and all of ``allOf``."""
    for _ in range(_MAX_DEPTH):
        if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#"):
            target: Any = root
            for part in reference.lstrip("#/").split("/") if reference != "#" else ():
                target = target.get(part, {}) if isinstance(target, dict) else {}
            schema = {
                **{k: v for k, v in schema.items() if k != "$ref"},
                **(target if isinstance(target, dict) else {}),
            }
            continue
        alternatives = schema.get("anyOf") or schema.get("oneOf")
        if alternatives:
            chosen = next((a for a in alternatives if a.get("type") != "null"), alternatives[0])
            schema = {**{k: v for k, v in schema.items() if k not in {"anyOf", "oneOf"}}, **chosen}
            continue
        if parts := schema.get("allOf"):
            schema = _merge([{k: v for k, v in schema.items() if k != "allOf"}, *parts], root)
            continue
        break
    return schema


def _merge(parts: list[Json], root: Json) -> Json:
    merged: Json = {}
    for part in parts:
        found = _resolve(part, root)
        properties = {**merged.get("properties", {}), **found.get("properties", {})}
        required = [*merged.get("required", []), *found.get("required", [])]
        merged |= found
        if properties:
            merged["properties"] = properties
        if required:
            merged["required"] = required
    return merged


def _object(schema: Json, hint: str, root: Json, depth: int) -> Json:
    properties: Json = schema.get("properties") or {}
    required = list(schema.get("required") or ())
    # Without a list of required keys everything is given at the top, and nothing below: shallow schemas stay lively,
    # recursive ones end.
    wanted = required or (list(properties) if depth == 0 else [])
    return {key: instance(properties.get(key, {}), hint, root, depth + 1) for key in wanted}


def _array(schema: Json, hint: str, root: Json, depth: int) -> list[Any]:
    if prefix := schema.get("prefixItems"):
        return [instance(item, hint, root, depth + 1) for item in prefix]
    least = int(schema.get("minItems", 0))
    most = int(schema.get("maxItems", max(least, 1)))
    count = min(max(least, 1), most) if depth < _MAX_DEPTH - 2 else least
    values = [instance(schema.get("items") or {}, hint, root, depth + 1) for _ in range(count)]
    if schema.get("uniqueItems") and count > 1:
        options = _resolve(schema.get("items") or {}, root).get("enum")
        return (
            list(options[:count])
            if options
            else [f"{v}-{i}" if isinstance(v, str) else i for i, v in enumerate(values)]
        )
    return values


def _number(schema: Json, hint: str, *, whole: bool) -> float:
    low: float = schema.get("minimum", -math.inf)
    high: float = schema.get("maximum", math.inf)
    exclusive_low, exclusive_high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    step = schema.get("multipleOf")
    small = 1 if whole else 0.5
    if isinstance(exclusive_low, int | float) and not isinstance(exclusive_low, bool):
        low = max(low, exclusive_low + small)
    if isinstance(exclusive_high, int | float) and not isinstance(exclusive_high, bool):
        high = min(high, exclusive_high - small)
    found = _NUMBER.search(hint)
    value = float(found.group()) if found else 1.0
    value = min(max(value, low), high)
    if step:
        up = math.ceil(value / step) * step
        value = up if up <= high else math.floor(high / step) * step
    return math.ceil(value) if whole else value


def _string(schema: Json, hint: str) -> str:
    if (form := schema.get("format")) in _FORMATS:
        return _FORMATS[form]
    text = " ".join(hint.split())[:60] or "demo"
    least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", 60))
    return text.ljust(least, "x")[:most]
