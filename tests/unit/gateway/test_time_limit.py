"""The time limit of a block: what asyncio.timeout promises, in each of its races."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from gateway.idle import IdleWatch
from gateway.time_limit import TimeLimit

pytestmark = pytest.mark.anyio
FAR = 3600.0
SOON = 0.01


def current() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def forever() -> None:
    await asyncio.Event().wait()


async def limited(seconds: float, work: Callable[[], Awaitable[object]]) -> object:
    with TimeLimit(seconds):
        return await work()


async def in_the_same_turn(*calls: Callable[[], object]) -> None:
    """Call some functions one after the other while everybody else waits, as the loop calls what has come due."""
    for call in calls:
        call()


def expire(limit: TimeLimit) -> Callable[[], None]:
    """Return what the loop calls when the time is up."""
    return limit._expire


async def test_a_block_that_is_done_in_time_keeps_its_result():
    async def quick() -> str:
        await asyncio.sleep(0)
        return "done"

    assert await limited(FAR, quick) == "done"
    assert current().cancelling() == 0


async def test_a_block_that_takes_too_long_raises_and_leaves_no_cancellation_behind():
    with pytest.raises(TimeoutError) as told:
        await limited(SOON, forever)
    assert isinstance(told.value.__cause__, asyncio.CancelledError)
    assert current().cancelling() == 0
    await asyncio.sleep(0)


async def test_a_limit_that_ran_out_unused_does_nothing_later():
    await limited(SOON, lambda: asyncio.sleep(0))
    await asyncio.sleep(3 * SOON)
    assert current().cancelling() == 0


async def test_an_error_of_the_block_passes_through():
    async def broken() -> None:
        await asyncio.sleep(0)
        raise KeyError

    with pytest.raises(KeyError):
        await limited(FAR, broken)


async def test_somebody_elses_cancellation_passes_through():
    task = asyncio.create_task(limited(FAR, forever))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@pytest.mark.parametrize("client_first", [True, False])
async def test_a_client_that_leaves_while_the_time_runs_out_counts_as_gone(client_first: bool):
    limit = TimeLimit(FAR)

    async def work() -> None:
        with limit:
            await forever()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    calls = [task.cancel, expire(limit)]
    await in_the_same_turn(*(calls if client_first else reversed(calls)))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1  # the client's; ours was taken back


async def test_an_answer_in_the_turn_in_which_the_time_runs_out_gives_way_to_the_limit():
    """asyncio throws a cancellation into a task whose future is done already; both limits tell of it alike."""
    answers: list[asyncio.Future[str]] = []

    async def work() -> str:
        with TimeLimit(FAR) as limit:
            answers.append(asyncio.get_running_loop().create_future())
            asyncio.get_running_loop().call_soon(lambda: (answers[0].set_result("answer"), expire(limit)()))
            return await answers[0]

    with pytest.raises(TimeoutError):
        await asyncio.create_task(work())


async def test_a_block_that_swallows_the_cancellation_goes_on_as_if_nobody_had_cancelled_it():
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        return "kept"

    assert await limited(SOON, stubborn) == "kept"
    assert current().cancelling() == 0


async def test_an_error_made_of_the_cancellation_passes_through():
    async def translating() -> None:
        try:
            await forever()
        except asyncio.CancelledError as exc:
            raise ConnectionError from exc

    with pytest.raises(ConnectionError):
        await limited(SOON, translating)
    assert current().cancelling() == 0


@pytest.mark.parametrize(("outer_s", "inner_s"), [(SOON, FAR), (FAR, SOON)])
async def test_of_two_limits_the_one_that_ran_out_tells(outer_s: float, inner_s: float):
    told = []

    async def inner() -> None:
        try:
            await limited(inner_s, forever)
        except TimeoutError:
            told.append("inner")
            raise

    with pytest.raises(TimeoutError):
        await limited(outer_s, inner)
    assert told == (["inner"] if inner_s == SOON else [])
    assert current().cancelling() == 0


@pytest.mark.parametrize("inner_first", [True, False])
async def test_of_two_limits_that_run_out_at_once_the_outer_one_tells(inner_first: bool):
    outer, inner = TimeLimit(FAR), TimeLimit(FAR)
    told = []

    async def work() -> None:
        with outer:
            try:
                with inner:
                    await forever()
            except TimeoutError:
                told.append("inner")
                raise

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    calls = [expire(inner), expire(outer)]
    await in_the_same_turn(*(calls if inner_first else reversed(calls)))
    with pytest.raises(TimeoutError):
        await task
    assert told == []
    assert task.cancelling() == 0


async def test_inside_asyncios_own_timeout_and_around_it():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SOON):
            await limited(FAR, forever)

    async def own() -> None:
        async with asyncio.timeout(SOON):
            await forever()

    with pytest.raises(TimeoutError):
        await limited(FAR, own)
    assert current().cancelling() == 0


async def test_under_a_watch_for_silence_the_limit_is_not_taken_for_silence():
    with IdleWatch(FAR, asyncio.get_running_loop().time() + FAR) as watch:
        watch.waiting()
        with pytest.raises(TimeoutError):
            await limited(SOON, forever)
    assert not watch.expired


async def test_silence_inside_of_a_limit_is_not_taken_for_the_limit():
    async def silent() -> str:
        with IdleWatch(SOON, asyncio.get_running_loop().time() + FAR) as watch:
            watch.waiting()
            try:
                await forever()
            except asyncio.CancelledError:
                assert watch.expired
                watch.uncancel()
        return "silent"

    assert await limited(FAR, silent) == "silent"
    assert current().cancelling() == 0


async def test_a_task_that_was_cancelled_before_may_still_be_limited():
    """As it is when a cancelled request tidies up: only cancellations since the block began count as others'."""

    async def tidying() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            with contextlib.suppress(TimeoutError):
                await limited(SOON, forever)
            return "tidied"
        return ""

    task = asyncio.create_task(tidying())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "tidied"


async def test_each_task_has_its_own_limit():
    quick, slow = asyncio.create_task(limited(SOON, forever)), asyncio.create_task(limited(FAR, forever))
    done, pending = await asyncio.wait([quick, slow], return_when=asyncio.FIRST_COMPLETED)
    assert done == {quick}
    assert pending == {slow}
    slow.cancel()
    with pytest.raises(TimeoutError):
        quick.result()
    with pytest.raises(asyncio.CancelledError):
        await slow


async def test_outside_of_a_task_there_is_nothing_to_limit():
    outcome: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def enter() -> None:
        try:
            with TimeLimit(FAR):
                outcome.set_result(None)
        except RuntimeError as exc:
            outcome.set_result(exc)

    asyncio.get_running_loop().call_soon(enter)
    assert isinstance(await outcome, RuntimeError)
