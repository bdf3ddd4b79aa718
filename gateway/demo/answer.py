"""What a demo provider answers, before any wire gives it a shape; and the settings that fix it from outside."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias

from gateway.demo.ask import Json, pieces

Finish: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "stop_sequence"]
Prefill: TypeAlias = Literal["continue", "ignore", "reject"]

_USAGE_KEYS: Final = frozenset({"input", "output", "cached", "cache_write", "reasoning"})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model wants made; ``arguments`` is the JSON text as it is sent."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts: ``input`` includes ``cached``; ``output`` includes ``reasoning``."""

    input: int
    output: int
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the ``n`` answers. ``chunks`` are the texts of its content events, joined they are ``text``."""

    chunks: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: tuple[str, ...] = ()
    refusal: str | None = None
    finish: Finish = "stop"
    stop_sequence: str | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.chunks)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; ``created`` is in Unix seconds, ``usage`` is None where the provider leaves it out."""

    id: str
    model: str
    created: int
    choices: tuple[Choice, ...]
    usage: Tokens | None


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """What ``POST /_control/answer`` fixes; None leaves a thing as the model would do it.

    ``{prompt}`` in ``text`` stands for what the user said last. ``delay_s`` is the pause between content events and
    ``first_delay_s`` the one before the first, in seconds; ``chunks`` is the number of content events the text is dealt
    into; ``usage`` has the keys input, output, cached, cache_write, reasoning (tokens); ``raw_chunks`` are sent as they
    are instead of the stream (or joined, as the body); ``bench`` precomputes the answer once and leaves out everything
    that depends on the request.
    """

    text: str | None = None
    delay_s: float | None = None
    first_delay_s: float | None = None
    chunks: int | None = None
    usage: Json | None = None
    reasoning: str | None = None
    tool_calls: tuple[Json, ...] | None = None
    raw_chunks: tuple[str, ...] | None = None
    finish: Finish | None = None
    model: str | None = None
    prefill: Prefill | None = None
    bench: bool = False

    def __post_init__(self) -> None:
        """Refuse what could not be answered."""
        for name in ("delay_s", "first_delay_s"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 600:
                msg = f"{name} must be within [0, 600] seconds, not {value!r}"
                raise ValueError(msg)
        if self.chunks is not None and not 1 <= self.chunks <= 100_000:
            msg = f"chunks must be within [1, 100000], not {self.chunks!r}"
            raise ValueError(msg)
        if self.usage is not None and not set(self.usage) <= _USAGE_KEYS:
            msg = f"usage may have {sorted(_USAGE_KEYS)}, not {sorted(self.usage)}"
            raise ValueError(msg)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> AnswerSettings:
        """Read the control call's JSON. Raises ``ValueError`` for an unknown key or a value out of range."""
        known = {field.name for field in fields(cls)}
        if unknown := set(raw) - known:
            msg = f"unknown settings {sorted(unknown)}; known: {sorted(known)}"
            raise ValueError(msg)
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
        return cls(**values)


def deal(text: str, count: int | None) -> tuple[str, ...]:
    """Deal a text into ``count`` chunks of words, or into one chunk a word when ``count`` is None."""
    words = pieces(text)
    if count is None or count >= len(words):
        return tuple(words)
    bounds = [round(index * len(words) / count) for index in range(count + 1)]
    return tuple("".join(words[low:high]) for low, high in pairwise(bounds))
