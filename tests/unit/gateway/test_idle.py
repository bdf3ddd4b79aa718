"""The watchdog for silence: only the upstream's silence counts, and its cancellation is told from others'."""

from __future__ import annotations

import asyncio

import pytest

from gateway.idle import IdleWatch

pytestmark = pytest.mark.anyio
FAR = 3600.0


def later(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def watched(limit_s: float, until_s: float, work: object) -> bool:
    """Run a coroutine under a watch; returns whether silence ended it."""
    with IdleWatch(limit_s, later(until_s)) as watch:
        try:
            await work(watch)  # type: ignore[operator]
        except asyncio.CancelledError:
            if not watch.expired:
                raise
            watch.uncancel()
    return watch.expired


async def test_silence_longer_than_the_limit_ends_the_wait():
    async def silent(watch: IdleWatch) -> None:
        watch.waiting()
        await asyncio.Event().wait()

    assert await asyncio.wait_for(watched(0.02, FAR, silent), 5)


async def test_the_whole_limit_ends_even_a_talkative_upstream():
    async def talkative(watch: IdleWatch) -> None:
        while True:
            watch.waiting()
            await asyncio.sleep(0.005)
            watch.got()

    async def stuck_at_the_end(watch: IdleWatch) -> None:
        watch.waiting()
        await asyncio.Event().wait()

    assert await asyncio.wait_for(watched(FAR, 0.05, stuck_at_the_end), 5)
    assert await asyncio.wait_for(watched(0.5, 0.05, talkative), 5)


async def test_a_client_that_reads_slowly_is_not_the_upstreams_silence():
    async def slow_client(watch: IdleWatch) -> None:
        watch.waiting()
        watch.got()
        await asyncio.sleep(0.1)

    assert not await watched(0.02, FAR, slow_client)


async def test_a_shorter_limit_counts_from_then_on():
    async def after_the_end(watch: IdleWatch) -> None:
        watch.shorten(0.02)
        watch.waiting()
        await asyncio.Event().wait()

    assert await asyncio.wait_for(watched(FAR, FAR, after_the_end), 5)


async def test_a_cancellation_by_somebody_else_passes_through():
    async def waits(watch: IdleWatch) -> None:
        watch.waiting()
        await asyncio.Event().wait()

    task = asyncio.create_task(watched(FAR, FAR, waits))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_whose_wait_was_ended_goes_on_as_if_nobody_had_cancelled_it():
    async def silent(watch: IdleWatch) -> None:
        watch.waiting()
        await asyncio.Event().wait()

    assert await asyncio.wait_for(watched(0.02, FAR, silent), 5)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)
