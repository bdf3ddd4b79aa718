"""pydantic's complaints in the words of an operator: which key, what is wrong, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gateway.config.shape import DATE, NAME, PROVIDER_NAME
from router_core.mapping import Path, Problem, suggest

_PREFIX: Final = re.compile(r"^(?:Value error, )?(?:Input should be |Value should )?")
_SHOWN: Final = 60
_PLAIN: Final = {"missing": "is missing", "too_short": "must not be empty"}
_PATTERNS: Final = {
    NAME: "may hold only letters, digits and . _ : / @ + # -, at most 256",
    PROVIDER_NAME: "may hold only letters, digits and . _ -, at most 64",
    DATE: "must be a date such as 2026-01-31",
}


def problems(model: type[BaseModel], data: object) -> Iterator[Problem]:
    """Yield everything that keeps ``data`` from being a ``model``."""
    try:
        model.model_validate(data)
    except ValidationError as exc:
        for error in exc.errors(include_url=False):
            path: Path = tuple(part for part in error["loc"] if part != "[key]")
            yield Problem(path, _message(model, path, dict(error)))


def keys_at(model: Any, path: Path) -> list[str]:
    """Return the keys allowed in the mapping at ``path``; nothing when it is no mapping of fixed keys."""
    kind = model
    for part in path:
        kind = _step(kind, part)
    found = _model(kind)
    return list(found.model_fields) if found else []


def _message(model: type[BaseModel], path: Path, error: Mapping[str, Any]) -> str:
    if (plain := _PLAIN.get(error["type"])) is not None:
        return plain
    match error["type"]:
        case "extra_forbidden":
            return f"unknown key{suggest(str(path[-1]), keys_at(model, path[:-1]))}"
        case "string_pattern_mismatch":
            return _PATTERNS.get(error["ctx"]["pattern"], "is malformed") + _instead(error)
        case "enum" | "literal_error":
            allowed = re.findall(r"'([^']*)'", str(error["ctx"]["expected"]))
            return f"must be one of {', '.join(allowed)}{_instead(error)}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"must be a mapping{_instead(error)}"
        case "list_type":
            return f"must be a list{_instead(error)}"
        case "value_error":
            return _PREFIX.sub("", error["msg"])
    text = _PREFIX.sub("", error["msg"])
    if error["msg"].startswith("Input should be "):
        text = f"must be {text}"
    return f"{text}{_instead(error)}"


def _instead(error: Mapping[str, Any]) -> str:
    return f", not {_shown(error)}"


def _shown(error: Mapping[str, Any]) -> str:
    value = error.get("input")
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _step(kind: Any, part: str | int) -> Any:
    """Return the type one key or index further in; None when there is none."""
    if (found := _model(kind)) is not None:
        spec = found.model_fields.get(str(part))
        return None if spec is None else spec.annotation
    arguments = get_args(kind)
    return arguments[-1] if get_origin(kind) in {dict, list} else None


def _model(kind: Any) -> type[BaseModel] | None:
    """Return the model behind an annotation, through ``Annotated`` and ``| None``."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) in {dict, list}:
        return None
    return next((found for part in get_args(kind) if (found := _model(part)) is not None), None)
