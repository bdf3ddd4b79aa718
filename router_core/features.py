"""What the models see of a prompt: an embedding, an estimate of its size, and measures of its text and structure."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, Protocol
from zlib import crc32

import numpy as np

from router_core.difficulty import difficulty
from router_core.lexical import MAX_CHARS, code_share, words
from router_core.prompt import Prompt, clip, read_prompt
from router_core.tokens import estimate_tokens
from router_core.value import value_class

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["DENSE_NAMES", "EMBEDDING_SIZE", "Embedder", "Features", "Prompt", "extract", "read_prompt"]

EMBEDDING_SIZE: Final = 256
FOLLOW_UP_CHARS: Final = 240
"""A last user turn up to this long may be a follow-up; then what came before is embedded too."""


class Embedder(Protocol):
    """Maps a text to a float32 vector of ``EMBEDDING_SIZE`` with unit norm (all zeros for an empty text)."""

    def __call__(self, text: str, /) -> NDArray[np.float32]:
        """Embed ``text``; must be a pure function, linear in a capped text."""
        ...


@value_class(eq=False)
class Features:
    """The measures of one prompt.

    ``embedding`` is float32 of ``EMBEDDING_SIZE``, unit norm, zeros for an empty text; ``hashed`` tells that it was
    made of hashed words because no embedder was at hand (the two spaces are not comparable). ``context_embedding``
    embeds what came before a short last turn. ``dense`` holds one float32 for each of ``DENSE_NAMES``.
    ``difficulty`` is how hard the text looks, about 0 with deviation 1 (``difficulty.py``). ``input_tokens`` is an
    estimate, at least 1.
    """

    embedding: NDArray[np.float32] | None
    dense: NDArray[np.float32]
    input_tokens: int
    code_share: float
    n_tools: int
    hashed: bool = False
    context_embedding: NDArray[np.float32] | None = None
    difficulty: float = 0.0


DENSE_NAMES: Final = (
    "length",  # log1p of the last user turn's characters, / 10
    "digits",  # share of digits
    "code",  # code share, see lexical.code_share
    "questions",  # question marks, at most 5, / 5
    "asks",  # 1 when the turn ends with a question mark
    "options",  # lettered answer options, at most 5, / 5
    "latex",  # TeX commands and dollar pairs, at most 5, / 5
    "lines",  # log1p of line breaks, / 5
    "bullets",  # lines that open with a list mark or a number, at most 10, / 10
    "fence",  # 1 when there is a fenced code block
    "docstring",  # 1 when there is a Python doc string
    "opens_code",  # 1 when the turn opens with code
    "diff",  # lines of a diff, at most 5, / 5
    "log",  # time stamps, levels and stack frames, at most 5, / 5
    "table",  # lines with two or more commas, bars, tabs or semicolons, at most 10, / 10
    "slots",  # template slots such as ${x}, {x}, <x>, at most 5, / 5
    "headings",  # Markdown headings, at most 5, / 5
    "numbers",  # numbers, at most 20, / 20
    "operators",  # arithmetic between numbers, at most 5, / 5
    "identifiers",  # CVE numbers, addresses and system paths, at most 5, / 5
    "wide",  # share of characters outside ASCII
    "you_are",  # 1 when the turn opens by giving a role
    "short",  # 1 when the turn has at most 40 characters
    "system",  # log1p of the system text's kept characters, / 10
    "turns",  # log1p of messages, / 5
    "tools",  # log1p of tools offered, / 5
)

_LINE: Final = re.compile(
    r"\n(?:([ \t]*[(（]?[A-Ja-jА-Е][)）.:、])|([ \t]{0,8}(?:[-*•·]|\d{1,3}[.)、])[ \t])"
    r"|(diff --git|@@ |[+-]{3} |[+-][^+\-\s])|(#))"
)
"""How a line opens: an answer option, a list mark, a line of a diff, a heading (the four groups exclude each other)."""
_LATEX: Final = re.compile(r"\\[a-zA-Z]{2,12}|\$[^$\n ]|\^\{|_\{")
_OPENS_CODE: Final = re.compile(
    r"\s*(?:def |class |import |from \w+ import|#include|function |public |private |const |let |var |package |use |fn "
    r"|SELECT |select |<\?php|<html|@\w+|async )"
)
_DIFF_SIGNS: Final = ("\n-", "\n+", "@@ ", "diff --git")
_LOG_WORDS: Final = (
    ("ERROR", "ERROR"),
    ("WARN", "WARN"),
    ("INFO", "INFO"),
    ("FATAL", "FATAL"),
    ("T", "Traceback"),
    ("E", "Exception"),
    ("\n", "\n    at "),
)
"""What a log says, behind what ``_DULL`` leaves of it."""
_CLOCK: Final = re.compile(r"\b\d\d:\d\d:\d\d")
_SLOT: Final = re.compile(r"\$\{|\{\{|\{[A-Za-z_]|<[A-Z_]{3}|\[[A-Z][A-Za-z_]{2}|<<")
_MAYBE_SLOT: Final = re.compile(r"\{|<[A-Z_]{3}|\[[A-Z]|<<")
"""What ``_DULL`` leaves of a slot."""
_ZEROS: Final = "٠۰߀०০੦૦୦௦౦೦൦෦๐໐༠၀႐០᠐᥆᧐᪀᪐᭐᮰᱀᱐꘠꣐꤀꧐꧰꩐꯰０"
_OTHER_DIGIT: Final = re.compile(
    "[" + "".join([f"{zero}-{chr(ord(zero) + 9)}" for zero in _ZEROS]) + "\U000104a0-\U0001fbf9]"
)
"""Digits outside ASCII; beyond the first plane all from the first to the last block that has some."""
_NUMBER: Final = re.compile(r"\d+")
_OPERATOR: Final = re.compile(r"\d\s?[-+*/×÷=^%<>]\s?[\d(]")
_ADDRESS: Final = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d")
_ROLES: Final = (
    "i want you to act|act as|you are|you're|role:|your role",
    "ты |вы |представь|выступи",
    "你是|你现在|请你扮演|假设你|我要你扮演|我想让你",
    "actúa como|actúes|eres |imagina que eres|quiero que actúes",
    "du bist|sie sind|ich möchte, dass du",
    "agis |tu es |vous êtes|je veux que tu",
    "aja como|você é|atue como|quero que você",
    "agisci|sei un|voglio che tu",
    "あなたは|당신은|너는|أنت |أريدك|तुम |आप |sen bir",
)
_ROLE: Final = re.compile(r"(?i)\W{0,4}(?:" + "|".join(_ROLES) + ")")
_DIGITS: Final = bytes([c if 48 <= c < 58 else 32 for c in range(256)])
"""ASCII digits, and a space for all else."""
_SHAPE: Final = bytes([48 if 48 <= c < 58 else 43 if c in b"-+*/=^%<>" else c for c in range(256)])
"""ASCII with every digit a 0 and every operator a +, so that plain searches rule out the expressions below."""
_DULL: Final = b"abcdefghijklmnopqrstuvwxyz0123456789 "
"""Most of a text; without it little is left to be searched for signs and capitals."""
_SEPARATORS: Final = ",|\t;"
_BLANKS: Final = b" \t\n\r\f\v\x1c\x1d\x1e\x1f"
_SHORT_LINE: Final = 160
_SHORT_TURN: Final = 40


def extract(prompt: Prompt, embedder: Embedder | None) -> Features:
    """Measure ``prompt``; pure, linear in the prompt's capped texts. ``embedder`` None: hashed words instead."""
    share = code_share(prompt.user)
    text = prompt.user or prompt.system
    follow_up = bool(prompt.before) and prompt.user_chars <= FOLLOW_UP_CHARS
    dense = dense_features(prompt, share)
    return Features(
        embedding=hashed_embedding(text) if embedder is None else embedder(text),
        dense=dense,
        input_tokens=estimate_tokens(prompt, share),
        code_share=share,
        n_tools=prompt.n_tools,
        hashed=embedder is None,
        context_embedding=embedder(prompt.before) if follow_up and embedder is not None else None,
        difficulty=difficulty(text, float(dense[0]), float(dense[1])),
    )


def dense_features(prompt: Prompt, share: float) -> NDArray[np.float32]:
    """Return one value for each of ``DENSE_NAMES``, all within [0, 2]. Cheap presence tests guard the expressions."""
    text = clip(prompt.user, MAX_CHARS * 2 // 3, MAX_CHARS // 3)
    size = len(text) or 1
    plain = text.encode("ascii", "ignore")
    # As text: in bytes a sign would first be taken for a number, at length.
    signs = plain.translate(None, _DULL).decode()
    wide = len(text) - len(plain)
    other = wide > 0 and _OTHER_DIGIT.search(text) is not None
    numbers = _numbers(text, plain, wide, other=other)
    shape = plain.translate(_SHAPE, _BLANKS).decode() if numbers else ""
    tail = text[-40:].rstrip(" \n\r\t\"'”»)")
    lines = signs.count("\n")
    options, bullets, diffs, headings = _openings(text)
    values = (
        math.log1p(prompt.user_chars) / 10,
        sum(map(len, numbers)) / size,
        share,
        min(signs.count("?") + (text.count("？") + text.count("؟") if wide else 0), 5) / 5,
        float(tail.endswith(("?", "？", "؟"))),
        min(options, 5) / 5 if lines or size < _SHORT_LINE else 0.0,
        _capped(_LATEX, text, 5) if "\\" in signs or "$" in signs or "^{" in signs or "_{" in signs else 0.0,
        min(2.0, math.log1p(lines) / 5),
        min(bullets, 10) / 10 if lines else 0.0,
        float("```" in signs and "```" in text),
        float('"""' in signs and '"""' in text),
        float(_OPENS_CODE.match(text) is not None),
        min(diffs, 5) / 5 if diffs and any(sign in text for sign in _DIFF_SIGNS) else 0.0,
        min(sum([text.count(word) for sign, word in _LOG_WORDS if sign in signs]) + _clocks(text, signs, shape), 5) / 5,
        _table_lines(text, signs) / 10 if lines else 0.0,
        _capped(_SLOT, text, 5) if _MAYBE_SLOT.search(signs) is not None else 0.0,
        min(headings, 5) / 5,
        min(len(numbers), 20) / 20,
        _capped(_OPERATOR, text, 5) if _calculates(text, shape, wide, other=other) else 0.0,
        min(_identifiers(text, signs, shape), 5) / 5,
        wide / size,
        float(_ROLE.match(text) is not None),
        float(prompt.user_chars <= _SHORT_TURN),
        math.log1p(len(prompt.system)) / 10,
        min(2.0, math.log1p(prompt.n_messages) / 5),
        min(2.0, math.log1p(prompt.n_tools) / 5),
    )
    return np.array(values, dtype=np.float32)


def _capped(pattern: re.Pattern[str], text: str, most: int) -> float:
    return min(len(pattern.findall(text)), most) / most


def _numbers(text: str, plain: bytes, wide: int, *, other: bool) -> Sequence[str | bytes]:
    """Return the numbers of ``text``, whose ASCII is ``plain``; ``other`` scripts may have digits in it."""
    if other:
        return _NUMBER.findall(text)
    return (text.encode("ascii", "replace") if wide else plain).translate(_DIGITS).split()


def _calculates(text: str, shape: str, wide: int, *, other: bool) -> bool:
    """Whether there may be arithmetic between numbers."""
    return "0+0" in shape or "0+(" in shape or other or (wide > 0 and ("×" in text or "÷" in text))


def _openings(text: str) -> list[int]:
    """Count how the lines of ``text`` open: with an answer option, a list mark, as part of a diff, as a heading."""
    counts = [0, 0, 0, 0]
    for match in _LINE.finditer("\n" + text):
        counts[(match.lastindex or 1) - 1] += 1
    return counts


def _clocks(text: str, signs: str, shape: str) -> int:
    """Count times of day; a digit of another script has no place in ``shape``, and none in a log."""
    return len(_CLOCK.findall(text)) if signs.count(":") > 1 and "00:00:00" in shape else 0


def _identifiers(text: str, signs: str, shape: str) -> int:
    """Count CVE numbers, addresses, hashes and system paths."""
    found = text.count("hxxp")
    if "CVE-" in signs:
        found += text.count("CVE-")
    if ":\\" in signs:
        found += text.count(":\\")
    if "//" in signs:
        found += text.count("/etc/") + text.count("/bin/")
    if shape:
        found += text.count("sha256") + text.count("0x")
        if shape.count(".0") > 2:
            found += len(_ADDRESS.findall(text))
    return found


def _table_lines(text: str, signs: str) -> int:
    """Count lines, of the first and last ten, that hold two or more of the same separator; at most 10."""
    marks = [mark for mark in _SEPARATORS if signs.count(mark) > 1]
    if not marks:
        return 0
    lines = text.split("\n")
    shown = lines if len(lines) <= 20 else lines[:10] + lines[-10:]
    short = [line for line in shown if len(line) <= _SHORT_LINE]
    return min(10, len({i for mark in marks for i, line in enumerate(short) if line.count(mark) > 1}))


def hashed_embedding(text: str) -> NDArray[np.float32]:
    """Embed ``text`` as signed hashed words and stems, unit norm: the fallback without embedding rows."""
    found = words(text)
    vector = np.zeros(EMBEDDING_SIZE, dtype=np.float32)
    if not found:
        return vector
    grams = found + [w[:5] + "*" for w in found]
    codes = np.array([crc32(g.encode("utf-8", "replace")) for g in grams], dtype=np.int64)
    signs = np.where(codes & 0x100, 1.0, -1.0).astype(np.float32)
    np.add.at(vector, codes & 0xFF, signs)
    norm = float(np.linalg.norm(vector))
    return vector / np.float32(norm) if norm > 0 else vector
