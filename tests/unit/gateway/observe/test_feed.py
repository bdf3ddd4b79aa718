from __future__ import annotations

import asyncio

import pytest

from gateway.observe.feed import MAX_WAITING, MAX_WATCHERS, Event, Feed, TooManyWatchers

pytestmark = pytest.mark.anyio


async def test_every_watcher_hears_every_event():
    feed: Feed[int] = Feed()
    watchers = [feed.watch(idle_s=5.0) for _ in range(2)]
    waiting = [asyncio.ensure_future(anext(watcher)) for watcher in watchers]
    await asyncio.sleep(0)
    assert feed.watched
    feed.tell(Event("decision", {"id": "d-1"}))
    assert [await each for each in waiting] == [Event("decision", {"id": "d-1"})] * 2
    for watcher in watchers:
        await watcher.aclose()
    assert not feed.watched


async def test_silence_is_said_so_that_the_connection_can_be_kept_alive():
    feed: Feed[int] = Feed()
    watcher = feed.watch(idle_s=0.01)
    assert await anext(watcher) is None
    await watcher.aclose()


async def test_a_watcher_that_does_not_read_loses_the_oldest_and_is_told():
    feed: Feed[int] = Feed()
    watcher = feed.watch(idle_s=5.0)
    first = asyncio.ensure_future(anext(watcher))
    await asyncio.sleep(0)
    feed.tell(Event("decision", {"n": -1}))
    await first
    for number in range(MAX_WAITING + 3):
        feed.tell(Event("decision", {"n": number}))
    assert await anext(watcher) == Event("lost", {"events": 3})
    assert await anext(watcher) == Event("decision", {"n": 3})
    await watcher.aclose()


async def test_there_are_only_so_many_watchers():
    feed: Feed[int] = Feed()
    watchers = [feed.watch(idle_s=0.01) for _ in range(MAX_WATCHERS)]
    for watcher in watchers:
        await anext(watcher)
    with pytest.raises(TooManyWatchers):
        await anext(feed.watch(idle_s=0.01))
    for watcher in watchers:
        await watcher.aclose()


async def test_the_newest_records_come_first():
    feed: Feed[int] = Feed(size=3)
    for number in range(5):
        feed.keep(f"d-{number}", number)
    feed.keep("d-3", 33)
    assert feed.last(2) == [33, 4]
    assert feed.last(0) == []
