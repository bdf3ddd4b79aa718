"""Requests over kept and new connections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from gateway.forward.http1.connection import KEEP_S, Connection
from gateway.forward.http1.dial import Dialer
from gateway.forward.http1.errors import CannotConnect, ConnectTimeout, Disconnected, InvalidHeader
from gateway.forward.http1.proxies import Proxy, proxy_of
from gateway.forward.http1.response import Response
from gateway.forward.http1.target import Origin, Target

STALE_WITHIN_S: Final = 1.0
"""A kept connection that the provider had already closed shows it within a round trip, not later."""
_USUAL: Final = (("accept", "Accept: */*"), ("user-agent", "User-Agent: moe-gateway"))
_OURS: Final = frozenset({"content-length", "transfer-encoding", "connection"})
"""What frames a message is nobody else's to say."""


class Client:
    """The connections of all calls of one event loop.

    ``trust_env`` obeys HTTPS_PROXY and its kin; ``ca_file`` names certificate authorities to trust (PEM)
    besides the system's.
    """

    def __init__(self, *, trust_env: bool = False, ca_file: str | None = None) -> None:
        """Open nothing yet; must run in the loop that will use it."""
        self._loop = asyncio.get_running_loop()
        self._trust_env = trust_env
        self._dialer = Dialer(ca_file)
        self._idle: dict[Origin, list[Connection]] = {}
        self._all: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes, *, connect_s: float) -> Response:
        """Send a request and return its answer as soon as the head is there. Raises ``Http1Error``.

        A kept connection that turns out to have been closed meanwhile is replaced once: nobody has read the request.
        Some servers say so with a 408 (RFC 9110, 15.5.9).
        """
        proxy = self._proxy(target.origin)
        request = head(target, headers, len(body), proxy) + body
        kept = self._take(target.origin)
        if kept is not None:
            began = self._loop.time()
            try:
                response = await kept.send(request).begun()
            except Disconnected as exc:
                if self._closed or exc.received or self._loop.time() - began > STALE_WITHIN_S:
                    raise
            else:
                if not _idle_too_long(response) or self._loop.time() - began > STALE_WITHIN_S:
                    return response
                response.abort()
        fresh = await self._connect(target.origin, proxy, connect_s)
        return await fresh.send(request).begun()

    async def dial(self, target: Target, *, connect_s: float) -> None:
        """Open a connection ahead of a request, where its origin has none yet. Raises ``Http1Error``."""
        if not any(connection.origin == target.origin for connection in self._all):
            proxy = self._proxy(target.origin)
            self._keep(await self._connect(target.origin, proxy, connect_s))

    def close(self) -> None:
        """Close every connection, and whatever comes on them with it. Safe to call twice."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._idle.clear()
        for connection in tuple(self._all):
            connection.abort()

    def _proxy(self, origin: Origin) -> Proxy | None:
        return proxy_of(origin) if self._trust_env else None

    async def _connect(self, origin: Origin, proxy: Proxy | None, connect_s: float) -> Connection:
        def make() -> Connection:
            return Connection(self._loop, origin, self._keep, self._lost)

        try:
            async with asyncio.timeout(connect_s):
                connection = await self._dialer.dial(origin, proxy, make)
        except TimeoutError as exc:
            raise ConnectTimeout from exc
        if self._closed or not connection.usable:  # we closed while it was dialled, or the other side has
            connection.abort()
            raise CannotConnect
        self._all.add(connection)
        return connection

    def _take(self, origin: Origin) -> Connection | None:
        """Return the connection that was used last, if there is one that can be used: the others may grow old."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.usable and connection.idle_until > self._loop.time():
                return connection
            connection.abort()
        return None

    def _keep(self, connection: Connection) -> None:
        if self._closed:
            connection.abort()
            return
        connection.idle_until = self._loop.time() + connection.keep_s
        self._idle.setdefault(connection.origin, []).append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(KEEP_S, self._sweep)

    def _lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle and connection in idle:
            idle.remove(connection)

    def _sweep(self) -> None:
        """Close what nobody will use any more, at the latest after two times ``KEEP_S``."""
        self._sweeper = None
        now = self._loop.time()
        for origin, idle in tuple(self._idle.items()):
            for connection in [each for each in idle if each.idle_until <= now]:
                idle.remove(connection)
                connection.abort()
            if not idle:
                del self._idle[origin]
        if self._idle:
            self._sweeper = self._loop.call_later(KEEP_S, self._sweep)


def _idle_too_long(response: Response) -> bool:
    """Say whether an answer is about the connection, which waited for a request longer than its server likes."""
    return response.status == 408 and "close" in response.headers.get("connection", "").lower()


def head(target: Target, headers: Mapping[str, str], length: int, proxy: Proxy | None = None) -> bytes:
    """Return the head of a request; of headers of one name the last is sent.

    Raises ``InvalidHeader`` for one that would change what follows it.
    """
    where = target.path
    given = {name.lower(): f"{name}: {value}" for name, value in headers.items()}
    if not _OURS.isdisjoint(given):
        raise InvalidHeader
    lines = [line for name, line in _USUAL if name not in given]
    if "host" not in given:
        lines.append(f"Host: {target.host}")
    if proxy is not None and not target.origin[0]:  # no tunnel: the proxy itself is asked, for another's resource
        where = f"http://{target.host}{target.path}"
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
    lines += given.values()
    text = f"POST {where} HTTP/1.1\r\n" + "\r\n".join(lines) + f"\r\nContent-Length: {length}\r\n\r\n"
    breaks = len(lines) + 3
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise InvalidHeader
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidHeader from exc
