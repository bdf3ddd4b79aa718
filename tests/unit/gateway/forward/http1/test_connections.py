"""Which connection a call takes: a kept one, a new one, a new one in place of a dead one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from gateway.forward.http1 import client as client_module
from gateway.forward.http1 import connection as connection_module
from gateway.forward.http1 import errors
from gateway.forward.http1.client import Client
from gateway.forward.http1.target import target
from tests.fakes.edge import until
from tests.unit.gateway.forward.http1.scripted import BODY, OK, Server, listening, post, served, whole

pytestmark = pytest.mark.anyio


async def test_a_connection_is_kept_for_the_next_call():
    async with served([BODY]) as (made, client):
        for _ in range(5):
            assert await whole(await post(made, client)) == b"ok"
    assert made.connections == 1


async def test_calls_at_the_same_time_have_connections_of_their_own():
    async with served([0.05, BODY]) as (made, client):
        found = await asyncio.gather(*(post(made, client) for _ in range(5)))
        assert [await whole(each) for each in found] == [b"ok"] * 5
    assert made.connections == 5


@pytest.mark.parametrize(
    "reply",
    [
        [OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok"],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"],
        [OK + b"\r\nok", None],
        [BODY + b"HTTP/1.1 200 OK\r\n"],
    ],
)
async def test_a_connection_that_cannot_be_trusted_again_is_closed(reply: list[Any]):
    async with served(reply) as (made, client):
        for _ in range(2):
            assert await whole(await post(made, client)) == b"ok"
    assert made.connections == 2


async def test_bytes_that_nobody_asked_for_close_a_kept_connection():
    async with served([BODY, 0.02, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"], [BODY]) as (made, client):
        assert await whole(await post(made, client)) == b"ok"
        await until(lambda: not client._all)
        assert await whole(await post(made, client)) == b"ok"
    assert made.connections == 2


async def test_an_answer_that_comes_before_the_request_was_written_ends_the_connection():
    async with served([BODY]) as (made, client):

        async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made.connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(BODY)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        async with listening(early, limit=1024) as made.port:
            for _ in range(2):
                assert await whole(await post(made, client, b"x" * 30_000_000)) == b"ok"
    assert made.connections == 2


async def test_an_end_is_heard_while_a_request_is_still_written():
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\n\r\nno")
        writer.write_eof()
        await over.wait()  # and reads no more
        writer.transport.abort()

    over = asyncio.Event()
    async with listening(early, limit=1024) as port, asyncio.timeout(60):
        made, client = Server([], port=port), Client()
        response = await post(made, client, b"x" * 30_000_000)
        assert (response.status, await whole(response)) == (413, b"no")
        client.close()
        over.set()


async def test_the_rest_of_an_answer_is_thrown_away_and_its_connection_kept():
    pieces = [OK + b"Content-Length: 900000\r\n\r\n" + b"x" * 400_000, 0.1, b"x" * 500_000]
    async with served(pieces, [BODY]) as (made, client):  # type: ignore[arg-type]
        response = await post(made, client)
        await until(lambda: response.full)
        response.discard(700_000)  # its reader had fallen behind
        await until(lambda: response.ended)
        assert await whole(await post(made, client)) == b"ok"
        response.abort()
        assert await whole(await post(made, client)) == b"ok"
    assert made.connections == 1


async def test_a_kept_connection_that_died_is_replaced_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_module, "STALE_WITHIN_S", 60.0)
    async with served([BODY], [None], [BODY]) as (made, client):
        assert await whole(await post(made, client)) == b"ok"
        assert await whole(await post(made, client)) == b"ok"
    assert (made.connections, len(made.requests)) == (2, 3)


IDLE_TOO_LONG = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n"


async def test_a_kept_connection_that_was_idle_for_too_long_is_replaced(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_module, "STALE_WITHIN_S", 60.0)
    async with served([BODY], [IDLE_TOO_LONG + b"Connection: close\r\n\r\n", None], [BODY]) as (made, client):
        for _ in range(2):
            response = await post(made, client)
            assert (response.status, await whole(response)) == (200, b"ok")
    assert (made.connections, len(made.requests)) == (2, 3)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_time_out_of_the_providers_own_is_an_answer(kept: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_module, "STALE_WITHIN_S", 60.0)
    ending = b"\r\n" if kept else b"Connection: close\r\n\r\n"  # a new connection cannot have been idle
    replies: list[Any] = [[BODY], [IDLE_TOO_LONG + ending]]
    async with served(*replies[not kept :], [BODY]) as (made, client):
        if kept:
            await whole(await post(made, client))
        assert (await post(made, client)).status == 408
    assert len(made.requests) == 1 + kept


async def test_a_new_connection_that_dies_is_not_replaced():
    async with served([None], [BODY]) as (made, client):
        with pytest.raises(errors.Disconnected):
            await post(made, client)
    assert len(made.requests) == 1


async def test_a_request_that_was_perhaps_read_is_not_sent_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_module, "STALE_WITHIN_S", 0.05)
    for second in ([b"HTTP/1.1 2", None], [0.2, None]):
        async with served([BODY], second, [BODY]) as (made, client):
            await whole(await post(made, client))
            with pytest.raises(errors.Disconnected):
                await post(made, client)
        assert len(made.requests) == 2


async def test_what_is_idle_for_long_is_closed(monkeypatch: pytest.MonkeyPatch):
    for module in (client_module, connection_module):
        monkeypatch.setattr(module, "KEEP_S", 0.05)
    async with served([BODY]) as (made, client):
        await whole(await post(made, client))
        await asyncio.sleep(0.2)
        await whole(await post(made, client))
    assert made.connections == 2


@pytest.mark.parametrize(
    ("said", "connections"), [(b"timeout=1", 2), (b"max=9, Timeout = 0", 2), (b"timeout=5, max=99", 1), (b"x", 1)]
)
async def test_a_connection_is_kept_no_longer_than_the_provider_keeps_it(said: bytes, connections: int):
    reply = OK + b"Keep-Alive: " + said + b"\r\nContent-Length: 2\r\n\r\nok"
    async with served([reply]) as (made, client):
        for _ in range(2):
            assert await whole(await post(made, client)) == b"ok"
    assert made.connections == connections


async def test_a_call_that_is_cancelled_closes_its_own_connection_only():
    async with served([BODY], [5.0]) as (made, client):
        await whole(await post(made, client))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await post(made, client)
        made.replies.append([BODY])
        assert await whole(await post(made, client)) == b"ok"
    assert made.connections == 2


async def test_a_cancel_in_the_moment_of_the_answer_leaves_the_kept_connection_alone():
    async with served([BODY]) as (made, client):
        loop = asyncio.get_running_loop()
        for _ in range(20):
            task = loop.create_task(post(made, client))
            for _ in range(10_000):
                await asyncio.sleep(0)
                if any(client._idle.values()):
                    break
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await whole(await post(made, client)) == b"ok"


async def test_closing_in_the_middle_of_a_body_that_ends_with_its_connection_is_no_end():
    async with served([OK + b"\r\nhel", 5.0]) as (made, client):
        response = await post(made, client)
        assert await response.read_some() == b"hel"
        client.close()
        with pytest.raises(errors.CutShort):
            await response.read_some()


async def test_closing_does_not_dial_again():
    async with served([BODY], [5.0]) as (made, client):
        await whole(await post(made, client))
        task = asyncio.create_task(post(made, client))
        await until(lambda: len(made.requests) == 2)
        client.close()
        with pytest.raises(errors.Disconnected):
            await task
        with pytest.raises(errors.CannotConnect):
            await post(made, client)
    assert len(made.requests) == 2


async def test_closing_ends_what_is_under_way():
    async with served([5.0]) as (made, client):
        task = asyncio.create_task(post(made, client))
        await until(lambda: made.requests)
        client.close()
        with pytest.raises(errors.Disconnected):
            await task


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_nobody_listens():
    client = Client()
    with pytest.raises(errors.CannotConnect):
        await client.post(target(f"http://127.0.0.1:{closed_port()}/"), {}, b"", connect_s=60.0)
