"""An answer's head travels with what follows it, and alone when nothing follows at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from gateway.http.joined import JoinedTransport

pytestmark = pytest.mark.anyio


class Line(asyncio.Transport):
    """Keeps what was written, by system call."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.ended = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.sent.append(b"".join(list_of_data))

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def is_closing(self) -> bool:
        return bool(self.ended)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": ("127.0.0.1", 9)}.get(name, default)


def joined() -> tuple[Line, JoinedTransport]:
    line = Line()
    return line, JoinedTransport(line, asyncio.get_running_loop())


async def test_the_head_waits_for_the_body_and_nothing_else_waits():
    line, transport = joined()
    transport.write(b"before")
    transport.expect()
    transport.write(b"head ")
    assert line.sent == [b"before"]
    transport.write(b"body")
    transport.write(b"more")
    assert line.sent == [b"before", b"head body", b"more"]
    await asyncio.sleep(0)
    assert line.sent == [b"before", b"head body", b"more"]


async def test_a_head_alone_waits_for_one_turn():
    line, transport = joined()
    transport.expect()
    transport.write(b"head")
    await asyncio.sleep(0)
    assert line.sent == [b"head"]
    transport.write(b"event")
    assert line.sent == [b"head", b"event"]


async def test_every_answer_of_a_connection_is_joined():
    line, transport = joined()
    for number in (b"1", b"2"):
        transport.expect()
        transport.write(b"head" + number)
        transport.write(b"body" + number)
    assert line.sent == [b"head1body1", b"head2body2"]


async def test_closing_sends_what_is_held_and_aborting_does_not():
    for end, sent in (("close", [b"head"]), ("abort", [])):
        line, transport = joined()
        transport.expect()
        transport.write(b"head")
        getattr(transport, end)()
        await asyncio.sleep(0)
        assert (line.sent, bool(line.ended)) == (sent, True)


async def test_a_connection_that_was_lost_is_written_nothing():
    line, transport = joined()
    transport.expect()
    transport.write(b"head")
    line.ended = "by the client"
    await asyncio.sleep(0)
    assert line.sent == []
    assert transport.is_closing()


async def test_all_else_is_asked_of_the_transport():
    _, transport = joined()
    assert transport.get_extra_info("peername") == ("127.0.0.1", 9)
