"""Documents in Redis: one string each, and per kind one index of their ids. A kind shares one hash tag."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from gateway.state.packing import pack, plain, unpack
from gateway.state.redis_link import Link, Script
from gateway.state.values import Bounds

_KEEP_S: Final = 400 * 86_400
"""Time to live of what has no expiry; ``prune`` renews it, so only a store nobody uses any more forgets it."""

Document = tuple[str, bytes, float | None]


class RedisDocuments:
    """The document part of the Redis store; ``base`` opens every key."""

    def __init__(self, link: Link, base: str, bounds: Bounds) -> None:
        self._link = link
        self._base = base
        self._bounds = bounds
        self._kinds = f"{base}{{kinds}}:all"
        self._known: set[str] = set()
        self._swap = Script("swap")

    def _key(self, kind: str, name: str) -> str:
        return f"{self._base}{{d:{kind}}}:{name}"

    async def put(self, kind: str, documents: Iterable[Document]) -> None:
        """Keep documents (id, bytes, wall-clock expiry or None) of one kind, in one round trip."""
        now = time.time()
        alive = [entry for entry in documents if entry[2] is None or entry[2] > now]
        if not alive:
            return
        index, forever = self._key(kind, "index"), self._key(kind, "forever")
        permanent = [name for name, _, expires in alive if expires is None]

        async def work(client: Any) -> None:
            pipe = client.pipeline(transaction=False)
            for name, data, expires in alive:
                left = _KEEP_S * 1000 if expires is None else max(1, int((expires - now) * 1000))
                pipe.set(self._key(kind, f"i:{name}"), data, px=left)
            pipe.zadd(index, {name: 0 for name, _, _ in alive})
            pipe.expire(index, _KEEP_S)
            if permanent:
                pipe.sadd(forever, *permanent)
                pipe.expire(forever, _KEEP_S)
            _raise_first(await pipe.execute(raise_on_error=False))

        await self._mending(work, index, forever)
        await self._know(kind)

    async def _know(self, kind: str) -> None:
        """Enter a kind in the list that ``prune`` goes through."""
        if kind in self._known:
            return

        async def work(client: Any) -> None:
            await client.sadd(self._kinds, kind)
            await client.expire(self._kinds, _KEEP_S)

        await self._mending(work, self._kinds)
        self._known.add(kind)

    async def swap(self, kind: str, document: Document, expected: bytes | None) -> bool:
        """Keep a document if what is there is as expected (None: nothing); whether it was written."""
        name, data, expires = document
        forms = (None,) if expected is None else dict.fromkeys((plain(expected), pack(expected)))
        for held in forms:
            if await self._swapped(kind, (name, plain(data), expires), held):
                await self._know(kind)
                return True
        return False

    async def _swapped(self, kind: str, document: Document, expected: bytes | None) -> bool:
        name, data, expires = document
        keys = [self._key(kind, f"i:{name}"), self._key(kind, "index"), self._key(kind, "forever")]
        left = _KEEP_S * 1000 if expires is None else max(1, int((expires - time.time()) * 1000))
        asked = [int(expected is not None), expected or b"", data, left, name, int(expires is None), _KEEP_S]
        return bool(await self._link.script(self._swap, keys, asked))

    async def get(self, kind: str, document_id: str) -> bytes | None:
        """Return a document; the server forgets the expired ones by itself."""
        key = self._key(kind, f"i:{document_id}")
        found: bytes | None = await self._one("get", key)
        return None if found is None else unpack(found)

    async def list(self, kind: str, limit: int, before: str) -> Sequence[tuple[str, bytes]]:
        """Return documents, newest id first; ids whose document expired leave the index on the way."""
        index = self._key(kind, "index")
        found: list[tuple[str, bytes]] = []
        behind = before
        while len(found) < limit:
            names = await self._names(index, behind, limit)
            if names:
                keys = [self._key(kind, f"i:{name}") for name in names]
                texts = await self._one("mget", keys[0], *keys[1:])
                gone = [name for name, text in zip(names, texts, strict=True) if text is None]
                found += [(name, unpack(text)) for name, text in zip(names, texts, strict=True) if text is not None]
                if gone:
                    await self._link.call("zrem", index, *gone)
                behind = names[-1]
            if len(names) < limit:
                break
        return found[:limit]

    async def _names(self, index: str, before: str, limit: int) -> Sequence[str]:
        top = f"({before}" if before else "+"
        names = await self._one("zrevrangebylex", index, top, "-", start=0, num=limit)
        return [name.decode() for name in names or ()]

    async def delete(self, kind: str, document_id: str) -> None:
        """Forget a document."""
        index, forever = self._key(kind, "index"), self._key(kind, "forever")

        async def work(client: Any) -> None:
            await client.delete(self._key(kind, f"i:{document_id}"))
            await client.zrem(index, document_id)
            await client.srem(forever, document_id)

        await self._mending(work, index, forever)

    async def prune(self) -> None:
        """Renew what has no expiry, and keep every kind within its bound, the oldest ids first."""
        kinds = await self._one("smembers", self._kinds) or ()
        self._known.clear()  # entered anew by the next write: the list may have been lost with the server's memory
        for kind in sorted(kind.decode() for kind in kinds):
            index, forever = self._key(kind, "index"), self._key(kind, "forever")
            names = await self._one("smembers", forever) or ()
            for name in names:
                key = self._key(kind, f"i:{name.decode()}")
                await self._link.call("expire", key, _KEEP_S)
            count = await self._one("zcard", index) or 0
            excess = count - self._bounds.documents
            if excess > 0:
                oldest = await self._link.call("zrange", index, 0, excess - 1)
                for name in oldest:
                    await self.delete(kind, name.decode())

    async def _one(self, command: str, key: str, *args: Any, **options: Any) -> Any:
        """Run one command on one key, mended when it holds garbage."""
        return await self._mending(lambda client: getattr(client, command)(key, *args, **options), key)

    async def _mending(self, work: Any, *keys: str) -> Any:
        """Run a call; keys that hold something else than they should are deleted, and it is run once more."""

        async def guarded(client: Any) -> Any:
            try:
                return await work(client)
            except ResponseError as exc:
                if "WRONGTYPE" not in str(exc):
                    raise
                await client.delete(*keys)
                return await work(client)

        return await self._link.run(guarded)


def _raise_first(results: Sequence[Any]) -> None:
    for result in results:
        if isinstance(result, Exception):
            raise result
