"""``${VAR}``, ``${VAR:-default}`` and ``${file:PATH}`` in scalars; ``$$`` is a dollar sign.

Replacement happens on parsed scalars, so a value can never change the file's structure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

from gateway.config.document import Document
from router_core.mapping import Path

_PLACEHOLDER: Final = re.compile(r"\$(?:\$|\{([^{}]*)\}|)")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHOLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-[^{}]*)?\}")
_MAX_FILE: Final = 64 * 1024


class UnsetVariable(Exception):
    """A variable without default is not set; ``name`` is its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(slots=True)
class Key:
    """An ``api_key`` as found: the name it goes by, its value (empty: absent), and whether it stood in the file."""

    ref: str
    value: str
    literal: bool


@dataclass(slots=True)
class Interpolated:
    """Plain data with every placeholder replaced and every ``api_key`` taken out, by path; files that were read."""

    data: Any
    keys: dict[Path, Key] = field(default_factory=dict)
    files: set[FilePath] = field(default_factory=set)


def interpolate(document: Document, env: Mapping[str, str], base: FilePath) -> Interpolated:
    """Replace placeholders in a document; what cannot be replaced is noted in its ``problems``.

    Relative ``${file:…}`` paths start at ``base``. An ``api_key`` whose variable is unset or empty is just absent.
    """
    result = Interpolated(None)

    def walk(value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            rest = dict(value)
            if isinstance(rest.get("api_key"), str):
                result.keys[path] = key(rest.pop("api_key"), (*path, "api_key"))
            return {name: walk(item, (*path, name)) for name, item in rest.items()}
        if isinstance(value, list):
            return [walk(item, (*path, index)) for index, item in enumerate(value)]
        return text(value, path) if isinstance(value, str) else value

    def text(value: str, path: Path) -> str:
        try:
            return expand(value, env, base, result.files)
        except UnsetVariable as exc:
            document.complain(
                path, f"the environment variable {exc.name} is not set; a default is written ${{{exc.name}:-…}}"
            )
        except ValueError as exc:
            document.complain(path, str(exc))
        return value

    def key(value: str, path: Path) -> Key:
        try:
            found = expand(value, env, base, result.files).strip()
        except UnsetVariable:
            found = ""
        except ValueError as exc:
            document.complain(path, str(exc))
            found = ""
        if not (found.isascii() and found.isprintable()) or " " in found:
            document.complain(path, "the key must be printable ASCII without spaces")
        whole = _WHOLE.fullmatch(value)
        own = whole is not None and found == env.get(whole[1], "").strip()
        ref = whole[1] if whole and own else ":".join(str(part) for part in path[:-1])
        return Key(ref, found, literal="${" not in value)

    result.data = walk(document.data, ())
    return result


def expand(value: str, env: Mapping[str, str], base: FilePath, files: set[FilePath]) -> str:
    """Replace the placeholders of one string; raises UnsetVariable, or ValueError saying what is wrong with one."""

    def one(match: re.Match[str]) -> str:
        inside = match[1]
        if inside is None:
            return "$"  # "$$", or a lone "$", which means itself
        if inside.startswith("file:"):
            return _file(inside.removeprefix("file:"), base, files)
        name, separator, default = inside.partition(":-")
        if not _VARIABLE.fullmatch(name):
            msg = (
                f"${{{inside}}} is no placeholder; allowed: ${{VAR}}, ${{VAR:-default}}, ${{file:PATH}}; $$ is a dollar"
            )
            raise ValueError(msg)
        if separator:
            return env.get(name) or default
        if name not in env:
            raise UnsetVariable(name)
        return env[name]

    return _PLACEHOLDER.sub(one, value) if "$" in value else value


def _file(name: str, base: FilePath, files: set[FilePath]) -> str:
    path = base / FilePath(name).expanduser()
    files.add(path)
    try:
        with path.open(encoding="utf-8") as stream:
            content = stream.read(_MAX_FILE + 1)
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "is no text"
        msg = f"the file {name!r} cannot be read: {reason}"
        raise ValueError(msg) from exc
    if len(content) > _MAX_FILE:
        msg = f"the file {name!r} is larger than {_MAX_FILE} bytes"
        raise ValueError(msg)
    return content.rstrip("\r\n")
