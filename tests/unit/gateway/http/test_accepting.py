"""Clients that come at once are taken at once, on the loop of production and on the standard library's."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.http.accepting import Acceptor

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


class Listener(socket.socket):
    """A listening socket that may fail to take a connection."""

    faults: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.faults:
            fault = self.faults.pop(0)
            raise OSError(fault, "as told")
        return super().accept()


class Hello(asyncio.Protocol):
    """Greets, and counts how many were greeted."""

    made: list[asyncio.Transport]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.made.append(transport)  # type: ignore[arg-type]
        transport.write(b"hello")  # type: ignore[attr-defined]


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    made.faults = []
    made.bind(("127.0.0.1", 0))
    with made:
        yield made


@pytest.fixture
def greeted() -> list[asyncio.Transport]:
    Hello.made = []
    return Hello.made


def connect(listener: Listener, count: int) -> list[socket.socket]:
    """The kernel answers these without anybody's taking them."""
    return [socket.create_connection(listener.getsockname(), timeout=30) for _ in range(count)]


async def greetings(clients: list[socket.socket]) -> list[bytes]:
    heard = await asyncio.gather(*(asyncio.to_thread(client.recv, 5) for client in clients))
    for client in clients:
        client.close()
    return heard


async def test_a_hundred_clients_are_taken_in_a_few_turns(listener: Listener, greeted: list[asyncio.Transport]) -> None:
    acceptor = Acceptor(listener, Hello, 256)
    clients = connect(listener, 100)
    turns = 0
    while len(greeted) < 100:
        await asyncio.sleep(0)
        turns += 1
        assert turns < 50  # one in each turn would be a hundred
    assert await greetings(clients) == [b"hello"] * 100
    acceptor.close()
    await acceptor.wait_closed()


async def test_without_descriptors_it_pauses_and_goes_on(
    listener: Listener, greeted: list[asyncio.Transport], caplog: pytest.LogCaptureFixture
) -> None:
    listener.faults = [errno.EMFILE, errno.ECONNABORTED, errno.EINTR]
    with caplog.at_level(logging.ERROR, "gateway.http"):
        acceptor = Acceptor(listener, Hello, 16)
        assert await greetings(connect(listener, 3)) == [b"hello"] * 3
    assert len(caplog.records) == 1
    assert listener.faults == []
    acceptor.close()
    await acceptor.wait_closed()


async def test_a_client_that_is_gone_again_harms_nobody(listener: Listener, greeted: list[asyncio.Transport]) -> None:
    acceptor = Acceptor(listener, Hello, 16)
    for client in connect(listener, 5):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing resets
        client.close()
    assert await greetings(connect(listener, 1)) == [b"hello"]
    acceptor.close()
    await acceptor.wait_closed()


@pytest.mark.parametrize("paused", [False, True])
async def test_once_closed_it_takes_nobody(
    listener: Listener, greeted: list[asyncio.Transport], paused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.http.accepting._PAUSE_S", 0.01)
    listener.faults = [errno.EMFILE] * paused
    acceptor = Acceptor(listener, Hello, 16)
    (client,) = connect(listener, 1) if paused else [socket.socket()]
    while listener.faults:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)
    acceptor.close()
    if not paused:
        client.connect(listener.getsockname())
    await asyncio.sleep(0.05)
    assert greeted == []
    client.close()
