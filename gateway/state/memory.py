"""A store in the process's own memory: for tests, for trying things out, and where nothing else can be written.

``memory://`` is private. ``memory://NAME`` is one memory for all who name it in this process, each with a handle of its
own, so that several workers can be tried without any server.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.state.shelf import Shelf
from gateway.state.values import (
    Bounds,
    add_sums,
    expired,
    finite,
    join_maxima,
    make_cursor,
    position,
    split_id,
    version_of,
)
from router_core.budget import ROWS_MAX, LeaseRequest, LeaseRow, LeaseState, fold_rows, grant
from router_core.limits import Bucket, BucketRequest, BucketState, take
from router_core.ports import Batch, Pull

_SHELF_BYTES: Final = 64 * 1024 * 1024
_LEDGER_ROWS: Final = 50_000
"""Documents of a kind, and booked calls, that a process can hold beside everything else: some 60 MiB each."""
_named: dict[str, _Memory] = {}


@dataclass(slots=True)
class _Account:
    rows: dict[str, LeaseRow]
    forget_at: float


@dataclass(slots=True)
class _Memory:
    """What all handles on one memory share."""

    epoch: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    version: int = 0
    sums: dict[str, dict[str, float]] = field(default_factory=dict)
    changed: dict[str, tuple[int, float]] = field(default_factory=dict)
    maxima: dict[str, float] = field(default_factory=dict)
    maxima_changed: dict[str, int] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    documents: dict[str, Shelf] = field(default_factory=dict)
    ledger: deque[tuple[int, Mapping[str, Any]]] = field(default_factory=deque)
    ledger_next: int = 1
    accounts: dict[str, _Account] = field(default_factory=dict)
    buckets: dict[str, Bucket] = field(default_factory=dict)
    listeners: list[tuple[str, asyncio.Queue[tuple[str, bytes]]]] = field(default_factory=list)


class MemoryStore:
    """One worker's handle on a memory. Nothing is written anywhere; a restart begins empty."""

    def __init__(self, name: str = "", *, bounds: Bounds | None = None, wall: Callable[[], float] = time.time) -> None:
        self._memory = _named.setdefault(name, _Memory()) if name else _Memory()
        self._bounds = bounds or Bounds(ledger_rows=_LEDGER_ROWS)
        self._wall = wall
        self._origin = uuid.uuid4().hex
        self.shared = bool(name)

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do: the memory lives as long as the process."""

    async def push(self, batch: Batch) -> None:
        """Add a batch; the same batch id counts once."""
        memory, now = self._memory, self._wall()
        worker, sequence = split_id(batch.id)
        for kind, document_id, data, expires in batch.documents:
            await self.put(kind, document_id, data, expires)
        if sequence <= memory.marks.get(worker, -1):
            return
        memory.version += 1
        memory.marks[worker] = sequence
        for name, mark in batch.marks.items():
            memory.marks[name] = max(mark, memory.marks.get(name, -1))
        add_sums(memory.sums, batch.sums)
        for key in batch.sums:
            memory.changed[key] = (memory.version, now)
        before = dict(memory.maxima)
        join_maxima(memory.maxima, batch.maxima)
        for key, _ in finite(batch.maxima):
            if memory.maxima.get(key) != before.get(key):
                memory.maxima_changed[key] = memory.version
        for row in batch.ledger:
            memory.ledger.append((memory.ledger_next, dict(row)))
            memory.ledger_next += 1
        while len(memory.ledger) > self._bounds.ledger_rows:
            memory.ledger.popleft()

    async def pull(self, cursor: str) -> Pull:
        """Return what changed since a cursor."""
        memory = self._memory
        since = version_of(cursor, memory.epoch)
        return Pull(
            make_cursor(memory.epoch, memory.version),
            {key: dict(memory.sums[key]) for key, (version, _) in memory.changed.items() if version > since},
            {key: memory.maxima[key] for key, version in memory.maxima_changed.items() if version > since},
            memory.epoch,
            dict(memory.marks),
        )

    async def put(self, kind: str, document_id: str, data: bytes, expires: float | None = None) -> None:
        """Keep a document."""
        self._shelf(kind).put(document_id, bytes(data), expires)

    async def swap(
        self, kind: str, document_id: str, data: bytes, expected: bytes | None, expires: float | None = None
    ) -> bool:
        """Keep a document if it is as expected; nothing awaits in between, so it is one transaction."""
        if self._shelf(kind).get(document_id, self._wall()) != expected:
            return False
        await self.put(kind, document_id, data, expires)
        return True

    async def get(self, kind: str, document_id: str) -> bytes | None:
        """Return a document that has not expired."""
        return self._shelf(kind).get(document_id, self._wall())

    def _shelf(self, kind: str) -> Shelf:
        shelf = self._memory.documents.get(kind)
        if shelf is None:
            shelf = self._memory.documents[kind] = Shelf(self._bounds.documents, _SHELF_BYTES)
        return shelf

    async def list(self, kind: str, *, limit: int = 100, before: str = "") -> Sequence[tuple[str, bytes]]:
        """Return documents, newest id first."""
        return self._shelf(kind).list(limit, before, self._wall())

    async def delete(self, kind: str, document_id: str) -> None:
        """Forget a document."""
        self._shelf(kind).drop(document_id)

    async def ledger(
        self, *, since: float = 0.0, until: float | None = None, after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return booked rows, oldest first."""
        behind = int(after) if after else 0
        found: list[tuple[str, Mapping[str, Any]]] = []
        for number, row in self._memory.ledger:
            at = float(row.get("at", 0.0))
            if number > behind and at >= since and (until is None or at < until):
                found.append((position(number), row))
                if len(found) >= limit:
                    break
        return found

    async def lease(self, request: LeaseRequest) -> LeaseState:
        """Judge a lease; nothing awaits in between, so it is one transaction."""
        now = self._wall()
        account = self._memory.accounts.setdefault(request.account, _Account({}, 0.0))
        if len(account.rows) > ROWS_MAX:
            account.rows = fold_rows(account.rows, now, forgive=request.forgive)
        row, state = grant(account.rows, request, now)
        account.rows[request.holder] = row
        account.forget_at = now + request.keep_s
        return state

    async def take(self, request: BucketRequest) -> BucketState:
        """Take credit from a bucket."""
        bucket, state = take(self._memory.buckets.get(request.name), request, self._wall())
        self._memory.buckets[request.name] = bucket
        return state

    async def publish(self, topic: str, payload: bytes) -> None:
        """Hand an event to every other handle; a listener that does not listen loses the oldest."""
        for origin, queue in self._memory.listeners:
            if origin == self._origin:
                continue
            if queue.full():
                queue.get_nowait()
            queue.put_nowait((topic, payload))

    async def subscribe(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what other handles published from now on."""
        queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(self._bounds.events)
        entry = (self._origin, queue)
        self._memory.listeners.append(entry)
        try:
            while True:
                yield await queue.get()
        finally:
            self._memory.listeners.remove(entry)

    async def prune(self, *, ledger_before: float = 0.0) -> None:
        """Forget what expired."""
        memory, now = self._memory, self._wall()
        for shelf in memory.documents.values():
            shelf.prune(now)
        while memory.ledger and float(memory.ledger[0][1].get("at", 0.0)) < ledger_before:
            memory.ledger.popleft()
        for name in [name for name, account in memory.accounts.items() if account.forget_at < now]:
            del memory.accounts[name]
        for name in [name for name, bucket in memory.buckets.items() if bucket.at < now - 3600.0]:
            del memory.buckets[name]
        stale = sorted(memory.changed, key=lambda key: memory.changed[key])[: -self._bounds.series or None]
        too_many = stale if len(memory.changed) > self._bounds.series else []
        old = [key for key, (_, at) in memory.changed.items() if at < now - self._bounds.series_s]
        over = [key for key in memory.changed if expired(key, now)]
        for key in {*too_many, *old, *over}:
            del memory.sums[key], memory.changed[key]
