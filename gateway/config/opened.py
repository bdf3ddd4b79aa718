"""A configuration file on its way from text to values: its data, where things stand, what is wrong so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from gateway.config.document import Document, read_document
from gateway.config.interpolate import Interpolated, interpolate
from gateway.config.problems import ConfigInvalid, Located
from router_core.mapping import Problem


@dataclass(slots=True)
class Opened:
    """A file on its way: where things stand, and its data with placeholders replaced."""

    document: Document
    values: Interpolated

    @property
    def data(self) -> dict[str, Any]:
        """The file's mapping; empty when the file holds something else."""
        data = self.values.data
        return data if isinstance(data, dict) else {}

    def complain(self, problems: Iterable[Problem]) -> None:
        """Note problems, each at its line."""
        for problem in problems:
            self.document.complain(problem.path, problem.message)


def open_file(path: FilePath, env: Mapping[str, str], found: list[Located], *, optional: bool = False) -> Opened | None:
    """Read a file and replace its placeholders; None, and a note in ``found``, when it cannot be read."""
    if optional and not path.exists():
        return Opened(Document(str(path)), Interpolated({}))
    try:
        document = read_document(path)
    except ConfigInvalid as exc:
        found.extend(exc.problems)
        return None
    values = interpolate(document, env, path.parent)
    if values.data is None:
        values.data = {}
    return Opened(document, values)


def rows(models: Opened) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each deployment's row with its index, passing over what is no mapping."""
    found = models.data.get("deployments")
    for index, row in enumerate(found if isinstance(found, list) else ()):
        if isinstance(row, dict):
            yield index, row


def entries(value: object) -> Mapping[str, Any]:
    """Return a mapping as it is, and anything else as an empty one."""
    return value if isinstance(value, Mapping) else {}
