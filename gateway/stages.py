"""Work in stages: what waits at the same time goes through each stage together.

A request touches more code and tables than the processor's near caches hold. Going its whole way alone, each finds a
stage's pushed out by the stages after it; together, all but the first find them there. So the work is a generator that
yields between its stages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator, Iterable
from typing import Any, Final, TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Work that yields between its stages, and returns its result."""

_AT_ONCE: Final = 32
"""So many requests go together; the turn of others comes after all else that the event loop has to do."""
_ENDED: Final = object()


def alone(steps: Steps[T]) -> T:
    """Go through all stages and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def together(works: Iterable[Steps[Any]]) -> None:
    """Go through the first stage of each, then the next of each that has more; results are nobody's."""
    while works:
        works = [work for work in works if next(work, _ENDED) is None]


class Stages:
    """Those who wait for the result of their work."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        """Begin with nobody."""
        self._waiting: deque[Steps[None]] = deque()

    async def run(self, steps: Steps[T]) -> T:
        """Return the result, or raise what the work raises; it is done with that of all who ask by the next turn."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        if not self._waiting:
            loop.call_soon(loop.call_soon, self._work)  # a turn for others to come: each that does makes all cheaper
        self._waiting.append(_answer(steps, result))
        return await result

    def _work(self) -> None:
        waiting = self._waiting
        together([waiting.popleft() for _ in range(min(_AT_ONCE, len(waiting)))])
        if waiting:
            asyncio.get_running_loop().call_soon(self._work)


def _answer(steps: Steps[T], result: asyncio.Future[T]) -> Steps[None]:
    """Do the work for who waits for its result; who has left needs no more."""
    try:
        while not result.done():
            next(steps)
            yield
        steps.close()
    except StopIteration as end:
        result.set_result(end.value)
    except Exception as exc:  # noqa: BLE001 - raised again where the result is waited for
        result.set_exception(exc)
