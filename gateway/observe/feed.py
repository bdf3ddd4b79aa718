"""The last decisions, and a live feed of what happens for whoever watches. Bounded in all directions."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")

MAX_WATCHERS: Final = 32
MAX_WAITING: Final = 256


class Event(NamedTuple):
    """Something to show: its kind and plain JSON."""

    kind: str
    data: Mapping[str, Any]


class TooManyWatchers(Exception):
    """The feed already has as many watchers as it serves."""


class Feed(Generic[T]):
    """Keeps the last ``size`` records and hands each event to every watcher.

    A watcher that does not read loses the oldest of its waiting events and is told how many.
    """

    def __init__(self, size: int = 200) -> None:
        """Keep this many records."""
        self._size = size
        self._records: OrderedDict[str, T] = OrderedDict()
        self._watchers: set[_Watcher] = set()

    def keep(self, record_id: str, record: T) -> None:
        """Remember a record, the newest last."""
        self._records[record_id] = record
        self._records.move_to_end(record_id)
        while len(self._records) > self._size:
            self._records.popitem(last=False)

    def last(self, limit: int = 50) -> list[T]:
        """Return the newest records first."""
        newest = list(reversed(self._records.values()))
        return newest[: max(0, limit)]

    def find(self, record_id: str) -> T | None:
        """Return one record, None when it is not among the last."""
        return self._records.get(record_id)

    @property
    def watched(self) -> bool:
        """Whether anybody is watching."""
        return bool(self._watchers)

    @property
    def full(self) -> bool:
        """Whether no further watcher is served."""
        return len(self._watchers) >= MAX_WATCHERS

    def tell(self, event: Event) -> None:
        """Hand an event to every watcher; never waits."""
        for watcher in self._watchers:
            watcher.put(event)

    async def watch(self, *, idle_s: float = 15.0) -> AsyncGenerator[Event | None, None]:
        """Yield events as they come, None after ``idle_s`` seconds without one. Raises TooManyWatchers."""
        if self.full:
            raise TooManyWatchers
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            while True:
                try:
                    async with asyncio.timeout(idle_s):
                        event = await watcher.get()
                except TimeoutError:
                    yield None
                else:
                    yield event
        finally:
            self._watchers.discard(watcher)


class _Watcher:
    __slots__ = ("_lost", "_queue")

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event] = asyncio.Queue(MAX_WAITING)
        self._lost = 0

    def put(self, event: Event) -> None:
        if self._queue.full():
            self._queue.get_nowait()
            self._lost += 1
        self._queue.put_nowait(event)

    async def get(self) -> Event:
        if self._lost:
            lost, self._lost = self._lost, 0
            return Event("lost", {"events": lost})
        return await self._queue.get()
