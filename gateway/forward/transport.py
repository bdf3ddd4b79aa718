"""Carries bytes to a provider and back: one aiohttp session, no redirects, no cookies, nothing kept of the answer.

Time is the caller's: cancelling a call closes its socket at once. Only the connection has a limit of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

import aiohttp
from aiohttp.abc import AbstractCookieJar
from yarl import URL

from gateway.forward.exceptions import from_exception
from gateway.forward.failures import failed
from router_core.errors import AttemptFailed
from router_core.outcome import FailureKind

_STALE_WITHIN_S: Final = 1.0
"""A kept connection that the provider had already closed shows it within a round trip, not later."""
_KEEPALIVE_S: Final = 30.0
_DNS_TTL_S: Final = 30
_DRAIN_S: Final = 0.5
_DRAIN_BYTES: Final = 64 * 1024
_HEADER_BYTES: Final = 32 * 1024

_connected: ContextVar[list[bool] | None] = ContextVar("connected", default=None)
"""Set to a list by a call before it asks for a connection; a new socket marks it."""


class Transport:
    """The connections of all calls.

    ``trust_env`` obeys HTTPS_PROXY and its kin; ``ca_file`` names the certificate authorities to trust (PEM).
    """

    def __init__(self, *, trust_env: bool = False, ca_file: str | None = None) -> None:
        self._trust_env = trust_env
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None
        self._drains: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Make the session; must run in the loop that will use it. Safe to call twice."""
        if self._session is not None:
            return
        connector = aiohttp.TCPConnector(
            limit=0,
            ttl_dns_cache=_DNS_TTL_S,
            keepalive_timeout=_KEEPALIVE_S,
            happy_eyeballs_delay=0.25,
            enable_cleanup_closed=False,
            socket_factory=_socket,
            ssl=ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=_no_cookies(),
            trust_env=self._trust_env,
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": "moe-gateway"},
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
        )

    async def close(self) -> None:
        """Close every connection. Safe to call twice."""
        for task in tuple(self._drains):
            task.cancel()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(
        self, url: URL, headers: Mapping[str, str], body: bytes, *, connect_s: float
    ) -> aiohttp.ClientResponse:
        """Send a request and return the answer as soon as its head is there. Raises ``AttemptFailed``.

        A kept connection that turns out to have been closed meanwhile is replaced once: nobody has read the request.
        """
        limits = aiohttp.ClientTimeout(total=None, connect=connect_s, sock_connect=connect_s)
        fresh: list[bool] = []
        _connected.set(fresh)
        began = time.monotonic()
        try:
            return await self._post(url, headers, body, limits)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
            if fresh or time.monotonic() - began > _STALE_WITHIN_S:
                raise AttemptFailed(from_exception(exc)) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise AttemptFailed(from_exception(exc)) from exc
        try:
            return await self._post(url, {**headers, "Connection": "close"}, body, limits)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise AttemptFailed(from_exception(exc)) from exc

    async def _post(
        self, url: URL, headers: Mapping[str, str], body: bytes, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            msg = "the transport is not open"
            raise RuntimeError(msg)
        return await self._session.post(url, data=body, headers=headers, timeout=limits, allow_redirects=False)

    async def read(self, response: aiohttp.ClientResponse, limit: int, *, cut: bool = False) -> bytes:
        """Return the whole body, decoded, of at most ``limit`` bytes. Raises ``AttemptFailed``.

        ``cut`` returns what fits instead of failing. Whatever goes wrong, the socket is closed.
        """
        parts: list[bytes] = []
        size = 0
        try:
            while size <= limit and (part := await response.content.readany()):
                parts.append(part)
                size += len(part)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            abort(response)
            raise AttemptFailed(from_exception(exc, answering=True)) from exc
        except BaseException:
            abort(response)
            raise
        if size > limit:
            abort(response)
            if not cut:
                msg = f"the provider's answer is larger than {limit} bytes"
                raise failed(FailureKind.PROTOCOL, msg, status=response.status)
        return parts[0][:limit] if len(parts) == 1 else b"".join(parts)[:limit]

    async def read_some(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the first bytes of the body that come, none at its end. Raises ``AttemptFailed``."""
        try:
            return await response.content.readany()
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            abort(response)
            raise AttemptFailed(from_exception(exc, answering=True)) from exc
        except BaseException:
            abort(response)
            raise

    def finish(self, response: aiohttp.ClientResponse) -> None:
        """Let go of an answer whose end mark has been read: the connection is kept if the rest comes promptly."""
        if response.connection is None:
            return
        task = asyncio.get_running_loop().create_task(_drain(response))
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)


def abort(response: aiohttp.ClientResponse) -> None:
    """Close the answer's socket now, without a TLS farewell and without reading on. Safe to call twice."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


async def _drain(response: aiohttp.ClientResponse) -> None:
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(_DRAIN_S):
            while left > 0 and (part := await response.content.readany()):
                left -= len(part)
    except (aiohttp.ClientError, OSError, ValueError):
        pass
    finally:
        if not response.content.at_eof():
            abort(response)


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    sock = socket.socket(family=family, type=kind, proto=protocol)
    sock.setblocking(False)  # noqa: FBT003 - the socket's own signature
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    mark = _connected.get()
    if mark is not None:
        mark.append(True)
    return sock


def _no_cookies() -> AbstractCookieJar:
    return aiohttp.DummyCookieJar()
