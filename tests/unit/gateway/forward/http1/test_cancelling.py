"""A call may be cancelled at any moment: nothing stays open, and nothing but the cancel is raised."""

from __future__ import annotations

import asyncio
import os
import ssl

import pytest

from gateway.forward.http1.client import Client
from gateway.forward.http1.errors import Http1Error
from gateway.forward.http1.target import Target, target
from tests.unit.gateway.forward.http1.scripted import BODY, served, whole
from tests.unit.gateway.forward.http1.test_proxies import environment, tunnels

pytestmark = pytest.mark.anyio


def sockets() -> int:
    """Count this process's open sockets."""
    found = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - what is listed may be gone
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")  # noqa: PTH115
        except OSError:
            continue
    return found


async def settled(client: Client, limit: int) -> bool:
    """Wait for the other ends to notice."""
    for _ in range(3000):
        if sockets() <= limit and not client._all:
            return True
        await asyncio.sleep(0.02)
    return False


async def cancelled_at_every_turn(client: Client, where: Target, limit: int) -> None:
    for turns in [*range(60), *range(60, 400, 7)]:
        task = asyncio.create_task(client.post(where, {}, b"{}", connect_s=60.0))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            response = await task
        except asyncio.CancelledError:
            continue
        except Http1Error as exc:
            raise AssertionError(turns) from exc
        response.abort()
    client.close()
    assert not client._idle
    assert await settled(client, limit)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_call_to_a_new_connection(certificate: str, *, tls: bool):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with served([0.001, BODY], tls=context if tls else None) as (made, _):
        client = Client(ca_file=certificate)
        limit = sockets()
        where = target(f"http{'s' * tls}://localhost:{made.port}/")
        assert await whole(await client.post(where, {}, b"{}", connect_s=60.0)) == b"ok"  # the name is known now
        await cancelled_at_every_turn(client, where, limit)


async def test_a_call_through_a_tunnel(monkeypatch: pytest.MonkeyPatch, certificate: str):
    async with tunnels(certificate, b"HTTP/1.1 200 OK\r\n\r\n") as (made, _, port):
        environment(monkeypatch, HTTPS_PROXY=f"http://127.0.0.1:{port}")
        client = Client(trust_env=True, ca_file=certificate)
        limit = sockets()
        await cancelled_at_every_turn(client, target(f"https://localhost:{made.port}/"), limit)
