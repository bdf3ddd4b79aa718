from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission import Admission
from gateway.http.errors import ApiError
from router_core.policy import AdmissionPolicy

pytestmark = pytest.mark.anyio


class Door:
    """An admission whose policy a test may change, as a reload does."""

    def __init__(self, **policy: object) -> None:
        self.policy = AdmissionPolicy(**{"max_in_flight": 2, "max_queue": 2, "queue_wait_s": 30.0, **policy})
        self.admission = Admission(lambda: self.policy, random.Random(1))

    async def queued(self, count: int, key: str = "k") -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.admission.enter(key)) for _ in range(count)]
        await settle()
        return tasks


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def refused(admission: Admission, key: str = "k") -> ApiError:
    with pytest.raises(ApiError) as found:
        await admission.enter(key)
    return found.value


async def test_what_does_not_fit_waits_and_what_does_not_fit_the_queue_is_refused_at_once():
    door = Door()
    for _ in range(2):
        await door.admission.enter("k")
    waiting = await door.queued(2)
    assert not any(task.done() for task in waiting)
    error = await refused(door.admission)
    assert (error.status, error.code) == (503, "overloaded")
    assert error.retry_after_s is not None
    assert 1.0 <= error.retry_after_s <= 5.0
    assert door.admission.shed == 1
    door.admission.leave("k")
    door.admission.leave("k")
    await asyncio.gather(*waiting)
    assert door.admission.in_flight == 2


async def test_a_free_place_goes_to_the_one_who_waited_longest_and_to_nobody_who_comes_meanwhile():
    door = Door(max_in_flight=1)
    await door.admission.enter("k")
    first, second = await door.queued(2)
    door.admission.leave("k")
    late = asyncio.create_task(refused(door.admission))  # the queue still holds one, and the place is taken
    door.policy = replace(door.policy, max_queue=1)
    await settle()
    assert (first.done(), second.done()) == (True, False)
    assert (await late).code == "overloaded"
    assert door.admission.in_flight == 1
    door.admission.leave("k")
    await second


async def test_waiting_too_long_is_refused_and_leaves_no_trace():
    door = Door(max_in_flight=1, queue_wait_s=0.01)
    await door.admission.enter("k")
    for _ in range(3):  # more than the queue holds, one after another
        assert (await refused(door.admission)).code == "overloaded"
    door.admission.leave("k")
    assert await door.admission.idle(1.0)
    await door.admission.enter("k")
    assert door.admission.in_flight == 1


async def test_a_waiter_that_leaves_gives_its_turn_to_the_next():
    door = Door(max_in_flight=1)
    await door.admission.enter("k")
    gone, patient = await door.queued(2)
    gone.cancel()
    await settle()
    assert gone.cancelled()
    door.admission.leave("k")
    await asyncio.wait_for(patient, 5)
    assert door.admission.in_flight == 1


@pytest.mark.parametrize("others", [0, 1])
async def test_a_waiter_that_leaves_in_the_moment_its_place_comes_passes_it_on(others):
    door = Door(max_in_flight=1)
    await door.admission.enter("k")
    gone, *patient = await door.queued(1 + others)
    door.admission.leave("k")  # the place is the first one's now, but it has not run yet
    gone.cancel()
    await settle()
    assert gone.cancelled()
    assert all(task.done() for task in patient)
    assert door.admission.in_flight == others
    if not others:
        assert await door.admission.idle(1.0)


async def test_a_waiter_whose_time_ends_in_the_moment_its_place_comes_passes_it_on():
    door = Door(max_in_flight=1, queue_wait_s=0.02)
    await door.admission.enter("k")
    (late,) = await door.queued(1)
    loop = asyncio.get_running_loop()
    door.policy = replace(door.policy, queue_wait_s=30.0)
    (patient,) = await door.queued(1)
    until = loop.time() + 0.05
    while loop.time() < until:  # hold the loop, so that the time-out and the place come in one turn
        pass
    loop.call_soon(door.admission.leave, "k")
    await asyncio.wait_for(patient, 5)
    await asyncio.wait([late], timeout=5)
    assert isinstance(late.exception(), ApiError)
    assert door.admission.in_flight == 1


async def test_a_key_has_its_own_bound_and_waiting_counts():
    door = Door(max_in_flight=1, max_in_flight_per_key=2, max_queue=10)
    await door.admission.enter("a")
    waiting = await door.queued(1, "a")
    error = await refused(door.admission, "a")
    assert "this key" in error.message
    others = await door.queued(1, "b")
    for task in (*waiting, *others):
        door.admission.leave("a")
        await asyncio.wait_for(task, 5)
        assert door.admission.in_flight == 1
    door.admission.leave("b")
    assert await door.admission.idle(1.0)
    await door.admission.enter("a")  # nothing is remembered of keys that have nothing open


async def test_while_draining_nobody_new_comes_in_and_those_inside_may_finish():
    door = Door(max_in_flight=1)
    await door.admission.enter("k")
    (waiting,) = await door.queued(1)
    door.admission.draining = True
    assert (await refused(door.admission)).code == "draining"
    assert not await door.admission.idle(0.01)
    door.admission.leave("k")
    await waiting  # it was accepted before
    door.admission.leave("k")
    assert await door.admission.idle(1.0)


async def test_a_loop_that_lags_sheds_only_when_it_is_busy():
    door = Door(max_in_flight=20, max_loop_lag_s=0.5)
    door.admission.lag_s = 0.6
    for _ in range(3):
        await door.admission.enter("k")
    assert (await refused(door.admission)).code == "overloaded"
    door.admission.lag_s = 0.4
    await door.admission.enter("k")


async def test_the_lag_is_measured_until_stopped():
    door = Door()
    door.admission.start()
    await asyncio.sleep(0)
    await door.admission.stop()
    await door.admission.stop()
    assert door.admission.lag_s >= 0.0


async def test_a_raised_limit_lets_more_than_one_in_when_a_place_comes():
    door = Door(max_in_flight=1)
    await door.admission.enter("k")
    waiting = await door.queued(2)
    door.policy = replace(door.policy, max_in_flight=3)
    door.admission.leave("k")
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert door.admission.in_flight == 2


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["enter", "leave", "cancel", "step"]), max_size=40))
def test_whatever_happens_no_place_is_lost_and_none_is_given_twice(steps):
    async def play() -> None:
        door = Door(max_in_flight=2, max_queue=3)
        tasks: list[asyncio.Task[None]] = []
        inside = 0

        def count() -> int:
            return sum(task.done() and not task.cancelled() and task.exception() is None for task in tasks) - inside

        for step in steps:
            if step == "enter":
                tasks.append(asyncio.create_task(door.admission.enter("k")))
            elif step == "leave" and count() > 0:
                inside += 1
                door.admission.leave("k")
            elif step == "cancel":
                next((task.cancel() for task in tasks if not task.done()), None)
            elif step == "step":
                await asyncio.sleep(0)
            assert count() <= 2
            assert door.admission.in_flight <= 2
        await settle()
        pending = [task for task in tasks if not task.done()]
        assert door.admission.in_flight == count()
        assert not pending or count() == 2
        while count() > 0:
            inside += 1
            door.admission.leave("k")
            await settle()
        assert all(task.done() for task in tasks)
        assert door.admission.in_flight == 0

    asyncio.run(play())
