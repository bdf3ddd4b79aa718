"""Whole bodies that come in pieces, stop in the middle, or are too large."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.forward.http1.errors import CutShort, Malformed
from gateway.forward.transport import Transport
from router_core.errors import AttemptFailed
from router_core.outcome import FailureKind

pytestmark = pytest.mark.anyio


class Response:
    """An answer that comes in given reads; a number is a wait before the next one, an exception is raised."""

    status = 200
    closed = False

    def __init__(self, *steps: bytes | float | Exception) -> None:
        self.steps = list(steps)

    @property
    def ready(self) -> bool:
        return not self.steps or isinstance(self.steps[0], bytes)

    async def read_some(self) -> bytes:
        while self.steps:
            step = self.steps.pop(0)
            if isinstance(step, bytes):
                return step
            if isinstance(step, Exception):
                raise step
            await asyncio.sleep(step)
        return b""

    def abort(self) -> None:
        self.closed = True


async def read(response: Any, limit: int = 1000, **more: Any) -> bytes:
    return await Transport().read(response, limit, **more)


@pytest.mark.parametrize("stall_s", [None, 5.0])
async def test_pieces_are_joined(stall_s: float | None):
    assert await read(Response(b'{"a"', b": 1", 0.01, b"}"), stall_s=stall_s) == b'{"a": 1}'
    assert await read(Response(b"b", b"c"), first=b"a", stall_s=stall_s) == b"abc"
    assert await read(Response(), stall_s=stall_s) == b""


async def test_an_answer_that_stops_in_the_middle_is_not_waited_for():
    response = Response(b'{"a"', 30.0, b": 1}")
    with pytest.raises(AttemptFailed) as caught:
        await read(response, stall_s=0.05)
    assert caught.value.failure.kind is FailureKind.TIMEOUT
    assert response.closed
    with pytest.raises(AttemptFailed):
        await read(Response(30.0, b"}"), first=b"{", stall_s=0.05)


async def test_blank_lines_are_no_beginning():
    assert await read(Response(b"\n", 0.1, b"\n", 0.1, b"{}"), stall_s=0.05) == b"\n\n{}"


async def test_every_piece_starts_the_wait_anew():
    assert await read(Response(*(step for _ in range(8) for step in (b"x", 0.3))), stall_s=2.0) == b"x" * 8


async def test_a_body_over_the_limit_is_refused():
    response = Response(b"x" * 60, b"x" * 60)
    with pytest.raises(AttemptFailed) as caught:
        await read(response, 100, stall_s=1.0)
    assert caught.value.failure.kind is FailureKind.PROTOCOL
    assert response.closed


@pytest.mark.parametrize(
    ("steps", "comes"),
    [
        ((b"ab", b"cd"), b"abcd"),
        ((b"x" * 60, b"x" * 60, b"x" * 60), b"x" * 100),
        ((b"ab", CutShort()), b"ab"),
        ((Malformed(),), b""),
        ((b"ab", 30.0, b"cd"), b"ab"),
        ((30.0,), b""),
    ],
    ids=["whole", "too large", "cut", "not HTTP", "silent in the middle", "silent"],
)
async def test_what_only_explains_a_status_is_read_as_far_as_it_comes(steps: tuple[Any, ...], comes: bytes):
    response: Any = Response(*steps)
    async with asyncio.timeout(20):
        assert await Transport().read_what_comes(response, 100, within_s=0.1) == comes
    assert response.closed


async def test_a_reader_of_an_explanation_can_be_cancelled():
    response: Any = Response(b"{", 30.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await Transport().read_what_comes(response, 100, within_s=60.0)
    assert response.closed


async def test_a_reader_that_is_cancelled_closes_the_socket():
    response = Response(b"{", 30.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await read(response)
    assert response.closed
