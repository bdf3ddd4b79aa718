"""Rows of nested JSON as CSV that a spreadsheet opens without running anything.

A cell that begins like a formula gets an apostrophe in front (OWASP, "CSV Injection"); numbers are left as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a row without nesting: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``; lists are joined with spaces."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        elif isinstance(value, Sequence) and not isinstance(value, str):
            flat[f"{prefix}{name}"] = " ".join(str(item) for item in value)
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return CSV with a header, columns in the order they first appear; what a row lacks is empty."""
    flat = [flatten(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([_cell(name) for name in columns])
    for row in flat:
        writer.writerow([_cell(row.get(name)) for name in columns])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
