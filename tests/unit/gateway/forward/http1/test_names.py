"""Where a call goes: addresses as they are written, and names that are resolved."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from gateway.forward.http1 import errors
from gateway.forward.http1.client import Client
from gateway.forward.http1.dial import Dialer
from gateway.forward.http1.target import target
from tests.unit.gateway.forward.http1.scripted import BODY, served, whole

pytestmark = pytest.mark.anyio


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let provider.test have these addresses; return the list of the names that are asked for from now on."""
    asked: list[str] = []
    loops = type(asyncio.get_running_loop())
    real = loops.getaddrinfo

    async def getaddrinfo(loop: Any, host: str, port: int, **more: Any) -> Any:
        if host != "provider.test":
            return await real(loop, host, port, **more)  # uvloop asks for each address again
        asked.append(host)
        await asyncio.sleep(0.02)
        kinds = [(socket.AF_INET6 if ":" in each else socket.AF_INET, each) for each in addresses]
        return [(family, socket.SOCK_STREAM, 6, "", (each, port)) for family, each in kinds]

    monkeypatch.setattr(loops, "getaddrinfo", getaddrinfo)
    return asked


async def test_a_name_without_an_address():
    client = Client()
    with pytest.raises(errors.NameNotResolved):
        await client.post(target("http://nothing-of-this-name.invalid/"), {}, b"", connect_s=90.0)


async def test_a_name_is_asked_for_once_by_all_and_remembered(monkeypatch: pytest.MonkeyPatch):
    async with served([BODY]) as (made, client):
        asked = resolving(monkeypatch, "127.0.0.1")
        where = target(f"http://provider.test:{made.port}/")
        async with asyncio.timeout(90):
            with pytest.raises(errors.ConnectTimeout):
                await client.post(where, {}, b"{}", connect_s=0.005)  # its giving up is no other's
            found = await asyncio.gather(*(client.post(where, {}, b"{}", connect_s=60.0) for _ in range(4)))
            await client.post(where, {}, b"{}", connect_s=60.0)
    assert len(found) == 4
    assert asked == ["provider.test"]


async def test_the_second_address_is_tried(monkeypatch: pytest.MonkeyPatch):
    async with served([BODY]) as (made, client):
        resolving(monkeypatch, "127.0.0.2", "127.0.0.1")  # nobody listens on the first
        response = await client.post(target(f"http://provider.test:{made.port}/"), {}, b"{}", connect_s=60.0)
        assert await whole(response) == b"ok"


async def test_an_address_that_is_silent_does_not_stop_the_next(monkeypatch: pytest.MonkeyPatch):
    async with served([BODY]) as (made, client):
        resolving(monkeypatch, "127.0.0.2", "127.0.0.1")
        with socket.socket() as silent, contextlib.ExitStack() as full:
            silent.bind(("127.0.0.2", made.port))
            silent.listen(0)
            for _ in range(4):
                filler = full.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.2", made.port))
            response = await client.post(target(f"http://provider.test:{made.port}/"), {}, b"{}", connect_s=60.0)
            assert await whole(response) == b"ok"


async def test_calls_are_spread_over_the_addresses_of_a_name(monkeypatch: pytest.MonkeyPatch):
    asked = resolving(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.3")
    dialer = Dialer()
    found = await asyncio.gather(*(dialer._addresses("provider.test", 80) for _ in range(6)))
    assert [each[0][4][0][-1] for each in found] == list("123123")
    assert all(len(each) == 3 for each in found)
    assert asked == ["provider.test"]


@pytest.mark.parametrize(
    "text",
    [
        *("ftp://a/", "http://", "https://a:x/", "a/b", "", "http://[::1/", "http://a:99999/"),
        *("http://a b/", "http://a\0/", "http://.a/", "http://a..b/", f"http://{'a' * 64}.b/"),
    ],
)
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
