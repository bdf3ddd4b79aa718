"""``asyncio.timeout`` for what every request does: the same rules, a third of the cost."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self


class TimeLimit:
    """Ends the current task's wait after ``seconds`` (above 0): the block then raises ``TimeoutError``.

    As in ``asyncio.timeout``, the task is cancelled when the time is up, and that cancellation is taken back at the
    block's end. It becomes a ``TimeoutError`` only there, and only if nobody else has asked for a cancellation
    meanwhile: theirs goes on. A block that ends in another way all the same keeps its result or its error.
    """

    __slots__ = ("_cancelling", "_expired", "_seconds", "_task", "_timer")

    _task: asyncio.Task[Any]
    _timer: asyncio.TimerHandle
    _cancelling: int

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> Self:
        """Begin to count; raises RuntimeError outside of a task."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            msg = "only a task's wait can be limited"
            raise RuntimeError(msg)
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = loop.call_later(self._seconds, self._expire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop counting."""
        self._timer.cancel()
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
