"""Values that must not be printed, and the one place that takes secrets out of text.

Every ``Secret`` that is made is remembered here, so that ``scrub`` finds its value in any text later, whoever wrote it.
"""

from __future__ import annotations

import hmac
import re
from typing import Final, NoReturn

MASK: Final = "[redacted]"
_MIN_VALUE: Final = 6
"""Shorter values are not searched for: they would eat ordinary words."""

# Linear patterns only: no nested or unbounded optional repeats. Each replaces its last group, or all of the match.
# All begin a word with one of a few letters; asking for that first takes a sixth of the time.
_PATTERNS: Final = re.compile(
    r"""
    \b(?=[abcefghkmnprstxy])(?:
      (?:sk|pk|rk|gsk|csk|xai|pplx|r8|hf|nvapi|ghp|fw|moe)[-_][\w*.\-]{6,}
    | AIza[\w*\-]{6,}
    | AKIA[A-Z0-9]{8,}
    | xox[abeprs]-[\w\-]{4,}
    | ya29\.[\w.\-]{6,}
    | eyJ[\w\-]{8,}\.[\w\-]{4,}(?:\.[\w\-]*)?
    | (?P<bearer>(?:bearer|basic)\s{1,4})[^\s"',;]{4,}
    | (?P<query>(?:api[_\-]?key|key|token|access_token|secret|password|signature)=)[^\s&"',;)]+
    | (?P<spoken>(?:api|access|secret)[\ _\-]?key(?:\s\w{1,20}){0,2}\s?[:=]?\s?["'`]?)[A-Za-z0-9+/_*\-]{16,}={0,2}
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)


class Secret:
    """A string that shows itself only when asked to by name.

    ``str``, ``repr``, ``format`` give a mask; JSON encoders and pickle refuse it; comparison takes constant time.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        _remember(value)

    def reveal(self) -> str:
        """Return the value, for the one header it is meant for."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __reduce__(self) -> NoReturn:
        msg = "a Secret is never pickled"
        raise TypeError(msg)


class _Known:
    """The values seen so far, and one expression that finds them all (built when next needed)."""

    __slots__ = ("expression", "values")

    def __init__(self) -> None:
        self.values: set[str] = set()
        self.expression: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        if len(value) >= _MIN_VALUE and value not in self.values:
            self.values.add(value)
            self.expression = None

    def find(self) -> re.Pattern[str] | None:
        if self.expression is None and self.values:
            longest_first = sorted(self.values, key=len, reverse=True)
            self.expression = re.compile("|".join(map(re.escape, longest_first)))
        return self.expression


_known: Final = _Known()


def _remember(value: str) -> None:
    _known.add(value)


def scrub_known(text: str) -> str:
    """Return the text without any known secret's value. Linear in the text."""
    expression = _known.find()
    return text if expression is None else expression.sub(MASK, text)


def scrub(text: str) -> str:
    """Return the text without any known secret's value and without anything that looks like a key.

    Linear in the text. What precedes a key ("Bearer ", "key=") stays, so that the sentence can still be understood.
    """
    return _PATTERNS.sub(_mask, scrub_known(text))


def _mask(match: re.Match[str]) -> str:
    return (match["bearer"] or match["query"] or match["spoken"] or "") + MASK
