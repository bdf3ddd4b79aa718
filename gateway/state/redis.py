"""The shared store of many machines: Redis, alone, behind Sentinel, or as a cluster.

Every key begins with ``PREFIX:v1:`` and a hash tag, and has a time to live. Each write that could count twice is one
Lua script with its guard inside. A key that holds something else than it should is deleted: it is rebuilt from what the
workers remember. Shapes only grow; one that an older gateway would not understand gets a new ``vN``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from redis.exceptions import RedisClusterException, RedisError, ResponseError

from gateway.state.packing import pack, plain
from gateway.state.redis_documents import Document, RedisDocuments
from gateway.state.redis_link import Link, Script, heed_cancellation, wrong_credentials
from gateway.state.values import Bounds, dump, expired, finite, load_object, make_cursor, split_id
from gateway.store_errors import StoreBroken, StoreError, StoreUnavailable
from router_core.budget import ROWS_KEPT_S, ROWS_MAX, LeaseRequest, LeaseState
from router_core.limits import BucketRequest, BucketState
from router_core.ports import Batch, Pull

_LEDGER_S = 400 * 86_400
_BUCKET_S = 3600
_MARKS_S = 7 * 86_400.0
_EVENT_POLL_S = 0.2
_CLOCK_SKEW_S = 60.0
_ROWS_A_CALL = 500


class RedisStore:
    """One worker's handle on the shared memory."""

    shared = True

    def __init__(self, url: str, *, bounds: Bounds | None = None, client: Any = None) -> None:
        self._link = Link(url, client=client)
        self._bounds = bounds or Bounds()
        self._origin = uuid.uuid4().hex
        base = f"{self._link.prefix}:v1:"
        self._documents = RedisDocuments(self._link, base, self._bounds)
        self._learned = [f"{base}{{learn}}:{name}" for name in ("meta", "sums", "ver", "max", "maxver", "marks")]
        self._ledger = [f"{base}{{ledger}}:{name}" for name in ("rows", "marks")]
        self._events, self._channel = f"{base}{{events}}:log", f"{base}{{events}}:wake"
        self._lending = f"{base}{{%s}}"
        self._event_cursor = ""
        self._push, self._pull, self._book = Script("push"), Script("pull"), Script("ledger")
        self._lease, self._take = Script("lease"), Script("bucket")
        self._closed = False

    async def open(self) -> None:
        """Ask the server whether it is there; raises StoreUnavailable when not, StoreBroken for wrong credentials."""
        try:
            await self._link.call("ping")
            self._event_cursor = await self._last_event()
        except StoreUnavailable as exc:
            if wrong_credentials(exc.__cause__):
                raise StoreBroken(str(exc)) from exc
            raise

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._link.close()

    async def push(self, batch: Batch) -> None:
        """Add a batch: sums, rows and documents are guarded each for itself; a repetition finishes what is missing."""
        worker, sequence = split_id(batch.id)
        now = f"{time.time():.3f}"
        sums = {key: dict(finite(fields)) for key, fields in batch.sums.items()}
        payload = [dump(sums), dump(dict(finite(batch.maxima))), dump(dict(batch.marks))]
        learned = [worker, sequence, uuid.uuid4().hex[:12], int(self._bounds.series_s), now, *payload]
        await self._link.script(self._push, self._learned, learned)
        for first in range(0, len(batch.ledger), _ROWS_A_CALL):
            # A part of a large batch has a mark of its own, or the second would look like the first once more.
            name = worker if first == 0 else f"{worker}/{first}"
            rows = [dump(row) for row in batch.ledger[first : first + _ROWS_A_CALL]]
            booked = [name, sequence, _LEDGER_S, self._bounds.ledger_rows, now, *rows]
            await self._link.script(self._book, self._ledger, booked)
        kinds = await asyncio.to_thread(_packed, batch) if batch.documents else {}
        for kind, documents in kinds.items():
            await self._documents.put(kind, documents)

    async def pull(self, cursor: str) -> Pull:
        """Return what changed since a cursor."""
        epoch, _, version = cursor.rpartition(":")
        since = version if version.isascii() and version.isdigit() else "-1"
        answer = await self._link.script(self._pull, self._learned, [epoch, since])
        its_epoch = answer[0].decode()
        marks = {name: text.partition(" ")[0] for name, text in _pairs(answer[4])}
        return Pull(
            make_cursor(its_epoch, int(_number(answer[1].decode()) or 0)),
            {key: _fields(text) for key, text in _pairs(answer[2])},
            {key: number for key, text in _pairs(answer[3]) if (number := _number(text)) is not None},
            its_epoch,
            {name: int(mark) for name, mark in marks.items() if mark.isascii() and mark.isdigit()},
        )

    async def put(self, kind: str, document_id: str, data: bytes, expires: float | None = None) -> None:
        """Keep a document."""
        await self._documents.put(kind, [(document_id, plain(data), expires)])

    async def swap(
        self, kind: str, document_id: str, data: bytes, expected: bytes | None, expires: float | None = None
    ) -> bool:
        """Keep a document if it is as expected, as one script on its node."""
        return await self._documents.swap(kind, (document_id, data, expires), expected)

    async def get(self, kind: str, document_id: str) -> bytes | None:
        """Return a document that has not expired."""
        return await self._documents.get(kind, document_id)

    async def list(self, kind: str, *, limit: int = 100, before: str = "") -> Sequence[tuple[str, bytes]]:
        """Return documents, newest id first."""
        return await self._documents.list(kind, limit, before)

    async def delete(self, kind: str, document_id: str) -> None:
        """Forget a document."""
        await self._documents.delete(kind, document_id)

    async def ledger(
        self, *, since: float = 0.0, until: float | None = None, after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return booked rows in the order they arrived; a row may arrive long after it happened, never before."""
        start = f"({after}" if after else f"{max(0, int((since - _CLOCK_SKEW_S) * 1000))}-0"
        found: list[tuple[str, Mapping[str, Any]]] = []
        while len(found) < limit:
            page = await self._link.call("xrange", self._ledger[0], min=start, count=max(limit, 100))
            for number, values in page:
                row = load_object(values.get(b"row"))
                at = float(row.get("at", 0.0)) if row else 0.0
                if row is not None and at >= since and (until is None or at < until):
                    found.append((number.decode(), row))
            if len(page) < max(limit, 100):
                break
            start = f"({page[-1][0].decode()}"
        return found[:limit]

    async def lease(self, request: LeaseRequest) -> LeaseState:
        """Judge a lease, as one script on the account's node."""
        amounts = [request.limit, request.spent, request.floor, request.need, request.want]
        terms = [request.lease_s, max(1, int(request.keep_s)), int(request.forgive), ROWS_MAX, ROWS_KEPT_S]
        args = [request.holder, request.sequence, *amounts, *terms]
        keys = [self._lending % f"a:{request.account}"]
        answer = await self._link.script(self._lease, keys, args)
        return LeaseState(*(int(part) for part in answer))

    async def take(self, request: BucketRequest) -> BucketState:
        """Take credit from a bucket, as one script on its node."""
        args = [request.capacity, request.need, request.want, request.back, _BUCKET_S]
        keys = [self._lending % f"b:{request.name}"]
        answer = await self._link.script(self._take, keys, args)
        return BucketState(*(float(part) for part in answer))

    async def publish(self, topic: str, payload: bytes) -> None:
        """Log an event and wake the listeners; one that does not hear the wake-up finds it in the log."""
        fields = {"origin": self._origin, "topic": topic, "payload": payload}

        async def work(client: Any) -> None:
            try:
                await client.xadd(self._events, fields, maxlen=self._bounds.events, approximate=True)
            except ResponseError as exc:
                if "WRONGTYPE" not in str(exc):
                    raise
                await client.delete(self._events)
                await client.xadd(self._events, fields)
            await client.expire(self._events, int(self._bounds.events_s) + _BUCKET_S)
            await client.publish(self._channel, b"1")

        await self._link.run(work)

    async def _last_event(self) -> str:
        with contextlib.suppress(StoreUnavailable):
            found = await self._link.call("xrevrange", self._events, count=1)
            return found[0][0].decode() if found else "0-0"
        return ""

    async def subscribe(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what other handles published since this one was opened; a server that is away is asked again."""
        cursor, wake = self._event_cursor, _Wake(self._link, self._channel)
        try:
            while not self._closed:
                heed_cancellation()
                page: Sequence[Any] = ()
                try:
                    await wake.listen()
                    cursor = cursor or await self._last_event()
                    page = await self._link.call("xrange", self._events, min=f"({cursor}", count=1000)
                    if not page:
                        await wake.wait(_EVENT_POLL_S)
                except (StoreError, RedisError, RedisClusterException, OSError):
                    await wake.close()
                    await asyncio.sleep(_EVENT_POLL_S)
                for number, fields in page:
                    cursor = number.decode()
                    if fields.get(b"origin") != self._origin.encode():
                        yield fields.get(b"topic", b"").decode(), fields.get(b"payload", b"")
        finally:
            await wake.close()

    async def prune(self, *, ledger_before: float = 0.0) -> None:
        """Forget old rows, marks and surplus series; expired documents the server forgets by itself."""
        await self._documents.prune()
        if ledger_before > 0.0:
            minid = f"{int(ledger_before * 1000)}-0"
            await self._prune_ledger(ledger_before, minid)
        oldest = time.time() - _MARKS_S
        for key in (self._learned[5], self._ledger[1]):
            marks = _pairs_of(await self._link.call("hgetall", key))
            stale = [name for name, text in marks if (_number(text.partition(" ")[2]) or 0.0) < oldest]
            if stale:
                await self._link.call("hdel", key, *stale)
        names = await self._link.call("zrange", self._learned[2], 0, -1)
        now = time.time()
        over = [name for name in names if expired(name.decode(errors="replace"), now)]
        for start in range(0, len(over), 500):
            await self._link.call("zrem", self._learned[2], *over[start : start + 500])
            await self._link.call("hdel", self._learned[1], *over[start : start + 500])
        surplus = await self._link.call("zcard", self._learned[2]) - self._bounds.series
        if surplus > 0:
            names = await self._link.call("zpopmin", self._learned[2], surplus)
            await self._link.call("hdel", self._learned[1], *(name for name, _ in names))

    async def _prune_ledger(self, before: float, minid: str) -> None:
        # Rows are numbered by when they arrived, a little after they happened.
        stale = [number for number, row in await self.ledger(limit=1000) if float(row.get("at", 0.0)) < before]
        await self._link.call("xtrim", self._ledger[0], minid=minid)
        if stale:
            await self._link.call("xdel", self._ledger[0], *stale)


class _Wake:
    """Hears that something was published, nothing more: what it was stands in the log."""

    def __init__(self, link: Link, channel: str) -> None:
        self._link = link
        self._channel = channel
        self._pubsub: Any = None

    async def listen(self) -> None:
        """Subscribe, if that has not happened yet."""
        if self._pubsub is None:
            self._pubsub = self._link.client.pubsub(ignore_subscribe_messages=True)
            await self._pubsub.subscribe(self._channel)

    async def wait(self, seconds: float) -> None:
        """Return when something was published, or after a while."""
        await self._pubsub.get_message(timeout=seconds)

    async def close(self) -> None:
        """Give the connection back; the next ``listen`` takes a new one."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with contextlib.suppress(Exception):
                await pubsub.aclose()


def _packed(batch: Batch) -> dict[str, list[Document]]:
    """Return a batch's documents by kind, as they are written; takes milliseconds for hundreds of them."""
    kinds: dict[str, list[Document]] = {}
    for kind, name, data, expires in batch.documents:
        kinds.setdefault(kind, []).append((name, pack(data), expires))
    return kinds


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[str, str]]:
    for index in range(0, len(flat) - 1, 2):
        yield flat[index].decode("utf-8", "replace"), flat[index + 1].decode("utf-8", "replace")


def _pairs_of(found: Mapping[bytes, bytes]) -> Iterator[tuple[str, str]]:
    for name, text in found.items():
        yield name.decode("utf-8", "replace"), text.decode("utf-8", "replace")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _fields(text: str) -> dict[str, float]:
    """Read a stored series: lines of name and value by turns; what is no number is not there."""
    lines = text.split("\n")
    pairs = zip(lines[0::2], lines[1::2], strict=False)
    return {name: number for name, value in pairs if (number := _number(value)) is not None}
