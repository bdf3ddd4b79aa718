"""Connections opened before the first request: to addresses that speak TLS, once each, and whatever happens to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from router_core.deployment import Deployment, Lane, Provider
from tests.unit.gateway.forward.calls import call_to, forwarder

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def listener() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port, and the first byte of each connection that comes there; then it is closed."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


def deployed(base_url: str | None, **options: Lane) -> tuple[Provider, Deployment]:
    call = call_to(base_url, **options)
    return call.provider, call.deployment


async def test_one_handshake_is_begun_with_each_address_that_speaks_tls_and_none_with_others() -> None:
    async with listener() as (port, heard), forwarder() as made, asyncio.timeout(60):
        await made.dial([deployed(f"http://127.0.0.1:{port}/v1")])
        assert heard == []
        twice = [deployed(f"https://127.0.0.1:{port}/v1"), deployed(f"https://127.0.0.1:{port}/v2")]
        await made.dial(twice)
        assert heard == [b"\x16"]  # a TLS record that holds a handshake (RFC 8446, 5.1)


async def test_what_cannot_be_dialled_is_left_to_the_first_call() -> None:
    async with listener() as (port, heard), forwarder() as made, asyncio.timeout(60):
        await made.dial(
            [
                deployed("https://127.0.0.1:1/v1"),
                deployed("no address"),
                deployed(f"https://127.0.0.1:{port}/v1", lane=Lane.ACOMPLETION),
            ]
        )
        assert heard == []
