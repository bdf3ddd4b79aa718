"""Outgoing proxies as the environment names them: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, in either case."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from gateway.forward.http1.errors import ProxyRefused
from gateway.forward.http1.target import Origin

_MOST_BYTES: Final = 32 * 1024
_GOOD: Final = re.compile(rb"HTTP/1\.[01] 2\d\d(?![^ \r])")
"""The status line of a proxy that agrees; some leave the reason out."""


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
        self._answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        cast("asyncio.Transport", transport).write(self._request)  # uvloop's own are no instances of it

    def data_received(self, data: bytes) -> None:
        """Wait for the head of the answer; a tunnel begins right after it."""
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end and len(self._received) < _MOST_BYTES:
            return
        self._settle(good=bool(end) and not rest and _GOOD.match(head) is not None)

    def connection_lost(self, exc: Exception | None) -> None:
        """A proxy that closes refuses."""
        del exc
        self._settle(good=False)

    async def opened(self) -> None:
        """Return when the tunnel is there. Raises ``ProxyRefused``."""
        if not await self._answered:
            raise ProxyRefused

    def _settle(self, *, good: bool) -> None:
        if not self._answered.done():
            self._answered.set_result(good)
