"""Calls through an outgoing proxy: which one, what it is asked, and what it may answer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.forward.http1 import errors
from gateway.forward.http1.client import Client
from gateway.forward.http1.proxies import proxy_of
from gateway.forward.http1.target import target
from tests.unit.gateway.forward.http1.scripted import BODY, Server, let_go, listening, served, whole

pytestmark = pytest.mark.anyio


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
        assert await whole(await client.post(target("http://api.test/v1/x"), {}, b"{}", connect_s=60.0)) == b"ok"
        client.close()
    assert made.requests[0].startswith(b"POST http://api.test/v1/x HTTP/1.1\r\n")
    assert b"Host: api.test\r\n" in made.requests[0]
    assert b"Proxy-Authorization: Basic " in made.requests[0]


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", errors.ProxyRefused),
        (b"", errors.ProxyRefused),
        (b"HTTP/1.1 200 OK\r\n\r\nx", errors.ProxyRefused),
        (b"HTTP/1.1 2000 OK\r\n\r\n", errors.ProxyRefused),
        (b"HTTP/1.1 200 OK\r\n\r\n", errors.TlsFailed),
    ],
)
async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch, word: bytes, fault: type[Exception]):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(word)
        writer.close()

    async with listening(serve) as port:
        environment(monkeypatch, HTTPS_PROXY=f"http://127.0.0.1:{port}")
        client = Client(trust_env=True)
        with pytest.raises(fault):
            await client.post(target("https://api.test/v1/x"), {}, b"{}", connect_s=60.0)


@asynccontextmanager
async def tunnels(certificate: str, agrees: bytes) -> AsyncIterator[tuple[Server, list[bytes], int]]:
    """A provider that speaks TLS, what its proxy was asked, and the proxy's port."""
    asked: list[bytes] = []
    pumps: set[asyncio.Task[None]] = set()
    onward: list[asyncio.StreamWriter] = []

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        there = await asyncio.open_connection("127.0.0.1", made.port)
        onward.append(there[1])
        writer.write(agrees)
        pumps.update(map(asyncio.create_task, (pump(reader, there[1]), pump(there[0], writer))))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with served([BODY], tls=context) as (made, _), listening(serve) as port:
        yield made, asked, port
        await let_go(pumps, onward)


@pytest.mark.parametrize("agrees", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200\r\nVia: x\r\n\r\n"])
async def test_tls_is_spoken_inside_a_tunnel_that_is_kept(
    monkeypatch: pytest.MonkeyPatch, certificate: str, agrees: bytes
):
    async with tunnels(certificate, agrees) as (made, asked, port):
        environment(monkeypatch, HTTPS_PROXY=f"http://u:p@127.0.0.1:{port}")
        client, wary = Client(trust_env=True, ca_file=certificate), Client(trust_env=True)
        where = target(f"https://localhost:{made.port}/v1/x")
        for _ in range(3):
            assert await whole(await client.post(where, {}, b"x" * 500_000, connect_s=60.0)) == b"ok"
        with pytest.raises(errors.TlsFailed):
            await wary.post(where, {}, b"{}", connect_s=60.0)
        client.close()
        wary.close()
    assert asked[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\nHost: localhost:%d\r\n" % (made.port, made.port))
    assert b"Proxy-Authorization: Basic " in asked[0]
    assert len(asked) == 2
    assert made.requests[0].startswith(b"POST /v1/x HTTP/1.1\r\n")
    assert b"Proxy-Authorization" not in made.requests[0]
