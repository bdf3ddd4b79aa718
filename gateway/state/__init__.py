"""Where workers keep what they share: from a URL to a store, and from a store that cannot be opened to one that can."""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from gateway.state.exchange import Exchanger
from gateway.store_errors import StoreBroken, StoreError
from router_core.ports import StateStore

__all__ = ["SCHEMES", "Exchanger", "connect_store", "open_store"]

_log = logging.getLogger("gateway.state")

SCHEMES = (
    "memory://",
    "sqlite:///FILE",
    "redis://HOST:PORT/DB",
    "rediss://HOST:PORT/DB",
    "redis+sentinel://HOST:PORT[,HOST:PORT…]/SERVICE/DB",
    "redis+cluster://HOST:PORT[,HOST:PORT…]",
)


def open_store(url: str) -> StateStore:
    """Return the store a URL names, not yet opened; raises StoreBroken for a URL nobody understands.

    ``sqlite:///FILE`` is relative to the working directory, ``sqlite:////FILE`` absolute. All Redis schemes take a user
    and password before the host, and ``?prefix=NAME`` to keep several gateways apart on one server.
    """
    scheme, colon, _ = url.partition("://")
    if scheme == "memory" and colon:
        from gateway.state.memory import MemoryStore

        return MemoryStore(urlsplit(url).netloc)
    if scheme == "sqlite" and colon:
        from gateway.state.sqlite import SqliteStore

        parts = urlsplit(url)
        path = unquote(parts.path).removeprefix("/")
        if not path or parts.netloc:
            msg = "a SQLite store needs a file: sqlite:///var/state.db (three slashes; four for an absolute path)"
            raise StoreBroken(msg)
        return SqliteStore(path)
    if scheme.startswith("redis") and colon:
        from gateway.state.redis import RedisStore

        return RedisStore(url)
    msg = f"unknown store scheme {scheme[:20]!r}; known: {', '.join(SCHEMES)}"
    raise StoreBroken(msg)


async def connect_store(url: str, *, warn: Callable[[str], object] = _log.warning) -> StateStore:
    """Open the store a URL names, or the next best thing, so that a gateway starts whatever its store does.

    A SQLite file that cannot be written becomes memory; a Redis that is away is kept and joined later. Each is said
    once. Raises StoreBroken only for a URL nobody understands.
    """
    store = open_store(url)
    try:
        await store.open()
    except StoreBroken as exc:
        from gateway.state.memory import MemoryStore

        await store.close()
        warn(f"state is kept in memory only and is lost at exit: {exc}")
        store = MemoryStore()
    except StoreError as exc:
        warn(f"starting without the shared state store; it is joined as soon as it answers: {exc}")
    return store
