"""Which connection a call takes: a kept one, a new one, a new one in place of a dead one, one through a proxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from typing import Any

import pytest

from gateway.forward.http1 import client as client_module
from gateway.forward.http1 import errors
from gateway.forward.http1.client import Client
from gateway.forward.http1.proxies import proxy_of
from gateway.forward.http1.target import target
from tests.unit.gateway.forward.http1.scripted import OK, post, served, whole

pytestmark = pytest.mark.anyio
BODY = OK + b"Content-Length: 2\r\n\r\nok"


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
        await asyncio.sleep(0.1)
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

        server = await asyncio.start_server(early, "127.0.0.1", 0, limit=1024)
        async with server:
            made.port = server.sockets[0].getsockname()[1]
            for _ in range(2):
                assert await whole(await post(made, client, b"x" * 30_000_000)) == b"ok"
            await asyncio.sleep(0.05)
    assert made.connections == 2


async def test_a_kept_connection_that_died_is_replaced_once():
    async with served([BODY], [None], [BODY]) as (made, client):
        assert await whole(await post(made, client)) == b"ok"
        assert await whole(await post(made, client)) == b"ok"
    assert (made.connections, len(made.requests)) == (2, 3)


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
    monkeypatch.setattr(client_module, "KEEP_ALIVE_S", 0.05)
    async with served([BODY]) as (made, client):
        await whole(await post(made, client))
        await asyncio.sleep(0.2)
        await whole(await post(made, client))
    assert made.connections == 2


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


async def test_closing_ends_what_is_under_way():
    async with served([5.0]) as (made, client):
        task = asyncio.create_task(post(made, client))
        await asyncio.sleep(0.05)
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
        await client.post(target(f"http://127.0.0.1:{closed_port()}/"), {}, b"", connect_s=2.0)


async def test_a_name_without_an_address():
    client = Client()
    with pytest.raises(errors.NameNotResolved):
        await client.post(target("http://nothing-of-this-name.invalid/"), {}, b"", connect_s=20.0)


async def test_a_name_is_asked_for_once_by_all_and_remembered(monkeypatch: pytest.MonkeyPatch):
    async with served([BODY]) as (made, client):
        loop, asked = asyncio.get_running_loop(), []

        async def getaddrinfo(host: str, port: int, **_: Any) -> Any:
            asked.append(host)
            await asyncio.sleep(0.02)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        where = target(f"http://provider.test:{made.port}/")
        async with asyncio.timeout(5):
            with pytest.raises(errors.ConnectTimeout):
                await client.post(where, {}, b"{}", connect_s=0.005)  # its giving up is no other's
            found = await asyncio.gather(*(client.post(where, {}, b"{}", connect_s=2.0) for _ in range(4)))
            await client.post(where, {}, b"{}", connect_s=2.0)
    assert len(found) == 4
    assert asked == ["provider.test"]


async def test_the_second_address_is_tried(monkeypatch: pytest.MonkeyPatch):
    async with served([BODY]) as (made, client):

        async def getaddrinfo(host: str, port: int, **_: Any) -> Any:
            dead = ("127.0.0.2", port)  # nobody listens there
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in (dead, ("127.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        response = await client.post(target(f"http://provider.test:{made.port}/"), {}, b"{}", connect_s=2.0)
        assert await whole(response) == b"ok"


@pytest.mark.parametrize("text", ["ftp://a/", "http://", "https://a:x/", "a/b", "", "http://[::1/", "http://a:99999/"])
def test_what_is_no_address(text: str):
    with pytest.raises(errors.InvalidAddress):
        target(text)


@pytest.mark.parametrize(
    ("text", "origin", "path", "host"),
    [
        ("https://API.Example.com/v1/x", (True, "api.example.com", 443), "/v1/x", "api.example.com"),
        ("http://a:8080", (False, "a", 8080), "/", "a:8080"),
        ("https://[::1]:444/x%2Fy?q=a%20b&c=ü", (True, "::1", 444), "/x%2Fy?q=a%20b&c=%C3%BC", "[::1]:444"),
        ("http://bücher.example:80/a b", (False, "xn--bcher-kva.example", 80), "/a%20b", "xn--bcher-kva.example"),
        ("http://my_host/m:generate?alt=sse", (False, "my_host", 80), "/m:generate?alt=sse", "my_host"),
    ],
)
def test_an_address_and_its_parts(text: str, origin: tuple[bool, str, int], path: str, host: str):
    found = target(text)
    assert (found.origin, found.path, found.host, str(found)) == (origin, path, host, text)


def environment(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    environment(monkeypatch, HTTPS_PROXY="http://user:p%40ss@proxy:3128", NO_PROXY="inner.test,127.0.0.1")
    found = proxy_of((True, "api.test", 443))
    assert found is not None
    assert (found.host, found.port) == ("proxy", 3128)
    assert found.authorization == "Basic " + base64.b64encode(b"user:p@ss").decode()
    assert "p@ss" not in repr(found)
    assert found.authorization not in repr(found)
    assert proxy_of((False, "api.test", 80)) is None
    assert proxy_of((True, "inner.test", 443)) is None
    assert proxy_of((True, "127.0.0.1", 443)) is None
    environment(monkeypatch, ALL_PROXY="proxy:8080")
    assert proxy_of((False, "api.test", 80)) == proxy_of((True, "api.test", 443))
    for bad in ("socks5://proxy:1080", "https://proxy:443", "http://"):
        environment(monkeypatch, HTTP_PROXY=bad)
        with pytest.raises(errors.ProxyRefused):
            proxy_of((False, "api.test", 80))


async def test_plain_calls_ask_the_proxy_for_the_others_resource(monkeypatch: pytest.MonkeyPatch):
    async with served([BODY]) as (made, _):
        environment(monkeypatch, HTTP_PROXY=f"http://u:p@127.0.0.1:{made.port}")
        client = Client(trust_env=True)
        assert await whole(await client.post(target("http://api.test/v1/x"), {}, b"{}", connect_s=2.0)) == b"ok"
        client.close()
    assert made.requests[0].startswith(b"POST http://api.test/v1/x HTTP/1.1\r\n")
    assert b"Host: api.test\r\n" in made.requests[0]
    assert b"Proxy-Authorization: Basic " in made.requests[0]


@pytest.mark.parametrize(
    "word", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n\r\nx"]
)
async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch, word: bytes):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(word)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        environment(monkeypatch, HTTPS_PROXY=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        client = Client(trust_env=True)
        with pytest.raises(errors.ProxyRefused):
            await client.post(target("https://api.test/v1/x"), {}, b"{}", connect_s=2.0)
        await asyncio.sleep(0.02)
