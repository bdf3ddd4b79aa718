"""How hard a prompt looks, from its text alone: no labels, no weights, four signs with a reason each.

- **Length** (log characters): more is asked, and more conditions have to be kept together. Alone it already ranks
  prompts by how much a weaker model loses (Ong et al., "RouteLLM", 2024, report routers hardly above it).
- **Share of digits**, against: an exercise that is mostly figures states its computation, prose hides it.
- **Negations** ("not", "except", "least", "unless"): the classic trap; smaller models answer the positive.
- **Names** (capitalised words inside a sentence): people and things to be kept apart.

The last two read languages with such words and capitals; elsewhere they are 0 and the length carries the estimate.
The weights are set by hand in round numbers, not fitted.
"""

from __future__ import annotations

from typing import Final

from router_core.lexical import MAX_CHARS

CENTRE: Final = 0.5
SCALE: Final = 0.1
LIMIT: Final = 3.0
DIGITS: Final = -0.7
NEGATIONS: Final = 0.1
NAMES: Final = 0.08

_NEGATIONS: Final = (" not ", " except", " least ", " false", " incorrect", " never ", " neither ", " without ", "n't ")
_LETTERS: Final = bytes(
    [97 if 97 <= c < 123 else 65 if 65 <= c < 91 else 44 if c in b",;" else 32 if c == 32 else 48 for c in range(256)]
)
"""Every small letter an a, every capital an A: a capitalised word inside a sentence then reads ``a Aa`` or ``, Aa``."""


def difficulty(text: str, length: float, digits: float) -> float:
    """Return how hard ``text`` looks, about 0 with deviation 1 over everyday prompts, within [-3, 3].

    ``length`` and ``digits`` are the measures of the same names in ``features.DENSE_NAMES``.
    """
    head = text[:MAX_CHARS]
    lowered = head.lower()
    negations = min(3, sum([lowered.count(word) for word in _NEGATIONS])) / 3
    letters = head.encode("ascii", "replace").translate(_LETTERS)
    others = letters.replace(b", Aa", b"0000")
    names = min(5, letters.count(b", Aa") + others.count(b"a Aa")) / 5
    raw = length + DIGITS * digits + NEGATIONS * negations + NAMES * names
    return max(-LIMIT, min(LIMIT, (raw - CENTRE) / SCALE))
