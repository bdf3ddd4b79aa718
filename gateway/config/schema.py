"""Writes what editors and readers need from the shapes: two JSON schemas and the reference in docs/configuration.md.

``python -m gateway.config.schema`` writes the files, ``--check`` only compares and fails when one is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from gateway.config.models_file import ModelsFile
from gateway.config.policy_file import PolicyFile
from gateway.config.reference import reference

ROOT: Final = Path(__file__).resolve().parent.parent.parent
_KEYWORDS: Final = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_PLACEHOLDER: Final = {"type": "string", "pattern": r"\$\{.+\}"}


def json_schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    """Return the JSON schema of a file, with ``${VAR}`` allowed wherever a number or a flag is."""
    schema: dict[str, Any] = _tidy(model.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


def _tidy(value: Any) -> Any:
    """Use JSON schema's own words for limits, drop made-up titles and nulls, and let placeholders stand for numbers."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {_KEYWORDS.get(key, key): _tidy(item) for key, item in value.items() if not _noise(key, item)}
    if found.get("type") not in {"integer", "number", "boolean"}:
        return found
    outer = {key: found.pop(key) for key in ("default", "description", "unit") if key in found}
    return {"anyOf": [found, _PLACEHOLDER], **outer}


def _noise(key: str, item: object) -> bool:
    return (key == "title" and isinstance(item, str)) or (key == "default" and item is None)


def files() -> Iterator[tuple[Path, str]]:
    """Yield every generated file with the content it should have."""
    for name, model in (("models", ModelsFile), ("policy", PolicyFile)):
        schema = json_schema(model, f"{name}.yaml of moe-gateway")
        yield ROOT / "config" / f"{name}.schema.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    path = ROOT / "docs" / "configuration.md"
    yield path, reference(path.read_text(encoding="utf-8") if path.exists() else "")


def main(arguments: list[str] | None = None) -> int:
    """Write or check; 1 when ``--check`` finds a stale file."""
    parser = argparse.ArgumentParser(prog="python -m gateway.config.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when a file is stale")
    check = parser.parse_args(arguments).check
    stale = False
    for path, content in files():
        if path.exists() and path.read_text(encoding="utf-8") == content:
            continue
        if check:
            stale = True
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale; run python -m gateway.config.schema\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
