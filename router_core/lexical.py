"""Terms and surface measures of a text: everything the classifier reads apart from the embedding.

All functions are linear in their argument, which callers cap; no expression backtracks.

Terms of a text (a bounded list of short strings):
- words, lower-cased; identifiers split at underscores; digits are one term, ``#``
- stems: the first five letters of a longer word, which carries inflected languages
- pairs of neighbouring stems
- scripts written without spaces: pairs and triples of neighbouring characters
- the first and the last words again, marked ``^`` and ``$``: instructions open or close a prompt
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

MAX_WORDS: Final = 260
"""Words read of one text: the first two thirds and the last third when there are more."""
OPENING: Final = 7
CLOSING: Final = 7
STEM: Final = 5
_UNSPACED: Final = "\u0e00"
"""First character from which a run of letters is taken to be written without spaces (Thai, Han, kana)."""
_HANGUL: Final = ("\uac00", "\ud7a3")
MAX_RUN: Final = 400

_WORD: Final = re.compile(r"[^\W\d_]+|\d+")
_CODE_MARKS: Final = ("{", "}", ";", "(", ")", "=", "<", ">", "[", "]", "_", "\n    ", "\n\t", "//", "::", "->")


def words(text: str) -> list[str]:
    """Return the lower-cased words and numbers of ``text``, at most ``MAX_WORDS``."""
    if "\\n" in text:  # line breaks that were escaped twice on their way here
        text = text.replace("\\n", " ")
    found = _WORD.findall(text.lower())
    if len(found) > MAX_WORDS:
        head = MAX_WORDS * 2 // 3
        return found[:head] + found[head - MAX_WORDS :]
    return found


def terms(text: str) -> list[str]:
    """Return the distinct terms of ``text`` in no particular order; see the module's list."""
    spaced: list[str] = []
    out: set[str] = set()
    for word in words(text):
        if word[0] >= _UNSPACED and not _HANGUL[0] <= word[0] <= _HANGUL[1]:
            _run(word[:MAX_RUN], out, first=not spaced)
            spaced.append("~")
        else:
            spaced.append("#" if word.isdecimal() else word)
    out.update(spaced)
    stems = [w[:STEM] for w in spaced]
    out.update([s + "*" for s in stems if len(s) == STEM])
    out.update([a + " " + b for a, b in pairwise(stems)])
    out.update(["^" + s for s in stems[:OPENING]])
    out.update(["$" + s for s in stems[-CLOSING:]])
    return list(out)


def _run(run: str, out: set[str], *, first: bool) -> None:
    """Add the pairs and triples of a run written without spaces, and its opening ones marked."""
    pairs = [a + b for a, b in pairwise(run)]
    out.update(pairs or [run])
    out.update([a + b[-1] for a, b in pairwise(pairs)])
    if first:
        out.update(["^" + p for p in pairs[:6]])
    out.update(["$" + p for p in pairs[-4:]])


def code_share(text: str) -> float:
    """Estimate the share of ``text`` that is source code, in [0, 1], from the density of its punctuation."""
    if not text:
        return 0.0
    marks = sum([text.count(mark) for mark in _CODE_MARKS])
    return min(1.0, max(0.0, (marks / len(text) - 0.015) * 9.0))
