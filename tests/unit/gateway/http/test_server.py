"""The guarded protocol over real sockets: bounds on heads, lingering bodies and readers that stall."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest
import uvicorn

from gateway.disconnect import WHOLE
from gateway.http.server import GuardedProtocol, guarded
from router_core.policy import InputLimits

pytestmark = pytest.mark.anyio

LIMITS = InputLimits(header_bytes=512, header_timeout_s=60.0)
HASTY = InputLimits(header_bytes=512, header_timeout_s=1.0)
"""For tests of just that."""


class Application:
    """Answers by path: ``/refuse`` at once, ``/read`` after the body, ``/flood`` with more than anybody reads."""

    def __init__(self) -> None:
        self.flooded = 0
        self.ended = asyncio.Event()
        self.bodies: list[bytes] = []
        self.whole: list[bool] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.whole.append(WHOLE in scope["extensions"])
        if scope["path"] == "/flood":
            await self._flood(send)
            return
        if scope["path"] == "/read":
            body, more = b"", True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def _flood(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with contextlib.suppress(asyncio.CancelledError):
            for _ in range(2000):
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
                self.flooded += 65536
        self.ended.set()


@contextlib.asynccontextmanager
async def served(protocol: type[GuardedProtocol]) -> AsyncIterator[tuple[Application, int]]:
    application = Application()
    config = uvicorn.Config(
        application, http=protocol, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        try:
            yield application, listener.getsockname()[1]
        finally:
            await server.shutdown(sockets=[listener])


def bounded(limits: InputLimits = LIMITS, **attributes: Any) -> type[GuardedProtocol]:
    return type("Bounded", (guarded(lambda: limits),), attributes)


async def talk(port: int, *parts: bytes, pause_s: float = 0.05) -> bytes:
    """Send parts and return what comes until the end; the end must come, be it a reset for what nobody reads."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = bytearray()

    async def listen() -> None:
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                found.extend(part)

    try:
        async with asyncio.timeout(60):
            reading = asyncio.create_task(listen())
            for part in parts:
                writer.write(part)
                await asyncio.sleep(pause_s)
            await reading
    finally:
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return bytes(found)


def get(path: str, padding: int = 0, close: bool = True) -> bytes:
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n" + ("Connection: close\r\n" if close else "")
    more = f"X-Padding: {'x' * (padding - len(head) - 15)}\r\n" if padding else ""
    return f"{head}{more}\r\n".encode()


@pytest.mark.parametrize("size", [100, 510, 512])
async def test_a_head_up_to_the_limit_is_read(size: int):
    async with served(bounded()) as (_, port):
        raw = get("/refuse", padding=size)
        assert len(raw) == size
        assert (await talk(port, raw)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("cut", [1, 100, 511, 512, 513])
async def test_a_longer_head_is_refused_wherever_it_is_cut(cut: int):
    async with served(bounded()) as (application, port):
        raw = get("/read", padding=600)
        answer = await talk(port, raw[:cut], raw[cut:])
        assert answer.startswith(b"HTTP/1.1 431 "), answer
        assert answer.count(b"HTTP/1.1") == 1
        assert application.bodies == []


@pytest.mark.parametrize("cut", [1, 50, 90, 200, 511, 512, 513, 2000])
async def test_a_large_body_is_no_large_head_wherever_it_is_cut(cut: int):
    async with served(bounded()) as (application, port):
        raw = (
            b"POST /read HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4000\r\n\r\n" + b"y" * 4000
        )
        assert (await talk(port, raw[:cut], raw[cut:])).startswith(b"HTTP/1.1 200 ")
        assert application.bodies == [b"y" * 4000]


async def test_each_head_of_a_connection_has_the_whole_limit():
    async with served(bounded()) as (_, port):
        first = get("/refuse", padding=400, close=False)
        answer = await talk(port, first, first + first, get("/refuse", padding=400))
        assert answer.count(b"HTTP/1.1 200 ") == 4


async def test_a_request_knows_whether_it_has_come_whole():
    head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
    closing = b"Connection: close\r\n\r\n"
    async with served(bounded()) as (application, port):
        await talk(port, head + b"\r\n" + b"body", head + b"\r\n", b"body", head + closing + b"bo", b"dy")
        await talk(port, head + b"\r\nbody" + head + closing + b"bo", b"dy")
    assert application.bodies == [b"body"] * 5
    assert application.whole == [True, False, False, True, application.whole[4]]  # the last one may wait for its turn


async def test_a_silent_client_is_cut_off_and_a_kept_connection_is_not():
    async with served(bounded(HASTY)) as (_, port):
        assert await talk(port) == b""
        answer = await talk(port, get("/refuse", close=False), b"", get("/refuse"), pause_s=0.6)
        assert answer.count(b"HTTP/1.1 200 ") == 2


async def test_a_half_head_is_cut_off():
    async with served(bounded(HASTY)) as (_, port):
        assert await talk(port, b"GET / HT", b"TP/1.1\r\n", pause_s=0.05) == b""


async def test_a_body_after_its_answer_is_thrown_away_for_a_moment_only():
    async with served(bounded(linger_s=0.3)) as (_, port):
        head = b"POST /refuse HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await talk(port, head, *[b"1\r\na\r\n"] * 20, pause_s=0.03)
        assert answer.count(b"HTTP/1.1 200 ") == 1


async def test_a_connection_whose_body_comes_to_its_end_lives_on():
    async with served(bounded(linger_s=1.5)) as (_, port):
        head = b"POST /refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
        answer = await talk(port, head, b"abcd", b"", b"", b"", b"", get("/refuse"), pause_s=0.3)
        assert answer.count(b"HTTP/1.1 200 ") == 2


async def test_a_reader_that_stalls_is_cut_off_and_its_work_ends():
    async with served(bounded(stall_s=0.3)) as (application, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(get("/flood"))
        await reader.readexactly(10)
        async with asyncio.timeout(60):
            await application.ended.wait()  # the answer's rest goes nowhere, at once
        with contextlib.suppress(ConnectionError):
            await reader.read(-1)
        writer.close()


async def test_a_slow_reader_is_waited_for():
    async with served(bounded(stall_s=60.0)) as (application, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/flood"))
        await reader.readexactly(10)
        await asyncio.sleep(0.3)
        assert application.flooded < 2000 * 65536
        async with asyncio.timeout(60):
            while await reader.read(1 << 20):
                pass
        writer.close()


async def test_what_is_no_http_is_told_so():
    async with served(bounded()) as (_, port):
        answer = await talk(port, b"\x16\x03\x01\x00\x05hello")
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b'"code":"invalid_http"' in answer
        assert b"connection: close" in answer


def test_the_limits_are_asked_for_each_connection():
    asked: list[int] = []

    def limits() -> InputLimits:
        asked.append(1)
        return LIMITS

    protocol = guarded(limits)
    assert asked == []
    assert protocol.limits() is LIMITS
