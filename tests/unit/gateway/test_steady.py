from __future__ import annotations

import time

from gateway.clock import ManualClock
from gateway.steady import SteadyClock


def test_it_tells_the_wall_clock_s_time_and_runs_on_with_it():
    clock = ManualClock(monotonic=50.0, time=1_790_000_000.0)
    steady = SteadyClock(clock)
    assert steady() == 1_790_000_000.0
    clock.advance(2.5)
    assert steady() == 1_790_000_002.5


def test_a_clock_that_is_set_changes_nothing():
    clock = ManualClock(time=1_790_000_000.0)
    steady = SteadyClock(clock)
    for jump in (86_400.0, -7 * 86_400.0):
        clock.jump(jump)
        assert steady() == 1_790_000_000.0
    assert SteadyClock(clock)() == clock.time()


def test_by_default_it_is_the_machine_s():
    before = time.time()
    assert before - 1.0 <= SteadyClock()() <= time.time() + 1.0
