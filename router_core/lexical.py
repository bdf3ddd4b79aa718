"""Terms, concepts and surface measures of a text: what the classifier reads apart from the embedding.

All functions are linear in their argument, which callers cap; no expression backtracks.

Terms of a text (a bounded list of short strings):
- stems: the first six letters of each lower-cased word (two and three for Hangul), which carries inflected
  languages; identifiers are split at underscores; a number is one term, ``#``
- pairs of neighbouring stems
- scripts written without spaces: pairs and triples of neighbouring characters
- the first and the last words again, marked ``^`` and ``$``: instructions open or close a prompt

Concepts are what words of any language stand for ("check", "test", "plan"), by a ``Lexicon``. They are looked for where
instructions stand, at the head and the tail: ``=check``, at the very start ``^=check``, at the very end ``$=check``,
and pairs of those that stand together, ``=check=code``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

MAX_WORDS: Final = 96
"""Words read of one text: the first two thirds and the last third when there are more."""
OPENING: Final = 7
CLOSING: Final = 7
STEM: Final = 6
MAX_RUN: Final = 120
"""Characters read of one run written without spaces."""
MAX_CHARS: Final = 900
"""Characters read of one text, shared between head and tail like the words."""
HEAD_WORDS: Final = 26
TAIL_WORDS: Final = 14
NEAR: Final = 12
"""Concepts are looked for in the first ``HEAD_WORDS`` and last ``TAIL_WORDS`` words; ``NEAR`` words are "the start"."""
RUN_ENDS: Final = 24
LONGEST_STEM: Final = 9
HEAD: Final = 2

_UNSPACED: Final = "\u0e00"
"""First character from which a run of letters is taken to be written without spaces (Thai, Han, kana)."""
_HANGUL: Final = ("\uac00", "\ud7a3")
_ASCII_WORD: Final = re.compile(r"[a-z]+|[0-9]+")
_WORD: Final = re.compile(
    r"\d+|[^\x00-@\[-`{-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf×÷\u02c2-\u02ff\u0589\u060c\u061b\u061f\u066a-\u066d\u06d4"
    r"\u0964-\u096f\u2000-\u2bff\u3000-\u3004\u3007-\u3020\u30fb\ufe00-\ufe6f\uff00-\uff20\uff3b-\uff40\uff5b-\uff65"
    r"\ud800-\udfff\ufff0-\uffff]+"
)
_CODE_MARKS: Final = ("{", "}", ";", "(", ")", "=", "<", ">", "[", "]", "_", "\n    ", "\n\t", "//", "::", "->")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words and word stems of many languages and the concepts they stand for (a word may stand for several)."""

    words: Mapping[str, tuple[str, ...]]
    stems: Mapping[str, tuple[str, ...]]
    heads: frozenset[str]
    """The first ``HEAD`` letters of every stem: most words are ruled out by one look."""
    phrase_starts: frozenset[str]
    """The first words of entries of two or three words."""

    @classmethod
    def of(cls, words: Mapping[str, tuple[str, ...]], stems: Mapping[str, tuple[str, ...]]) -> Lexicon:
        """Build a lexicon from its two tables."""
        starts = frozenset(entry.partition(" ")[0] for entry in words if " " in entry)
        return cls(words, stems, frozenset(stem[:HEAD] for stem in stems), starts)


def words(text: str) -> list[str]:
    """Return the lower-cased words and numbers of ``text``, at most ``MAX_WORDS``."""
    if "\\n" in text:  # line breaks that were escaped twice on their way here
        text = text.replace("\\n", " ")
    if len(text) > MAX_CHARS:
        head = MAX_CHARS * 2 // 3
        text = text[:head] + " " + text[head - MAX_CHARS :]
    found = (_ASCII_WORD if text.isascii() else _WORD).findall(text.lower())
    if len(found) > MAX_WORDS:
        head = MAX_WORDS * 2 // 3
        return found[:head] + found[head - MAX_WORDS :]
    return found


def terms(found: list[str]) -> list[str]:
    """Return the distinct terms of a text's ``words`` in no particular order; see the module's list."""
    spaced: list[str] = []
    out: set[str] = set()
    for word in found:
        first = word[0]
        if first < _UNSPACED:
            spaced.append("#" if first <= "9" else word[:STEM])
        elif _HANGUL[0] <= first <= _HANGUL[1]:
            spaced.append(word[:3])
            out.add(word[:2] + "*")
        else:
            _run(word[:MAX_RUN], out, first=not spaced)
            spaced.append("~")
    out.update(spaced)
    out.update([a + " " + b for a, b in pairwise(spaced)])
    out.update(["^" + s for s in spaced[:OPENING]])
    out.update(["$" + s for s in spaced[-CLOSING:]])
    return list(out)


def _run(run: str, out: set[str], *, first: bool) -> None:
    """Add the pairs and triples of a run written without spaces, and its opening and closing ones marked."""
    pairs = [a + b for a, b in pairwise(run)]
    out.update(pairs or [run])
    out.update([a + b[-1] for a, b in pairwise(pairs)])
    if first:
        out.update(["^" + p for p in pairs[:6]])
    out.update(["$" + p for p in pairs[-4:]])


def concepts(found: list[str], lexicon: Lexicon) -> list[str]:
    """Return the concept terms of a text's ``words``; see the module's list."""
    if len(found) > HEAD_WORDS + TAIL_WORDS:
        start, end = _spoken(found[:HEAD_WORDS], lexicon), _spoken(found[-TAIL_WORDS:], lexicon)
    else:
        start = _spoken(found, lexicon)
        end = start[-NEAR:] if len(start) > NEAR else []
    opening = {c for said in start[:NEAR] for c in said}
    closing = {c for said in end[-NEAR:] for c in said}
    out = {"=" + c for said in (*start, *end) for c in said}
    out.update(["^=" + c for c in opening])
    out.update(["$=" + c for c in closing])
    out.update(["=" + a + "=" + b for a, b in combinations(sorted(opening)[:12], 2)])
    out.update(["=" + a + "=" + b for a, b in combinations(sorted(closing)[:8], 2)])
    return list(out)


def _spoken(found: list[str], lexicon: Lexicon) -> list[tuple[str, ...]]:
    """Return, for each word, the concepts it and the phrase it opens stand for."""
    known, heads, starts = lexicon.words, lexicon.heads, lexicon.phrase_starts
    said: list[tuple[str, ...]] = []
    for i, word in enumerate(found):
        if word in known:
            concepts_of = known[word]
        elif word[0] >= _UNSPACED and not _HANGUL[0] <= word[0] <= _HANGUL[1]:
            concepts_of = _of_run(word, known)
        else:
            concepts_of = _of_stem(word, lexicon.stems) if word[:HEAD] in heads else ()
        if word in starts:
            phrase = " ".join(found[i : i + 2])
            concepts_of += known.get(phrase, ()) + known.get(" ".join(found[i : i + 3]), ())
        said.append(concepts_of)
    return said


def _of_stem(word: str, stems: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the concepts of the longest stem that ``word`` begins with."""
    for size in range(min(len(word), LONGEST_STEM), 1, -1):
        if (stem := word[:size]) in stems:
            return stems[stem]
    return ()


def _of_run(run: str, known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Find known words inside a run written without spaces: at its ends when it is long."""
    if len(run) > 2 * RUN_ENDS:
        run = run[:RUN_ENDS] + run[-RUN_ENDS:]
    n = len(run)
    pieces = [run[i : i + size] for size in (1, 2, 3, 4) for i in range(n - size + 1)]
    return tuple([c for piece in pieces if piece in known for c in known[piece]])


def code_share(text: str) -> float:
    """Estimate the share of ``text`` that is source code, in [0, 1], from the density of its punctuation."""
    if not text:
        return 0.0
    marks = sum([text.count(mark) for mark in _CODE_MARKS])
    return min(1.0, max(0.0, (marks / len(text) - 0.015) * 9.0))
