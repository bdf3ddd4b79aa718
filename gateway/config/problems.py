"""What is wrong with the configuration: file, line, key, and what is allowed. All of it at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from router_core.errors import ConfigError
from router_core.mapping import Path, spell


@dataclass(frozen=True, slots=True, order=True)
class Located:
    """One problem; ``line`` counts from 1 (0: the whole file), ``key`` is empty for the whole file."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        """Write ``file:line: key: message``, as editors and terminals can follow it."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigInvalid(ConfigError):
    """The configuration cannot be used; ``problems`` lists everything that is wrong, in the order of the files."""

    def __init__(self, problems: Iterable[Located]) -> None:
        self.problems = tuple(dict.fromkeys(sorted(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def located(file: str, lines: dict[Path, int], path: Path, message: str) -> Located:
    """Give a problem the line of its key, or of the nearest thing around it that has one."""
    for length in range(len(path), -1, -1):
        if (line := lines.get(path[:length])) is not None:
            return Located(file, line, spell(path), message)
    return Located(file, 0, spell(path), message)
