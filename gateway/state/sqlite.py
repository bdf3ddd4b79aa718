"""The embedded store: one SQLite file, shared by all workers of a machine.

One thread writes, one reads; the event loop only waits for them. Changes are found by a row version, events by polling.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gateway.state import sqlite_rows as rows
from gateway.state.sqlite_file import Damaged, connect, prepare, transaction, translated
from gateway.state.values import Bounds
from gateway.store_errors import StoreError, StoreUnavailable
from router_core.budget import LeaseRequest, LeaseState
from router_core.limits import BucketRequest, BucketState
from router_core.ports import Batch, Pull

T = TypeVar("T")

EVENT_POLL_S = 0.2


class SqliteStore:
    """One worker's handle on the file; several processes may hold one each."""

    shared = True

    def __init__(
        self, path: str | Path, *, bounds: Bounds | None = None, wall: Callable[[], float] = time.time
    ) -> None:
        self._path = Path(path)
        self._bounds = bounds or Bounds()
        self._wall = wall
        self._origin = uuid.uuid4().hex
        self._writer = _Lane(self._path, "state-writer")
        self._reader = _Lane(self._path, "state-reader")
        self._event_cursor: int | None = None
        self._closed = False

    async def open(self) -> None:
        """Create or check the file; raises StoreBroken when it cannot be used."""
        await self._writer.run(lambda _: None)
        self._event_cursor = await self._reader.run(rows.last_event)

    async def close(self) -> None:
        """Finish what was begun, then let the file go."""
        self._closed = True
        await self._writer.close()
        await self._reader.close()

    async def push(self, batch: Batch) -> None:
        """Add a batch in one transaction."""
        now = self._wall()
        await self._write(lambda db: rows.push(db, batch, now, self._bounds))

    async def pull(self, cursor: str) -> Pull:
        """Return what changed since a cursor."""
        return await self._reader.run(lambda db: rows.pull(db, cursor))

    async def put(self, kind: str, document_id: str, data: bytes, expires: float | None = None) -> None:
        """Keep a document."""
        await self._write(lambda db: rows.put(db, ((kind, document_id, data, expires),)))

    async def swap(
        self, kind: str, document_id: str, data: bytes, expected: bytes | None, expires: float | None = None
    ) -> bool:
        """Keep a document if it is as expected, in one transaction."""
        now = self._wall()
        return await self._write(lambda db: rows.swap(db, (kind, document_id, data, expires), expected, now))

    async def get(self, kind: str, document_id: str) -> bytes | None:
        """Return a document that has not expired."""
        now = self._wall()
        return await self._reader.run(lambda db: rows.get(db, kind, document_id, now))

    async def list(self, kind: str, *, limit: int = 100, before: str = "") -> Sequence[tuple[str, bytes]]:
        """Return documents, newest id first."""
        now = self._wall()
        return await self._reader.run(lambda db: rows.listing(db, kind, limit, before, now))

    async def delete(self, kind: str, document_id: str) -> None:
        """Forget a document."""
        statement = "DELETE FROM documents WHERE kind = ? AND id = ?"
        await self._write(lambda db: db.execute(statement, (kind, document_id)))

    async def ledger(
        self, *, since: float = 0.0, until: float | None = None, after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return booked rows, oldest first."""
        return await self._reader.run(lambda db: rows.ledger(db, since, until, after, limit))

    async def lease(self, request: LeaseRequest) -> LeaseState:
        """Judge a lease in one transaction."""
        now = self._wall()
        return await self._write(lambda db: rows.lease(db, request, now))

    async def take(self, request: BucketRequest) -> BucketState:
        """Take credit from a bucket in one transaction."""
        now = self._wall()
        return await self._write(lambda db: rows.take_credit(db, request, now))

    async def publish(self, topic: str, payload: bytes) -> None:
        """Write an event; the other processes read it within the polling interval."""
        now = self._wall()
        statement = "INSERT INTO events (origin, topic, payload, at) VALUES (?, ?, ?, ?)"
        await self._write(lambda db: db.execute(statement, (self._origin, topic, payload, now)))

    async def subscribe(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what other handles published since this one was opened; a file that is away is asked again."""
        cursor = self._event_cursor
        while not self._closed:
            found: Sequence[tuple[int, str, str, bytes]] = ()
            with contextlib.suppress(StoreError):
                if cursor is None:
                    cursor = await self._reader.run(rows.last_event)
                found = await self._reader.run(partial(rows.events, after=cursor))
                if not found and cursor:
                    cursor = min(cursor, await self._reader.run(rows.last_event))  # a fresh file counts from 0 again
            for number, origin, topic, payload in found:
                cursor = number
                if origin != self._origin:
                    yield topic, payload
            await asyncio.sleep(EVENT_POLL_S)

    async def prune(self, *, ledger_before: float = 0.0) -> None:
        """Forget what expired, and keep every table within its bound."""
        now = self._wall()
        await self._write(lambda db: rows.prune(db, now, ledger_before, self._bounds))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run(db: sqlite3.Connection) -> T:
            with transaction(db):
                return work(db)

        return await self._writer.run(run)


class _Lane:
    """One thread with one connection. Opens it when first used, and again when the file was damaged or replaced."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run one piece of work on the lane's thread; raises StoreError."""
        try:
            future = self._pool.submit(self._run, work)
        except RuntimeError as exc:
            msg = "the store is closed"
            raise StoreUnavailable(msg) from exc
        return await asyncio.wrap_future(future)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with translated():
                return work(self._connection())
        except Damaged:
            # Judged again under the file's lock: another process may have replaced it already.
            self._drop()
            with translated():
                return work(self._connection())

    def _connection(self) -> sqlite3.Connection:
        if self._db is not None and self._file != self._identity():
            self._drop()
        if self._db is None:
            prepare(self._path)
            self._db = connect(self._path)
            self._file = self._identity()
        return self._db

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _drop(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        self._db = None

    async def close(self) -> None:
        """Wait for the work in hand, close the connection, end the thread."""
        with contextlib.suppress(RuntimeError):
            await asyncio.wrap_future(self._pool.submit(self._drop))
        self._pool.shutdown(wait=False)
