"""Reads ``lexicon.txt``: words of many languages and the concepts they stand for."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Final

from router_core.lexical import LONGEST_STEM, Lexicon

LEXICON: Final = Path(__file__).resolve().parent / "lexicon.txt"


def load_lexicon(path: Path = LEXICON) -> Lexicon:
    """Read the lexicon; raises ``ValueError`` for a line that is not ``concept: word, stem*, …``."""
    words: defaultdict[str, list[str]] = defaultdict(list)
    stems: defaultdict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("%"):
            continue
        concept, colon, entries = line.partition(":")
        if not colon:
            msg = f"{path}:{number}: expected 'concept: word, stem*'"
            raise ValueError(msg)
        for entry in (e.strip().lower() for e in entries.split(",")):
            if entry.endswith("*") and " " not in entry:
                stems[entry[:-1][:LONGEST_STEM]].append(concept)
            elif entry:
                words[entry.rstrip("*").replace("'", " ").replace("-", " ")].append(concept)
    return Lexicon.of(_frozen(words), _frozen(stems))


def _frozen(found: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {word: tuple(dict.fromkeys(concepts)) for word, concepts in sorted(found.items())}
