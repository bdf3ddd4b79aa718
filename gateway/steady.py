"""A clock that tells wall-clock seconds and never jumps: the wall clock at start plus monotonic time since."""

from __future__ import annotations

from gateway.clock import Clock, SystemClock


class SteadyClock:
    """Callable clock for circuits, windows and decay: a machine's clock set by a day changes nothing."""

    __slots__ = ("_monotonic", "_offset")

    def __init__(self, clock: Clock | None = None) -> None:
        """Anchor to the wall clock now."""
        clock = clock or SystemClock()
        self._monotonic = clock.monotonic
        self._offset = clock.time() - clock.monotonic()

    def __call__(self) -> float:
        """Return seconds since 1970 as they would be had nobody touched the clock since the start."""
        return self._offset + self._monotonic()
