"""Clocks. Windows and deadlines use ``monotonic``; ``time`` is for records that people read."""

from __future__ import annotations

import time as _time
from typing import Final, Protocol


class Clock(Protocol):
    """Tells the time in two ways, both in seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back, and is the event loop's own clock."""
        ...

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump when the machine's clock is set."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    monotonic = staticmethod(_time.monotonic)
    time = staticmethod(_time.time)


class ManualClock:
    """A clock that stands still until it is moved: for tests, demonstrations and replays."""

    __slots__ = ("_monotonic", "_time")

    def __init__(self, *, monotonic: float = 1000.0, time: float = 1_760_000_000.0) -> None:
        self._monotonic = monotonic
        self._time = time

    def monotonic(self) -> float:
        """Return the seconds this clock was moved to."""
        return self._monotonic

    def time(self) -> float:
        """Return the wall-clock seconds this clock was moved to."""
        return self._time

    def advance(self, seconds: float) -> None:
        """Let both clocks run on. Raises ``ValueError`` when asked to go back."""
        if seconds < 0:
            msg = f"a monotonic clock does not go back by {seconds!r} s"
            raise ValueError(msg)
        self._monotonic += seconds
        self._time += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock alone, forward or back, as an operator or NTP would."""
        self._time += seconds


SYSTEM: Final = SystemClock()
