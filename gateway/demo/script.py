"""What is to happen on the wire, as a value: head, steps, end. One file writes scripts, another acts them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes; ``content`` bytes are paced like a model's tokens."""

    data: bytes
    content: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for ``seconds``; None: until the client leaves."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Repeat:
    """Write the same bytes every ``interval_s`` for ``seconds`` (None: until the client leaves)."""

    data: bytes
    interval_s: float
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Drip:
    """Write ``step`` bytes at a time with a pause of ``interval_s`` between."""

    data: bytes
    interval_s: float
    step: int


Step: TypeAlias = Send | Wait | Repeat | Drip


class End(Enum):
    """How the response ends."""

    WHOLE = auto()
    """As HTTP wants it."""
    CUT = auto()
    """The connection is closed (FIN) without the body's end."""
    RESET = auto()
    """The connection is reset (RST)."""


@dataclass(frozen=True, slots=True)
class Script:
    """One response.

    ``before_s`` is the wait before any byte (None: until the client leaves). ``raw`` steps come without a head of
    HTTP. ``length`` is the declared Content-Length; without one the body is chunked.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    end: End = End.WHOLE
    before_s: float | None = 0.0
    raw: bool = False
    length: int | None = None

    def __post_init__(self) -> None:
        """Refuse a status HTTP does not know."""
        if not 100 <= self.status <= 599:
            msg = f"no HTTP status: {self.status!r}"
            raise ValueError(msg)
