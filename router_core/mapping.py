"""Plain mappings (parsed JSON or YAML) to frozen dataclasses, and values to canonical JSON. Errors name their path."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from router_core.errors import ConfigError

Path = tuple[str | int, ...]
T = TypeVar("T")


class Problem(NamedTuple):
    """One thing that cannot be: where it stands, and what is wrong and what is allowed."""

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{spell(self.path)}: {self.message}" if self.path else self.message


def spell(path: Path) -> str:
    """Write a path as people do: ``deployments[2].fallbacks[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def refuse(path: Path, message: str) -> ConfigError:
    """Return the error of one problem, ready to be raised."""
    return ConfigError(str(Problem(path, message)))


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` when a known word is close, else what is known, shortened to twelve."""
    words = [str(each) for each in known]
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(words[:12]) + (", …" if len(words) > 12 else "")
    return f"; allowed: {shown}" if words else ""


def build(kind: type[T], data: object, path: Path = ()) -> T:
    """Make a dataclass from a mapping whose keys are its fields; nested dataclasses, enums and collections likewise.

    Raises ConfigError that names the path of the first unknown, missing or impossible key.
    """
    if not isinstance(data, Mapping):
        raise refuse(path, f"must be a mapping, not {_kind_of(data)}")
    specs = {spec.name: spec for spec in fields(kind) if spec.init}  # type: ignore[arg-type] # build() is for dataclasses
    for key in data:
        if key not in specs:
            raise refuse((*path, str(key)), f"unknown key{suggest(str(key), specs)}")
    hints = get_type_hints(kind)
    for name, spec in specs.items():
        if name not in data and spec.default is MISSING and spec.default_factory is MISSING:
            raise refuse((*path, name), "is missing")
    values = {str(key): convert(hints[key], value, (*path, str(key))) for key, value in data.items()}
    try:
        return kind(**values)
    except ConfigError as exc:
        raise refuse(path, str(exc)) from exc


def convert(hint: Any, value: Any, path: Path) -> Any:
    """Return ``value`` as the annotated type; raises ConfigError that names the path when it is none."""
    origin = get_origin(hint)
    if origin in {types.UnionType, Union}:
        if value is None:
            return None
        (inner,) = (option for option in get_args(hint) if option is not type(None))
        return convert(inner, value, path)
    if origin in {tuple, frozenset}:
        if isinstance(value, str) or not isinstance(value, Sequence | AbstractSet):
            raise refuse(path, f"must be a list, not {_kind_of(value)}")
        inner = get_args(hint)[0]
        return origin(convert(inner, item, (*path, index)) for index, item in enumerate(value))
    if origin is not None:  # Mapping[str, X]
        if not isinstance(value, Mapping):
            raise refuse(path, f"must be a mapping, not {_kind_of(value)}")
        inner = get_args(hint)[1]
        return {str(key): convert(inner, item, (*path, str(key))) for key, item in value.items()}
    return _plain(hint, value, path)


def _plain(hint: Any, value: Any, path: Path) -> Any:
    """Return a value of a type without parameters."""
    if isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    if is_dataclass(hint):
        return build(hint, value, path)  # type: ignore[arg-type] # a dataclass type, not an instance
    if issubclass(hint, Enum):
        options = [str(member.value) for member in hint]
        if value not in options:
            raise refuse(path, f"{value!r} is none of its values{suggest(str(value), options)}")
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    raise refuse(path, f"must be {_NAMES.get(hint, hint.__name__)}, not {_kind_of(value)}")


def canonical(value: Any) -> Any:
    """Return a value as plain JSON data, equal for equal content in every process (sets sorted)."""
    if is_dataclass(value):
        return {spec.name: canonical(getattr(value, spec.name)) for spec in fields(value) if spec.init}
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(str(item) for item in value)
    if isinstance(value, tuple | list):
        return [canonical(item) for item in value]
    return value


def fingerprint(value: Any, digits: int = 12) -> str:
    """Return hex digits that change whenever the content does."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:digits]


_NAMES = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}


def _kind_of(value: object) -> str:
    """Name what was found in the words of YAML."""
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    return repr(value)
