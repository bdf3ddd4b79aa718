"""Outgoing proxies as the environment names them: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, in either case."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from gateway.forward.http1.errors import ProxyRefused
from gateway.forward.http1.target import Origin

_MOST_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """``authorization`` is the value of ``Proxy-Authorization``, if the proxy's URL holds a name and a password."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)


def proxy_of(origin: Origin) -> Proxy | None:
    """Return the proxy for an origin, or None for none. Raises ``ProxyRefused`` for one that cannot be used."""
    secure, host, port = origin
    found = getproxies()
    text = found.get("https" if secure else "http") or found.get("all")
    if not text or proxy_bypass(f"{host}:{port}"):
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        where, at = parts.hostname, parts.port
    except ValueError as exc:
        raise ProxyRefused from exc
    if parts.scheme != "http" or not where:
        raise ProxyRefused
    return Proxy(where, at or 80, _authorization(parts))


def _authorization(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(pair.encode()).decode()


class Tunnel(asyncio.Protocol):
    """Asks a proxy to connect to a host (RFC 9110, 9.3.6) and waits for its word."""

    def __init__(self, host: str, port: int, authorization: str | None) -> None:
        """Say where to."""
        self.host = host
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        own = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
        self._request = f"CONNECT {shown} HTTP/1.1\r\nHost: {shown}\r\n{own}\r\n".encode()
        self._received = b""
        self._answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Wait for the head of the answer; a tunnel begins right after it."""
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end and len(self._received) < _MOST_BYTES:
            return
        status = head.split(b" ", 2)[1:2]
        good = bool(end) and not rest and head.startswith(b"HTTP/1.") and status == [b"200"]
        self._settle(None if good else ProxyRefused())

    def connection_lost(self, exc: Exception | None) -> None:
        """A proxy that closes refuses."""
        del exc
        self._settle(ProxyRefused())

    async def opened(self) -> None:
        """Return when the tunnel is there. Raises ``ProxyRefused``."""
        await self._answered

    def _settle(self, fault: Exception | None) -> None:
        if self._answered.done():
            return
        if fault is None:
            self._answered.set_result(None)
        else:
            self._answered.set_exception(fault)
