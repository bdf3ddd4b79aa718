"""YAML read with libyaml, keeping the line of every key, and refusing what YAML would let pass silently."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path as FilePath
from typing import Any, Final

import yaml

from gateway.config.problems import ConfigInvalid, Located, located
from router_core.mapping import Path

_MERGE: Final = "tag:yaml.org,2002:merge"
_MAX_DEPTH: Final = 40
_MAX_BYTES: Final = 4 * 1024 * 1024


@dataclass(slots=True)
class Document:
    """A parsed file: plain data, the line (from 1) of every path, and what was wrong so far."""

    file: str
    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Located] = field(default_factory=list)

    def complain(self, path: Path, message: str) -> None:
        """Note a problem at the line of ``path``; of several about one key the first says enough."""
        problem = located(self.file, self.lines, path, message)
        if all((problem.line, problem.key) != (other.line, other.key) for other in self.problems):
            self.problems.append(problem)


def read_document(path: FilePath) -> Document:
    """Read a YAML file; raises ConfigInvalid when it cannot be read or is no YAML at all.

    Duplicate keys, keys that are no text and custom tags are noted in ``problems``.
    """
    file = str(path)
    try:
        raw = path.read_bytes()
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        raise ConfigInvalid([Located(file, 0, "", f"cannot be read: {reason}")]) from exc
    if len(raw) > _MAX_BYTES:
        raise ConfigInvalid([Located(file, 0, "", f"is larger than {_MAX_BYTES} bytes")])
    document = Document(file)
    try:
        loader = yaml.CSafeLoader(raw)
        try:
            node = loader.get_single_node()
            if node is not None:
                document.data = _Walk(document, loader).value(node, (), 0)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        message = " ".join(part for part in (exc.context, exc.problem) if part)
        raise ConfigInvalid([Located(file, mark.line + 1 if mark else 0, "", f"no valid YAML: {message}")]) from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigInvalid([Located(file, 0, "", "no valid YAML: the file must be UTF-8 text")]) from exc
    return document


class _Walk:
    """Turns nodes into plain data; anchors and ``<<`` are followed, cycles are not."""

    def __init__(self, document: Document, loader: yaml.CSafeLoader) -> None:
        self.document = document
        self.loader = loader

    def value(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        if depth > _MAX_DEPTH:
            self.document.complain(path, f"is nested deeper than {_MAX_DEPTH} levels")
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        return self.scalar(node, path)

    def scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            found = self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self.document.complain(path, f"{node.value!r} is not a plain value")
            return None
        return found.isoformat() if isinstance(found, date) else found

    def mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                merged.update(self.merge(value_node, path, depth))
                continue
            key = self.scalar(key_node, path) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                shown = getattr(key_node, "value", "")
                hint = (
                    f"the key {shown!r} must be text; put it in quotes"
                    if isinstance(shown, str)
                    else "keys must be text"
                )
                self.document.problems.append(Located(self.document.file, line, "", hint))
                continue
            where = (*path, key)
            if key in found:
                first = self.document.lines[where]
                self.document.problems.append(
                    located(self.document.file, {where: line}, where, f"is given twice, first in line {first}")
                )
                continue
            self.document.lines[where] = line
            found[key] = self.value(value_node, where, depth + 1)
        return {**merged, **found}

    def merge(self, node: yaml.Node, path: Path, depth: int) -> dict[str, Any]:
        """Return the keys that ``<<`` brings in: those of one mapping, or of several with the first one winning."""
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, depth + 1) if depth < _MAX_DEPTH else {}
        found: dict[str, Any] = {}
        if isinstance(node, yaml.SequenceNode) and depth < _MAX_DEPTH:
            for item in reversed(node.value):
                found.update(self.merge(item, path, depth + 1))
            return found
        self.document.complain(path, "<< must name a mapping")
        return found
