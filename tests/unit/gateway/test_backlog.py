from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.backlog import Backlog
from gateway.stages import Steps

pytestmark = pytest.mark.anyio
LOG = logging.getLogger("test.backlog")


def backlog(done: list[int], at_once: int = 2) -> Backlog[int]:
    def work(item: int) -> Steps[None]:
        if item < 0:
            raise ValueError(item)
        yield
        done.append(item)

    return Backlog(work, at_once=at_once, log=LOG, fault="could not be done")


async def turns(done: list[int], count: int) -> list[int]:
    """How much is done after each turn of the loop."""
    seen = []
    for _ in range(count):
        await asyncio.sleep(0)
        seen.append(len(done))
    return seen


async def test_a_turn_takes_a_few_and_of_many_an_eighth():
    done: list[int] = []
    made = backlog(done)
    for item in range(80):
        made.put(item, 0.0)
    while not done:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    assert len(done) == 10
    assert (await turns(done, 3))[-1] == 10 + 8 + 7 + 6
    while made:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    assert done == list(range(80))


async def test_pieces_are_of_what_waited_when_they_began():
    done: list[int] = []
    made = backlog(done)
    for item in range(5):
        made.put(item, 60.0)
    seen = []
    for _ in made.pieces():
        seen.append(len(done))
        made.put(9, 60.0)
    assert seen == [2, 4, 6]  # five are three pieces, and the last of them has room for one that came later
    assert len(made) == 2


async def test_an_item_whose_work_fails_is_lost_alone(caplog: pytest.LogCaptureFixture):
    done: list[int] = []
    made = backlog(done)
    for item in (1, -1, 2):
        made.put(item, 60.0)
    made.drain()
    assert (done, len(made)) == ([1, 2], 0)
    assert "could not be done" in caplog.text
