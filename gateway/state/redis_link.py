"""One pool of connections to Redis, alone, behind Sentinel or as a cluster: opened from a URL, its errors translated.

A call that fails opens a small breaker: for a moment every other call fails at once instead of waiting for a time-out
of its own. Everything here is called by background tasks; still, nothing may pile up behind a server that hangs.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import redis.asyncio as aioredis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.store_errors import StoreBroken, StoreError, StoreFull, StoreUnavailable

T = TypeVar("T")

TIMEOUT_S: Final = 0.1
CONNECT_S: Final = 0.3
"""Connecting takes several round trips, and a name to look up; an answer takes one."""
CALL_S: Final = 1.0
"""Bound on one whole call: connecting, finding the master or the slots, and the answer."""
_BREAKER_FIRST_S: Final = 0.1
_BREAKER_CAP_S: Final = 1.0
_CALLS_AT_ONCE: Final = 8
_CONNECTIONS: Final = 12
"""A call needs one connection, listening for events another; more calls than places wait their turn."""

_SAID_NO: Final = (ResponseError, NoPermissionError)
"""An answer that came at once: one command it will not do is no reason to ask it nothing else for a while."""


class Script:
    """A Lua script, a file beside this one; sent by its hash, and whole to a server that does not know it yet."""

    def __init__(self, name: str) -> None:
        self.source = resources.files("gateway.state").joinpath(f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, client: Any, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run it; all keys must carry one hash tag."""
        try:
            return await client.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await client.eval(self.source, len(keys), *keys, *args)


class Link:
    """Runs calls on one client and keeps the breaker; ``prefix`` opens every key."""

    def __init__(self, url: str, *, client: Any = None) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self.prefix = query.get("prefix", ["moe"])[0]
        self.client: Any = client if client is not None else _client(url)
        self._places = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._failures = 0
        self._closed_until = 0.0

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run one call; raises StoreUnavailable, StoreFull, or StoreBroken when the credentials are wrong."""
        try:
            async with asyncio.timeout(CALL_S), self._places:
                if time.monotonic() < self._closed_until:
                    msg = "Redis did not answer a moment ago"
                    raise StoreUnavailable(msg)
                result = await work(self.client)
        except OutOfMemoryError as exc:
            raise StoreFull(str(exc)) from exc
        except ReadOnlyError as exc:
            # It was a master and is a replica now; only a new connection finds out who took over.
            await self._disconnect()
            raise self._failed(exc) from exc
        except (RedisError, RedisClusterException, OSError, TimeoutError) as exc:
            heed_cancellation()
            raise self._failed(exc) from exc
        heed_cancellation()
        self._failures = 0
        return result

    async def call(self, command: str, *args: Any, **options: Any) -> Any:
        """Run one command by its name in redis-py."""
        return await self.run(lambda client: getattr(client, command)(*args, **options))

    async def script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script."""
        return await self.run(lambda client: script(client, keys, args))

    def _failed(self, exc: Exception) -> StoreError:
        if "OOM " in str(exc)[:80]:
            return StoreFull(str(exc))
        if type(exc) in _SAID_NO:
            return StoreUnavailable(f"{type(exc).__name__}: {exc}")
        self._failures += 1
        pause = min(_BREAKER_CAP_S, _BREAKER_FIRST_S * 2 ** min(self._failures - 1, 10))
        self._closed_until = time.monotonic() + pause * random.uniform(0.8, 1.0)  # noqa: S311 - jitter, no secret
        return StoreUnavailable(f"{type(exc).__name__}: {exc}")

    async def _disconnect(self) -> None:
        pool = getattr(self.client, "connection_pool", None)  # a cluster has one a node, and mends them by itself
        if pool is not None:
            await pool.disconnect()

    async def close(self) -> None:
        """Close all connections, those to sentinels too."""
        await self.client.aclose()
        await self._disconnect()
        manager = getattr(getattr(self.client, "connection_pool", None), "sentinel_manager", None)
        for sentinel in () if manager is None else manager.sentinels:
            await sentinel.aclose()


def heed_cancellation() -> None:
    """End here if this task was told to end: the client library may take a cancellation for its own time-out."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def wrong_credentials(exc: BaseException | None) -> bool:
    """Whether a failure is the operator's to mend: waiting will not."""
    return isinstance(exc, (AuthenticationError, AuthorizationError))


def _client(url: str) -> Any:
    scheme, _, rest = url.partition("://")
    kind, _, flavour = scheme.partition("+")
    if kind not in {"redis", "rediss"} or flavour not in {"", "sentinel", "cluster"}:
        msg = f"unknown Redis scheme {scheme[:30]!r}"
        raise StoreBroken(msg)
    credentials, _, address = rest.partition("?")[0].rpartition("@")
    user, _, password = credentials.partition(":")
    hosts, *path = address.split("/")
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": CONNECT_S,
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        "protocol": 2,
        "username": unquote(user) or None,
        "password": unquote(password) or None,
    }
    if kind == "rediss":
        options |= _tls(url)
    try:
        if flavour == "cluster":
            nodes = [ClusterNode(host, port) for host, port in _hosts(hosts, 6379)]
            return RedisCluster(startup_nodes=nodes, **options)
        if flavour == "sentinel":
            service, db = (path[0] if path else "") or "mymaster", path[1] if len(path) > 1 else "0"
            # The sentinels themselves are asked without the master's credentials.
            plain = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout", "protocol")}
            sentinel = Sentinel(_hosts(hosts, 26379), sentinel_kwargs=plain)  # type: ignore[no-untyped-call]
            return sentinel.master_for(service, db=int(db), max_connections=_CONNECTIONS, **options)
        ((host, port),) = _hosts(hosts, 6379)
        if kind == "rediss":
            options["connection_class"] = aioredis.SSLConnection
        pool = aioredis.BlockingConnectionPool(
            max_connections=_CONNECTIONS,
            timeout=CONNECT_S,
            host=host,
            port=port,
            db=int(path[0] or 0) if path else 0,
            **options,
        )
        return aioredis.Redis(connection_pool=pool)
    except ValueError as exc:
        msg = "the Redis URL is not understood: scheme://[user:password@]host:port[,host:port…][/service][/db]"
        raise StoreBroken(msg) from exc


def _hosts(text: str, default_port: int) -> list[tuple[str, int]]:
    found = []
    for entry in text.split(","):
        parts = urlsplit(f"//{entry}")
        found.append((parts.hostname or "127.0.0.1", parts.port or default_port))
    return found


def _tls(url: str) -> dict[str, Any]:
    query = parse_qs(urlsplit(url).query)
    ca_file = query.get("ca_file", [None])[0]
    cluster_or_sentinel = "+" in url.partition("://")[0]
    return {"ssl_ca_certs": ca_file} | ({"ssl": True} if cluster_or_sentinel else {})
