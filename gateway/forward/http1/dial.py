"""New connections: a name to addresses, addresses to a socket, TLS around it, a proxy before it where one is set."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, TypeVar

from aiohappyeyeballs import AddrInfoType, start_connection

from gateway.forward.http1.connection import Connection
from gateway.forward.http1.errors import CannotConnect, NameNotResolved, TlsFailed
from gateway.forward.http1.proxies import Proxy, Tunnel
from gateway.forward.http1.target import Origin

_DNS_TTL_S: Final = 30.0
_NEXT_ADDRESS_S: Final = 0.25
"""How long one address is tried alone (RFC 8305 calls it the connection attempt delay)."""

Make = Callable[[], Connection]
P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(slots=True)
class _Known:
    """``addresses`` begin with another one each time, as the calls to a name are spread over its machines."""

    addresses: list[AddrInfoType]
    until: float


class Dialer:
    """Makes connections. ``ca_file`` names certificate authorities to trust (PEM) besides the system's."""

    def __init__(self, ca_file: str | None = None) -> None:
        """Read ``ca_file`` now: a wrong one is told at the start, not at the first call."""
        self._context = _context(ca_file) if ca_file else None
        self._known: dict[tuple[str, int], _Known] = {}
        self._asked: dict[tuple[str, int], asyncio.Task[_Known]] = {}

    async def dial(self, origin: Origin, proxy: Proxy | None, make: Make) -> Connection:
        """Return a connection to an origin. Raises ``CannotConnect``; cancelling it leaves no socket open."""
        secure, host, port = origin
        context = await self._tls() if secure else None
        sock = await self._socket(proxy.host, proxy.port) if proxy is not None else await self._socket(host, port)
        if context is None:
            return (await _over(sock, make))[1]
        if proxy is None:
            plain, _ = await _over(sock, asyncio.Protocol)
            return await _inside(plain, make, context, host)
        plain, tunnel = await _over(sock, lambda: Tunnel(host, port, proxy.authorization))
        return await _inside(plain, make, context, host, tunnel)

    async def _socket(self, host: str, port: int) -> socket.socket:
        addresses = await self._addresses(host, port)
        try:
            return await start_connection(
                addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1, socket_factory=_open
            )
        except (OSError, RuntimeError) as exc:  # uvloop has both
            self._known.pop((host, port), None)  # perhaps it has moved
            raise CannotConnect from exc

    async def _addresses(self, host: str, port: int) -> list[AddrInfoType]:
        """Return a host's addresses: written as one, known for a moment, or asked for once by all who want them."""
        with contextlib.suppress(ValueError):
            return [_literal(host, port)]
        key, loop = (host, port), asyncio.get_running_loop()
        known = self._known.get(key)
        if known is None or known.until <= loop.time():
            task = self._asked.get(key)
            if task is None:
                task = self._asked[key] = loop.create_task(self._resolve(host, port))
                task.add_done_callback(lambda _: self._asked.pop(key, None))
            known = await asyncio.shield(task)
        addresses = known.addresses
        known.addresses = [*addresses[1:], addresses[0]]
        return addresses

    async def _resolve(self, host: str, port: int) -> _Known:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except (OSError, UnicodeError) as exc:
            raise NameNotResolved from exc
        known = self._known[host, port] = _Known(list(found), loop.time() + _DNS_TTL_S)
        return known

    async def _tls(self) -> ssl.SSLContext:
        if self._context is None:  # reading all the system's authorities takes long enough to leave the loop for
            self._context = await asyncio.to_thread(_context, None)
        return self._context


async def _over(sock: socket.socket, make: Callable[[], P]) -> tuple[asyncio.Transport, P]:
    try:
        return await asyncio.get_running_loop().create_connection(make, sock=sock)
    except OSError as exc:
        sock.close()
        raise CannotConnect from exc
    except BaseException:
        sock.close()
        raise


async def _inside(
    plain: asyncio.Transport, make: Make, context: ssl.SSLContext, host: str, tunnel: Tunnel | None = None
) -> Connection:
    """Speak TLS inside of a connection, once a tunnel is open if there is one.

    ``create_connection`` could do that in one, but leaves the socket open when cancelled before the handshake.
    """
    try:
        if tunnel is not None:
            await tunnel.opened()
        connection, secured, loop = make(), None, asyncio.get_running_loop()
        connection.connection_made(plain)
        if not plain.is_closing():  # else the handshake would wait for somebody to tell it
            secured = await loop.start_tls(plain, connection, context, server_hostname=host)
    except OSError as exc:
        plain.abort()
        raise TlsFailed from exc
    except BaseException:
        plain.abort()
        raise
    if secured is None:  # lost before or in the handshake
        raise TlsFailed
    connection.secured(secured)
    return connection


def _context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _literal(host: str, port: int) -> AddrInfoType:
    """Return an address that is written as one; raises ValueError for names and for addresses of one interface."""
    version = ip_address(host).version
    if "%" in host:
        raise ValueError(host)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    where = (host, port) if version == 4 else (host, port, 0, 0)
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where


def _open(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    sock = socket.socket(family=family, type=kind, proto=protocol)
    sock.setblocking(False)  # noqa: FBT003 - the socket's own signature
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock
