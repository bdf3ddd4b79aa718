"""Guesses the language of a text by its script and its frequent words: a hint for people, nothing is decided by it."""

from __future__ import annotations

import re
from typing import Final

from router_core.lexical import words

_NOT_LATIN: Final = re.compile(r"[\u0370-\U0010ffff]")
_SCRIPTS: Final = (
    (re.compile(r"[\u3040-\u30ff]"), "ja"),
    (re.compile(r"[\uac00-\ud7a3]"), "ko"),
    (re.compile(r"[\u4e00-\u9fff]"), "zh"),
    (re.compile(r"[іїєґ]"), "uk"),
    (re.compile(r"[\u0400-\u04ff]"), "ru"),
    (re.compile(r"[\u0600-\u06ff]"), "ar"),
    (re.compile(r"[\u0900-\u097f]"), "hi"),
    (re.compile(r"[\u0e00-\u0e7f]"), "th"),
    (re.compile(r"[\u0590-\u05ff]"), "he"),
    (re.compile(r"[\u0370-\u03ff]"), "el"),
)
_STOPWORDS: Final[dict[str, frozenset[str]]] = {
    "en": frozenset(
        ["the", "of", "and", "to", "in", "is", "that", "for", "with", "this", "you", "what", "how", "are", "write"]
    ),
    "es": frozenset(
        ["el", "los", "las", "una", "que", "para", "con", "por", "del", "cómo", "qué", "está", "escribe", "esta"]
    ),
    "de": frozenset(
        ["der", "die", "das", "und", "ist", "nicht", "ein", "eine", "für", "mit", "den", "wie", "schreibe", "bitte"]
    ),
    "fr": frozenset(
        ["le", "les", "des", "une", "est", "pour", "dans", "avec", "que", "qui", "du", "sur", "moi", "écris"]
    ),
    "pt": frozenset(
        ["uma", "que", "para", "com", "não", "do", "da", "os", "como", "em", "você", "escreva", "por", "isso"]
    ),
    "it": frozenset(
        ["il", "che", "per", "con", "una", "del", "della", "sono", "come", "gli", "non", "scrivi", "questo", "di"]
    ),
    "tr": frozenset(["bir", "ve", "bu", "için", "ile", "nasıl", "yaz", "mi", "ne", "olan", "bana", "şu"]),
    "nl": frozenset(["het", "een", "van", "voor", "met", "niet", "dat", "op", "hoe", "schrijf", "deze", "zijn"]),
    "pl": frozenset(["jest", "nie", "się", "na", "do", "jak", "dla", "napisz", "czy", "oraz", "ten"]),
    "vi": frozenset(["là", "của", "và", "cho", "một", "các", "không", "viết", "hãy", "này", "trong"]),
    "id": frozenset(["yang", "dan", "untuk", "dengan", "ini", "itu", "buat", "dari", "tidak", "tulis", "apa"]),
}


_SPEAKERS: Final[dict[str, tuple[int, ...]]] = {
    word: tuple(i for i, spoken in enumerate(_STOPWORDS.values()) if word in spoken)
    for word in frozenset().union(*_STOPWORDS.values())
}
"""For each frequent word the places, in ``_STOPWORDS``, of the languages that have it."""
_CODES: Final = tuple(_STOPWORDS)


def language_hint(text: str) -> str:
    """Guess the language of ``text`` by script, then by frequent words: an ISO 639-1 code, "" when unknown."""
    head = text[:160]
    if not head.isascii() and _NOT_LATIN.search(head):
        for pattern, code in _SCRIPTS:
            if len(pattern.findall(head)) >= 3:
                return code
    votes = [0] * len(_CODES)
    for word in set(words(head)):
        for i in _SPEAKERS.get(word, ()):
            votes[i] += 1
    most = max(votes)
    return _CODES[votes.index(most)] if most else ""
