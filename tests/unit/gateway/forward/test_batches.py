"""Events travel in the batches their bytes came in: nothing waits for more, and nothing good is lost to what follows."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.forward.streams import OpenStream, RelayDecoder
from gateway.forward.transport import Transport
from router_core.errors import AttemptFailed
from router_core.outcome import FailureKind

pytestmark = pytest.mark.anyio


class Response:
    """An answer that comes in given reads: as much of one as a stream needs."""

    status = 200
    ended = False

    def __init__(self, reads: list[bytes]) -> None:
        self.headers: dict[str, str] = {}
        self.closed = False
        self._reads = [*reads, b""]

    async def read_some(self) -> bytes:
        return self._reads.pop(0)

    def abort(self) -> None:
        self.closed = True


def opened(*reads: bytes) -> tuple[OpenStream, Response]:
    response: Any = Response(list(reads))
    return OpenStream(Transport(), response, RelayDecoder(), event_bytes=1000), response


async def test_what_one_read_brought_is_one_batch():
    stream, _ = opened(
        b'data: {"choices":1}\n\n',
        b'data: {"choices":2}\n\ndata: {"choices":3}\n\n',
        b": alive\n\n",
        b"data: [DONE]\n\n",
    )
    batches = [[event.chunk or event.done or event.comment for event in batch] async for batch in stream.batches()]
    assert batches == [[{"choices": 1}], [{"choices": 2}, {"choices": 3}], [True], [True]]


async def test_an_event_in_two_reads_belongs_to_the_second():
    stream, _ = opened(b'data: {"choices":1}\n\ndata: {"choices"', b":2}\n\n")
    assert [len(batch) async for batch in stream.batches()] == [1, 1]


async def test_what_came_before_a_broken_event_is_told_before_it_is():
    stream, response = opened(
        b'data: {"choices":1}\n\ndata: {"error":{"message":"out of memory"}}\n\ndata: {"choices":2}\n\n'
    )
    batches = stream.batches()
    assert [event.chunk for event in await anext(batches)] == [{"choices": 1}]
    with pytest.raises(AttemptFailed):
        await anext(batches)
    assert response.closed


async def test_a_stream_without_events_is_a_failure():
    stream, _ = opened(b": only\n\n", b": signs of life\n\n")
    batches = stream.batches()
    assert [event.comment for event in await anext(batches)] == [True]
    await anext(batches)
    with pytest.raises(AttemptFailed) as caught:
        await anext(batches)
    assert caught.value.failure.kind is FailureKind.PROTOCOL


async def test_one_by_one_is_the_same_events():
    reads = (b'data: {"choices":1}\n\ndata: {"choices":2}\n\n', b"data: [DONE]\n\n")
    stream, _ = opened(*reads)
    whole, _ = opened(*reads)
    assert [event async for event in stream] == [event async for batch in whole.batches() for event in batch]
