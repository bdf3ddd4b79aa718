"""Choosing one answer of several: majority over normalised answers, or the answer most like the others.

Numbers, choices, JSON and code are compared by what they mean, free text by shared words. Weights are expected quality.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

MAX_CHARS: Final = 20_000
"""Longer answers are compared by their first and last half of this."""

_FENCE: Final = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_NUMBER: Final = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?%?")
_CHOICE: Final = re.compile(
    r"(?:\A|\b(?:answer|option|choice)\b[^\w]*(?:(?:is|would be)\b)?)[^\w]*([A-J])[^\w]*\Z", re.IGNORECASE
)
"""A letter of its own: all there is in the line, or what it calls its answer."""
_LAST_LINE_CHARS: Final = 200
_SHORT_CHARS: Final = 80
_WORD: Final = re.compile(r"\w+")


class Vote(NamedTuple):
    """``winner`` is an index; ``agreement`` in [0, 1] the weighted share that stands behind it."""

    winner: int
    agreement: float
    by: str


def clipped(text: str) -> str:
    """Return a text within ``MAX_CHARS``: head and tail."""
    if len(text) <= MAX_CHARS:
        return text
    return text[: MAX_CHARS // 2] + "\n" + text[-MAX_CHARS // 2 :]


def normal_form(text: str) -> str | None:
    """Return what an answer says in a form that can be equal: JSON, code, a final number or choice; None for prose."""
    stripped = clipped(text.strip())
    found = _as_json(stripped)
    if found is not None:
        return found
    blocks = _FENCE.findall(stripped)
    if blocks:
        return "code:" + _squeezed(max(blocks, key=len))
    lines = [line.strip(" *_`$") for line in stripped.splitlines() if line.strip()]
    last = lines[-1][-_LAST_LINE_CHARS:] if lines else ""
    choice = _CHOICE.search(last)
    if choice is not None and (len(last) <= _SHORT_CHARS):
        return "choice:" + choice.group(1).upper()
    numbers = _NUMBER.findall(last)
    if numbers and (len(stripped) <= _SHORT_CHARS or _concludes(last)):
        return "number:" + _plain_number(numbers[-1])
    return f"text:{_squeezed(stripped).casefold()}" if len(stripped) <= _SHORT_CHARS else None


def _concludes(line: str) -> bool:
    lowered = line.casefold()
    return any(sign in lowered for sign in ("answer", "=", "therefore", "total", "result", "####", "boxed"))


def _as_json(text: str) -> str | None:
    body = text
    fenced = _FENCE.fullmatch(text)
    if fenced is not None:
        body = fenced.group(1).strip()
    if body[:1] not in {"{", "["}:
        return None
    try:
        return "json:" + json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return None


def _plain_number(text: str) -> str:
    percent = text.endswith("%")
    value = float(text.rstrip("%").replace(",", ""))
    return f"{value:.10g}{'%' if percent else ''}"


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def similarity(left: str, right: str) -> float:
    """Return how alike two texts are, in [0, 1]: cosine of their word counts, single words and pairs."""
    a, b = _terms(left), _terms(right)
    if not a or not b:
        return 1.0 if a == b else 0.0
    shared = sum(count * b[term] for term, count in a.items() if term in b)
    norm = (sum(count * count for count in a.values()) * sum(count * count for count in b.values())) ** 0.5
    return min(1.0, float(shared / norm))


def _terms(text: str) -> Counter[str]:
    words = _WORD.findall(clipped(text).casefold())
    return Counter(words) + Counter(f"{first} {second}" for first, second in pairwise(words))


def vote(answers: Sequence[str], weights: Sequence[float]) -> Vote:
    """Return the majority's answer: by equal normal forms where two or more have one, else the medoid.

    Of the winning group the heaviest answer is taken; ties go to the larger weight, then the earlier answer. Raises
    ValueError for no answers.
    """
    if not answers:
        msg = "a vote needs at least one answer"
        raise ValueError(msg)
    forms = [normal_form(answer) for answer in answers]
    groups: dict[str, list[int]] = {}
    for index, form in enumerate(forms):
        if form is not None:
            groups.setdefault(form, []).append(index)
    total = sum(weights) or 1.0
    best = max(groups.values(), key=lambda group: (len(group), sum(weights[i] for i in group), -group[0]), default=[])
    if len(best) >= 2:
        winner = max(best, key=lambda i: (weights[i], -i))
        return Vote(winner, sum(weights[i] for i in best) / total, "majority")
    return medoid(answers, weights)


def medoid(answers: Sequence[str], weights: Sequence[float]) -> Vote:
    """Return the answer most like all others, each counted by its weight; its own weight counts as full likeness."""
    if not answers:
        msg = "a medoid needs at least one answer"
        raise ValueError(msg)
    total = sum(weights) or 1.0
    scores = [
        sum(weights[j] * (1.0 if i == j else similarity(answers[i], answers[j])) for j in range(len(answers)))
        for i in range(len(answers))
    ]
    winner = max(range(len(answers)), key=lambda i: (scores[i], weights[i], -i))
    return Vote(winner, scores[winner] / total, "medoid")
