"""What is different inside TLS: how a body ends, and what is still unsent."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import Mock

import pytest

from gateway.forward.http1 import errors
from gateway.forward.http1.client import Client
from gateway.forward.http1.connection import Connection
from gateway.forward.http1.target import Target, target
from tests.fakes.edge import until
from tests.unit.gateway.forward.http1.scripted import BODY, OK, Serve, listening, whole

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def secured(certificate: str, serve: Serve) -> AsyncIterator[tuple[Target, Client]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    client = Client(ca_file=certificate)
    async with listening(serve, ssl=context, limit=1024) as port:
        yield target(f"https://localhost:{port}/"), client
        client.close()


async def test_authorities_of_ones_own_are_trusted_besides_the_systems(
    certificate: str, other_certificate: str, monkeypatch: pytest.MonkeyPatch
):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(BODY)

    monkeypatch.setenv("SSL_CERT_FILE", other_certificate)
    for told in (certificate, other_certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(told)
        client = Client(ca_file=certificate)
        async with listening(serve, ssl=context) as port:
            assert (await client.post(target(f"https://localhost:{port}/"), {}, b"{}", connect_s=60.0)).status == 200
            client.close()


async def test_a_body_that_ends_with_its_connection(certificate: str):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(OK + b"\r\nhello")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.close()

    async with secured(certificate, serve) as (where, client), asyncio.timeout(60):
        response = await client.post(where, {}, b"{}", connect_s=60.0)
        assert await response.read_some() == b"hello"
        assert await response.read_some() == b""


async def test_a_connection_that_is_lost_without_a_farewell_ends_no_body_well():
    """uvloop tells the two apart, and anybody on the way can close a socket (RFC 9112, 9.8)."""
    loop = asyncio.get_running_loop()
    connection = Connection(loop, (True, "localhost", 443), lambda _: None, lambda _: None)
    connection.connection_made(Mock(spec=asyncio.Transport))
    response = connection.send(b"")
    connection.data_received(OK + b"\r\nhello")
    connection.connection_lost(None)
    assert await response.read_some() == b"hello"
    with pytest.raises(errors.CutShort):
        await response.read_some()


@pytest.mark.parametrize("size", [300_000, 400_000, 500_000])
async def test_a_slow_reader_gets_what_came_before_the_socket_was_closed(certificate: str, size: int):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(size // 20_000):
            writer.write(b"x" * 20_000)
            await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()

    async with secured(certificate, serve) as (where, client), asyncio.timeout(60):
        response = await client.post(where, {}, b"{}", connect_s=60.0)
        await asyncio.sleep(0.1)
        assert len(await whole(response)) == size


async def test_a_request_that_nobody_reads_ends_with_its_call(certificate: str):
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await over.wait()
        writer.transport.abort()

    over = asyncio.Event()
    async with secured(certificate, serve) as (where, client):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.post(where, {}, b"x" * 30_000_000, connect_s=60.0)
        await until(lambda: not client._all)
        over.set()


async def test_an_answer_before_the_request_was_written_ends_the_connection(certificate: str):
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BODY)
        await over.wait()
        writer.transport.abort()

    over = asyncio.Event()

    async with secured(certificate, serve) as (where, client), asyncio.timeout(60):
        for _ in range(2):
            assert await whole(await client.post(where, {}, b"x" * 30_000_000, connect_s=60.0)) == b"ok"
            assert not any(client._idle.values())
        over.set()
    assert connections == 2


async def test_a_connection_opened_ahead_serves_the_first_request(certificate: str):
    shaken: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shaken.append("hands")
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n{}"):
                writer.write(OK + b"Content-Length: 5\r\n\r\nhello")

    async with secured(certificate, serve) as (where, client), asyncio.timeout(60):
        await client.dial(where, connect_s=60.0)
        await client.dial(where, connect_s=60.0)
        assert await whole(await client.post(where, {}, b"{}", connect_s=60.0)) == b"hello"
        await client.dial(where, connect_s=60.0)
        assert shaken == ["hands"]
