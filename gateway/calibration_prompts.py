"""The prompts of a calibration run: read from a file, and their expected answers looked for in what came back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from gateway.calibration import CalibrationError

UNKEPT_TAG: Final = "calibration"
"""Requests with this tag are not kept to calibrate with: they were."""


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt to calibrate with; ``expected`` are answers that count as right (empty: not known)."""

    id: str
    body: Mapping[str, Any]
    expected: tuple[str, ...] = ()


def read_prompts(path: Path) -> list[Task]:
    """Read prompts: JSON lines of ``prompt`` or ``messages`` (with ``id``, ``expected``, ``tools``, …), or plain lines.

    Raises CalibrationError naming the line that is neither.
    """
    tasks: list[Task] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            tasks.append(_task(line, number, plain=path.suffix == ".txt"))
    if len({task.id for task in tasks}) != len(tasks):
        msg = f"{path}: two prompts have the same id"
        raise CalibrationError(msg)
    return tasks


def _task(line: str, number: int, *, plain: bool) -> Task:
    if plain:
        return Task(f"line-{number}", {"messages": [{"role": "user", "content": line}]})
    try:
        row = orjson.loads(line)
        body = dict(row.get("request") or {})
        for name in ("messages", "tools", "response_format", "max_tokens"):
            if row.get(name) is not None:
                body[name] = row[name]
        if "messages" not in body:
            body["messages"] = [{"role": "user", "content": str(row["prompt"])}]
        wanted = row.get("expected")
        expected = () if wanted is None else tuple(map(str, wanted if isinstance(wanted, list) else [wanted]))
        return Task(str(row.get("id", f"line-{number}")), body, expected)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as exc:
        msg = f"line {number}: not a prompt ({exc})"
        raise CalibrationError(msg) from exc


_LETTER: Final = re.compile(
    r"(?:answer|option)(?: is)?\s*:?\s*\(?\**([A-J])\b|^\W*([A-J])\W*$", re.IGNORECASE | re.MULTILINE
)
_NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def expected_score(text: str, expected: Sequence[str]) -> float:
    """Return 1 when an answer says what was expected, else 0.

    A single letter is looked for as a chosen option (the last one named), a number as the answer's last number,
    anything else as a part of the answer, case and spacing aside.
    """
    flat = " ".join(text.lower().split())
    for wanted in expected:
        target = wanted.strip()
        if len(target) == 1 and target.isalpha():
            found = [a or b for a, b in _LETTER.findall(text)]
            if found and found[-1].lower() == target.lower():
                return 1.0
        elif _NUMBER.fullmatch(target):
            numbers = _NUMBER.findall(text)
            if numbers and abs(float(numbers[-1].replace(",", "")) - float(target.replace(",", ""))) < 1e-6:
                return 1.0
        elif " ".join(target.lower().split()) in flat:
            return 1.0
    return 0.0
