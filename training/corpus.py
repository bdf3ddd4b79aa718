r"""Reads the corpus: plain text files of prompts and prompt templates, expanded with a fixed seed.

A corpus file ``corpus/<lang>/<source>.txt`` holds one prompt a line under headings ``== label``:
- ``\n`` is a line break, lines that open with ``%`` are comments;
- ``[[a|b|c]]`` is a choice, ``{{slot}}`` a filler: ``@slot: a | b | c`` of the same file, else a material
  (``corpus/materials/<slot>.txt``, pieces separated by ``---``);
- ``@@S``, ``@@U``, ``@@A`` open a system, user or assistant turn; without them the line is one user turn.
A template stands for up to ``EXPANSIONS`` rows, whose weights together grow only with the square root of their number.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent / "corpus"
HELD_OUT: Final = ("materials", "parallel", "parallel_blind", "fresh")
"""Folders that are no training rows."""
EXPANSIONS: Final = 5
LABELS: Final = (
    "reasoning",
    "code_generation",
    "code_review",
    "planning",
    "analysis",
    "documentation",
    "testing",
    "refactoring",
    "security_audit",
    "general",
    "follow_up",
)
_CHOICE: Final = re.compile(r"\[\[([^\[\]]*)\]\]")
_SLOT: Final = re.compile(r"\{\{(\w+)\}\}")
_TURN: Final = re.compile(r"@@([SUA])\s?")
_ROLES: Final = {"S": "system", "U": "user", "A": "assistant"}


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt: chat messages, its label, language and source (the file it came from), and its weight."""

    messages: tuple[tuple[str, str], ...]
    label: str
    lang: str
    source: str
    weight: float = 1.0

    @property
    def body(self) -> dict[str, object]:
        """The prompt as a chat body."""
        return {"messages": [{"role": role, "content": text} for role, text in self.messages]}


def load(root: Path = ROOT, *, skip: tuple[str, ...] = HELD_OUT) -> list[Row]:
    """Read every training file under ``root``; raises ``ValueError`` naming file and line for what cannot be read."""
    shared = materials(root / "materials")
    rows: list[Row] = []
    for path in sorted(root.glob("*/*.txt")):
        if path.parent.name not in skip:
            rows.extend(read_file(path, shared))
    return rows


def materials(folder: Path) -> dict[str, list[str]]:
    """Read the shared fillers: slot name -> pieces."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.txt")):
        pieces = [p.strip("\n") for p in re.split(r"(?m)^---\n", path.read_text("utf-8"))]
        found[path.stem] = [p for p in pieces if p]
    found["code"] = [p for key, value in found.items() if key.startswith("code_") for p in value]
    return found


def read_file(path: Path, shared: dict[str, list[str]]) -> list[Row]:
    """Read one corpus file."""
    lang, source = path.parent.name, f"{path.parent.name}/{path.stem}"
    lines = path.read_text("utf-8").splitlines()
    slots = {**shared, **_own_slots(lines)}
    rows: list[Row] = []
    label = ""
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("%") or (line.startswith("@") and not line.startswith("@@")):
            continue
        if line.startswith("=="):
            label = line[2:].strip()
            if label not in LABELS:
                msg = f"{path}:{number}: unknown label {label!r}"
                raise ValueError(msg)
            continue
        rng = random.Random(f"{source}:{line}")
        try:
            texts = list(_expand(unescape(line), slots, rng))
        except KeyError as exc:
            msg = f"{path}:{number}: unknown slot {exc.args[0]!r}"
            raise ValueError(msg) from exc
        weight = 1 / sqrt(len(texts))
        rows.extend(Row(messages(t), label, lang, source, weight) for t in texts)
    return rows


def _own_slots(lines: list[str]) -> dict[str, list[str]]:
    pairs = (line[1:].partition(":") for line in lines if line.startswith("@") and not line.startswith("@@"))
    return {name.strip(): [unescape(v.strip()) for v in values.split(" | ")] for name, _, values in pairs}


def unescape(line: str) -> str:
    r"""Turn ``\n`` and ``\t`` of a corpus line into what they stand for."""
    return line.replace("\\n", "\n").replace("\\t", "\t")


def messages(text: str) -> tuple[tuple[str, str], ...]:
    """Split a prompt at its turn marks."""
    parts = _TURN.split(text)
    if len(parts) == 1:
        return (("user", text),)
    return tuple((_ROLES[parts[i]], parts[i + 1].strip()) for i in range(1, len(parts), 2))


def _expand(template: str, slots: dict[str, list[str]], rng: random.Random) -> Iterator[str]:
    seen: set[str] = set()
    tries = EXPANSIONS if _CHOICE.search(template) or _SLOT.search(template) else 1
    for _ in range(tries):
        text = template
        while (choice := _CHOICE.search(text)) is not None:
            text = text[: choice.start()] + rng.choice(choice.group(1).split("|")) + text[choice.end() :]
        text = _SLOT.sub(lambda m: rng.choice(slots[m.group(1)]), text)
        text = _SLOT.sub(lambda m: rng.choice(slots[m.group(1)]), text)
        if text not in seen:
            seen.add(text)
            yield text
