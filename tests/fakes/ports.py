"""Loopback ports that stay free until the process that was told of them takes them."""

from __future__ import annotations

import contextlib
import secrets
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOW, _HIGH, _BUS = 10_000, 22_000, 10_000


def free_port(*, bus: bool = False) -> int:
    """Return a port nobody listens on; with ``bus`` also port + 10000, where cluster nodes of Redis talk.

    It is none of those the kernel gives away by itself: those may be another test's before our process has started.
    """
    while True:
        port = _candidate()
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for each in (port, port + _BUS) if bus else (port,):
                held.enter_context(socket.socket()).bind(("127.0.0.1", each))
            return port


def _candidate() -> int:
    if _given_from() > _HIGH:
        return _LOW + secrets.randbelow(_HIGH - _LOW)  # of the system's randomness: tests seed the other
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return min(int(probe.getsockname()[1]), 65_535 - _BUS)


def _given_from() -> int:
    """The first of the ports that the kernel gives away; 0 where it does not say."""
    try:
        return int(_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        return 0
