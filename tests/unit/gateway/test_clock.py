"""Clocks."""

from __future__ import annotations

import time

import pytest

from gateway.clock import ManualClock, SystemClock


def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = time.monotonic()
    assert before <= clock.monotonic() <= time.monotonic()
    assert abs(clock.time() - time.time()) < 5.0


def test_a_manual_clock_moves_when_told() -> None:
    clock = ManualClock(monotonic=10.0, time=100.0)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.time()) == (12.5, 102.5)
    clock.jump(-50.0)
    assert (clock.monotonic(), clock.time()) == (12.5, 52.5)


def test_a_monotonic_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1.0)
