"""Terms, concepts and surface measures of a text: what the classifier reads apart from the embedding.

All functions are linear in their argument, which callers cap; no expression backtracks.

Terms of a text (a bounded list of short strings):
- stems: the first six letters of each lower-cased word (two and three for Hangul), which carries inflected
  languages; identifiers are split at underscores; a number is one term, ``#``
- pairs of neighbouring stems
- scripts written without spaces: pairs and triples of neighbouring characters
- the first and the last words again, marked ``^`` and ``$``: instructions open or close a prompt

Concepts are what words of any language stand for ("check", "test", "plan"), by a ``Lexicon``. Anywhere in the
words read they are ``=check``, near the start ``^=check``, near the end ``$=check``, and pairs of those that stand
together ``=check=code``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, pairwise, repeat
from operator import add
from typing import Final

MAX_WORDS: Final = 40
"""Words read of one text: the first two thirds and the last third when there are more."""
OPENING: Final = 7
CLOSING: Final = 7
STEM: Final = 6
MAX_RUN: Final = 120
"""Characters read of one run written without spaces."""
MAX_CHARS: Final = 480
"""Characters read of one text, shared between head and tail like the words; the measures and the embedding read as
many."""
DENSE_CHARS: Final = 240
"""The same for a text of more than ``DENSE_BYTES`` bytes a character in UTF-8: there two characters say a word."""
DENSE_BYTES: Final = 2.3
NEAR: Final = 12
"""Words that count as the start of a text, and as its end, where concepts are looked for there."""
RUN_ENDS: Final = 24
LONGEST_STEM: Final = 9
HEAD: Final = 2
LONGEST_IN_RUN: Final = 4
REMEMBERED: Final = 16_384
LONGEST_REMEMBERED: Final = 24

_UNSPACED: Final = "\u0e00"
"""First character from which a run of letters is taken to be written without spaces (Thai, Han, kana)."""
_HANGUL: Final = ("\uac00", "\ud7a3")
_FOLD: Final = bytes([c if 48 <= c < 58 or 97 <= c < 123 else c + 32 if 65 <= c < 91 else 32 for c in range(256)])
"""ASCII lower-cased, a space for all that is neither letter nor digit: splitting it is faster than an expression."""
_WORD: Final = re.compile(
    r"[^\x00-@\[-`{-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf×÷\u02c2-\u02ff\u0589\u060c\u061b\u061f\u066a-\u066d\u06d4"
    r"\u0964-\u096f\u2000-\u2bff\u2e80-\U0010ffff]+|[0-9]+"
    r"|[^\x00-\u2e7f\u3000-\u3004\u3007-\u3020\u30fb\ud800-\udfff\ufe00-\ufe6f\uff00-\uff20\uff3b-\uff40\uff5b-\uff65"
    r"\ufff0-\uffff\U0001f000-\U0001faff]+"
)
"""Words of scripts with spaces, numbers, and runs of East Asian letters: a Latin word inside a run is a word."""
_CODE_MARKS: Final = b"{};()=<>[]_"
_CODE_PAIRS: Final = (("\n", "\n    "), ("\t", "\n\t"), ("/", "//"), (":", "::"), (">", "->"))
"""Marks of two characters or more, and for each a character without which it need not be searched."""


Heard = tuple[tuple[str, ...], frozenset[str]]
"""The concepts of a word, and the words that may follow it in a phrase."""
_NOBODY: Final[frozenset[str]] = frozenset()
_SILENT: Final[Heard] = ((), _NOBODY)
_UNHEARD: Final[Heard] = (("",), _NOBODY)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words and word stems of many languages and the concepts they stand for (a word may stand for several).

    The other tables say the same in the form that reading needs: concepts as terms (``=check``), the lengths of the
    stems that begin with a word's first ``HEAD`` letters and of the entries that begin with a character inside an
    unspaced run, both the longest first, and for each word that opens an entry of two or three words those that may
    follow it. ``heard`` remembers what the words met so far said (none with digits); it is emptied when full.
    """

    words: Mapping[str, tuple[str, ...]]
    stems: Mapping[str, tuple[str, ...]]
    said: Mapping[str, tuple[str, ...]]
    said_stems: Mapping[str, tuple[str, ...]]
    stem_sizes: Mapping[str, tuple[int, ...]]
    run_sizes: Mapping[str, tuple[int, ...]]
    followers: Mapping[str, frozenset[str]]
    heard: dict[str, Heard] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, words: Mapping[str, tuple[str, ...]], stems: Mapping[str, tuple[str, ...]]) -> Lexicon:
        """Build a lexicon from its two tables."""
        said, said_stems = _as_terms(words), _as_terms(stems)
        stem_sizes = _sizes([(stem[:HEAD], stem) for stem in stems if not _is_unspaced(stem[0])])
        followers: defaultdict[str, set[str]] = defaultdict(set)
        for first, second, *_ in [entry.split(" ") for entry in words if " " in entry]:
            followers[first].add(second)
        frozen = {first: frozenset(seconds) for first, seconds in followers.items()}
        runs = _sizes([(word[0], word) for word in words if len(word) <= LONGEST_IN_RUN and word[0] >= _UNSPACED])
        return cls(words, stems, said, said_stems, stem_sizes, runs, frozen)


def _as_terms(table: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {entry: tuple(["=" + concept for concept in concepts_of]) for entry, concepts_of in table.items()}


def _sizes(entries: list[tuple[str, str]]) -> dict[str, tuple[int, ...]]:
    found: defaultdict[str, set[int]] = defaultdict(set)
    for key, entry in entries:
        found[key].add(len(entry))
    return {key: tuple(sorted(sizes, reverse=True)) for key, sizes in found.items()}


def _is_unspaced(first: str) -> bool:
    return first >= _UNSPACED and not _HANGUL[0] <= first <= _HANGUL[1]


def words(text: str) -> list[str]:
    """Return the lower-cased words and numbers of ``text``, at most ``MAX_WORDS``.

    Digits stay with the letters they touch in a text of ASCII alone ("utf8"), elsewhere they are words of their own.
    """
    if "\\n" in text:  # line breaks that were escaped twice on their way here
        text = text.replace("\\n", " ")
    text = ends(text, MAX_CHARS)
    if text.isascii():
        found = text.encode().translate(_FOLD).decode().split()
    else:
        if len(text) > DENSE_CHARS and len(text.encode("utf-8", "replace")) > DENSE_BYTES * len(text):
            text = ends(text, DENSE_CHARS)
        found = _WORD.findall(text.lower())
    if len(found) > MAX_WORDS:
        head = MAX_WORDS * 2 // 3
        return found[:head] + found[head - MAX_WORDS :]
    return found


def ends(text: str, most: int) -> str:
    """Return ``text``, or two thirds of ``most`` characters from its head and one third from its tail."""
    head = most * 2 // 3
    return text if len(text) <= most else f"{text[:head]} {text[head - most :]}"


def terms(found: list[str]) -> set[str]:
    """Return the distinct terms of a text's ``words``; see the module's list."""
    out: set[str] = set()
    if not found or max(found) < _UNSPACED:
        spaced = [word[:STEM] if word > ":" else "#" for word in found]
    else:
        spaced = _mixed(found, out)
    out.update(spaced)
    out.update(map(" ".join, pairwise(spaced)))
    out.update(["^" + s for s in spaced[:OPENING]])
    out.update(["$" + s for s in spaced[-CLOSING:]])
    return out


def _mixed(found: list[str], out: set[str]) -> list[str]:
    """Return the stems of words of any script; a run written without spaces is ``~`` and adds its own terms."""
    spaced: list[str] = []
    for word in found:
        if word < _UNSPACED:
            spaced.append(word[:STEM] if word > ":" else "#")
        elif _HANGUL[0] <= word[0] <= _HANGUL[1]:
            spaced.append(word[:3])
            out.add(word[:2] + "*")
        else:
            _run(word[:MAX_RUN], out, first=not spaced)
            spaced.append("~")
    return spaced


def _run(run: str, out: set[str], *, first: bool) -> None:
    """Add the pairs and triples of a run written without spaces, and its opening and closing ones marked."""
    chars = list(run)
    pairs = list(map(add, chars, chars[1:]))
    out.update(pairs or chars)
    out.update(map(add, pairs, chars[2:]))
    if first:
        out.update(["^" + p for p in pairs[:6]])
    out.update(["$" + p for p in pairs[-4:]])


def concepts(found: list[str], lexicon: Lexicon) -> set[str]:
    """Return the concept terms of a text's ``words``; see the module's list."""
    near = len(found) - NEAR if len(found) > NEAR else len(found)
    out: set[str] = set()
    opening: set[str] = set()
    closing: set[str] = set()
    for i, said in _spoken(found, lexicon):
        out.update(said)
        if i < NEAR:
            opening.update(said)
        if i >= near:
            closing.update(said)
    out.update(["^" + c for c in opening])
    out.update(["$" + c for c in closing])
    out.update(map("".join, combinations(sorted(opening)[:12], 2)))
    out.update(map("".join, combinations(sorted(closing)[:8], 2)))
    return out


def _spoken(found: list[str], lexicon: Lexicon) -> list[tuple[int, tuple[str, ...]]]:
    """Return the concepts of each word and of the phrase it opens, with the word's place."""
    known = lexicon.said
    spoken: list[tuple[int, tuple[str, ...]]] = []
    for i, told in enumerate(map(lexicon.heard.get, found, repeat(_UNHEARD))):
        if told is _SILENT:
            continue
        said, followers = _hear(found[i], lexicon) if told is _UNHEARD else told
        if followers and i + 1 < len(found) and found[i + 1] in followers:
            said += known.get(" ".join(found[i : i + 2]), ()) + known.get(" ".join(found[i : i + 3]), ())
        if said:
            spoken.append((i, said))
    return spoken


def _hear(word: str, lexicon: Lexicon) -> Heard:
    """Return what ``word`` says and what may follow it in a phrase, ``_SILENT`` for neither; remember it."""
    heard, said, followers = lexicon.heard, lexicon.said.get(word, ()), lexicon.followers.get(word, _NOBODY)
    if not said and word >= _UNSPACED and not followers and _is_unspaced(word[0]):
        return _of_run(word, lexicon), _NOBODY  # a sentence rather than a word: not to be remembered
    said = said or _of_stem(word, lexicon.said_stems, lexicon.stem_sizes.get(word[:HEAD], ()))
    told = (said, followers) if said or followers else _SILENT
    if len(word) <= LONGEST_REMEMBERED and not any(map(str.isdigit, word)):  # else it may be a key
        if len(heard) >= REMEMBERED:
            heard.clear()
        heard[word] = told
    return told


def _of_stem(word: str, stems: Mapping[str, tuple[str, ...]], sizes: tuple[int, ...]) -> tuple[str, ...]:
    """Return the concepts of the longest stem that ``word`` begins with; ``sizes`` are the lengths to try."""
    for size in sizes:
        if (stem := word[:size]) in stems:
            return stems[stem]
    return ()


def _of_run(run: str, lexicon: Lexicon) -> tuple[str, ...]:
    """Find known words inside a run written without spaces: at its ends when it is long."""
    if len(run) > 2 * RUN_ENDS:
        run = run[:RUN_ENDS] + run[-RUN_ENDS:]
    known, sizes = lexicon.said, lexicon.run_sizes
    said: list[str] = []
    for i, told in enumerate(map(sizes.get, run, repeat(()))):
        for size in told:
            said += known.get(run[i : i + size], ())
    return tuple(said)


def code_share(text: str) -> float:
    """Estimate the share of ``text`` that is source code, in [0, 1], from the density of its punctuation."""
    if not text:
        return 0.0
    plain = text.encode("ascii", "ignore")
    marks = len(plain) - len(plain.translate(None, _CODE_MARKS))
    marks += sum([text.count(pair) for sign, pair in _CODE_PAIRS if sign in text])
    return min(1.0, max(0.0, (marks / len(text) - 0.015) * 9.0))
