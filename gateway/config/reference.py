"""The reference part of docs/configuration.md: every key with its default, unit and meaning, made from the shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.config.models_file import ModelsFile
from gateway.config.policy_file import PolicyFile
from gateway.config.settings import VARIABLES

BEGIN: Final = "<!-- made by python -m gateway.config.schema: begin -->"
END: Final = "<!-- made by python -m gateway.config.schema: end -->"


def reference(text: str) -> str:
    """Return the page with its generated part replaced (or added at the end)."""
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n{_generated()}\n{END}{tail or chr(10)}"


def _generated() -> str:
    parts = ["## Environment", "", "| variable | meaning (default) |", "|---|---|"]
    parts += [f"| `{name}` | {_cell(meaning)} |" for name, meaning in VARIABLES.items()]
    for title, model in (("models.yaml", ModelsFile), ("policy.yaml", PolicyFile)):
        parts += ["", f"## {title}", "", "| key | default | unit | meaning |", "|---|---|---|---|"]
        parts += rows(model)
    return "\n".join(parts)


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield one table row per key, sections and their keys in the order of the shape."""
    for name, spec in model.model_fields.items():
        key = f"{prefix}{name}"
        inner, step = _inside(spec.annotation)
        unit = (spec.json_schema_extra or {}).get("unit", "") if not callable(spec.json_schema_extra) else ""
        yield f"| `{key}` | {_default(spec)} | {unit} | {_cell(spec.description or '')}{_choices(spec.annotation)} |"
        if inner is not None:
            yield from rows(inner, f"{key}{step}.")


def _inside(kind: Any, step: str = "") -> tuple[type[BaseModel] | None, str]:
    """Return the shape inside an annotation and how one gets there: ``[]`` for lists, ``.NAME`` for mappings."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind, step
    origin = get_origin(kind)
    added = "[]" if origin is list else ".NAME" if origin is dict else ""
    for part in get_args(kind):
        found = _inside(part, step + added)
        if found[0] is not None:
            return found
    return None, step


def _default(spec: FieldInfo) -> str:
    if spec.is_required():
        return "*needed*"
    value = spec.get_default(call_default_factory=True)
    if isinstance(value, BaseModel) or value is None or value is PydanticUndefined or value in ("", [], {}):
        return "" if isinstance(value, BaseModel) else "none"
    plain = value.value if isinstance(value, Enum) else value
    return f"`{plain if isinstance(plain, str) else json.dumps(plain)}`"


def _choices(kind: Any) -> str:
    """List the values of an enumeration, after the meaning."""
    for part in (kind, *get_args(kind)):
        if isinstance(part, type) and issubclass(part, Enum):
            return f" ({', '.join(f'`{member.value}`' for member in part)})"
    return ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
