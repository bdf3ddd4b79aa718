"""Work ends when its client leaves, whichever server tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.disconnect import LEAVING, ClientWatch, Message

pytestmark = pytest.mark.anyio


async def work(scope: dict[str, Any], receive: Any, begun: asyncio.Event) -> str:
    task = asyncio.current_task()
    assert task is not None
    watch = ClientWatch(scope, receive, task)
    watch.start()
    begun.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "left" if watch.gone else "cancelled"
    finally:
        watch.stop()
    return "done"


async def never() -> Message:
    await asyncio.Event().wait()
    return {}


async def test_our_own_server_calls_back_and_needs_no_task():
    leaving: set[Callable[[], None]] = set()
    begun = asyncio.Event()
    before = asyncio.all_tasks()
    task = asyncio.create_task(work({"extensions": {LEAVING: leaving}}, never, begun))
    await begun.wait()
    assert asyncio.all_tasks() - before == {task}
    for left in tuple(leaving):
        left()
    assert await task == "left"
    assert not leaving


async def test_any_other_server_is_asked_for_its_message():
    told = asyncio.Event()

    async def receive() -> Message:
        await told.wait()
        return {"type": "http.disconnect"}

    begun = asyncio.Event()
    task = asyncio.create_task(work({}, receive, begun))
    await begun.wait()
    told.set()
    assert await task == "left"


async def test_another_cancellation_is_not_taken_for_a_client_that_left():
    begun = asyncio.Event()
    task = asyncio.create_task(work({"extensions": {LEAVING: set()}}, never, begun))
    await begun.wait()
    task.cancel()
    assert await task == "cancelled"
