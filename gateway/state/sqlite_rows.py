"""What the SQLite store reads and writes, statement by statement; every function runs inside a caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

from gateway.state.packing import pack, unpack
from gateway.state.values import (
    Bounds,
    add_sums,
    dump,
    finite,
    load_object,
    make_cursor,
    position,
    split_id,
    version_of,
)
from router_core.budget import ROWS_MAX, LeaseRequest, LeaseRow, LeaseState, fold_rows, grant
from router_core.limits import Bucket, BucketRequest, BucketState, take
from router_core.ports import Batch, Pull, Sums

T = TypeVar("T")
Document = tuple[str, str, bytes, float | None]
_ROWS_AT_ONCE: Final = 64
_SERIES_ANEW: Final = (
    " ON CONFLICT (key) DO UPDATE SET fields = excluded.fields, version = excluded.version, touched = excluded.touched"
)
_PLAIN: Final = frozenset({float})
_LARGE: Final = 12 * 1024
"""Documents up to here, most records of decisions, are written as they are: compressing one takes three times as long
as writing it does, and a disk has room."""


def _meta(db: sqlite3.Connection) -> tuple[str, int]:
    found = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('epoch', 'version')").fetchall())
    return found.get("epoch", ""), int(found.get("version", 0))


def push(db: sqlite3.Connection, batch: Batch, now: float, bounds: Bounds) -> None:
    """Add a batch; one that was added before only repeats its documents."""
    put(db, batch.documents)
    worker, sequence = split_id(batch.id)
    mark = db.execute("SELECT sequence FROM marks WHERE worker = ?", (worker,)).fetchone()
    if mark is not None and sequence <= mark[0]:
        return
    version = _meta(db)[1] + 1
    db.execute("UPDATE meta SET value = ? WHERE key = 'version'", (str(version),))
    _mark(db, {**batch.marks, worker: sequence}, now)
    for names in _parts(list(batch.sums)):
        _add_series(db, {name: batch.sums[name] for name in names}, version, now)
    for key, value in finite(batch.maxima):
        db.execute(
            "INSERT INTO maxima (key, value, version) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
            " SET value = excluded.value, version = excluded.version WHERE excluded.value > value",
            (key, value, version),
        )
    if batch.ledger:
        booked = [(float(row.get("at", now)), dump(row).decode()) for row in batch.ledger]
        _insert(db, "INSERT INTO ledger (at, row)", booked)
        _bound_ledger(db, bounds)


def _add_series(db: sqlite3.Connection, sums: Sums, version: int, now: float) -> None:
    """Add increments to their totals: one statement reads all of them, one writes them."""
    statement = f"SELECT key, fields FROM series WHERE key IN ({_places(len(sums))})"  # noqa: S608 - only question marks are put in
    totals = {key: _numbers(fields) for key, fields in db.execute(statement, [*sums]).fetchall()}
    add_sums(totals, sums)
    written = [(key, dump(totals[key]).decode(), version, now) for key in sums]
    _insert(db, "INSERT INTO series (key, fields, version, touched)", written, _SERIES_ANEW)


def _numbers(text: str | None) -> dict[str, float]:
    found = load_object(text) or {}
    if _PLAIN.issuperset(map(type, found.values())):  # as every gateway writes them
        return found
    return {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}


def _mark(db: sqlite3.Connection, marks: Mapping[str, int], now: float) -> None:
    db.executemany(
        "INSERT INTO marks (worker, sequence, at) VALUES (?, ?, ?) ON CONFLICT (worker) DO UPDATE"
        " SET sequence = MAX(sequence, excluded.sequence), at = excluded.at",
        [(worker, sequence, now) for worker, sequence in marks.items()],
    )


def _bound_ledger(db: sqlite3.Connection, bounds: Bounds) -> None:
    db.execute("DELETE FROM ledger WHERE n <= (SELECT MAX(n) FROM ledger) - ?", (bounds.ledger_rows,))


def pull(db: sqlite3.Connection, cursor: str) -> Pull:
    """Return what changed since a cursor, as of one moment."""
    db.execute("BEGIN")
    try:
        epoch, version = _meta(db)
        since = version_of(cursor, epoch)
        if since == version:
            return Pull(cursor, epoch=epoch)
        series = db.execute("SELECT key, fields FROM series WHERE version > ?", (since,)).fetchall()
        maxima = db.execute("SELECT key, value FROM maxima WHERE version > ?", (since,)).fetchall()
        marks = db.execute("SELECT worker, sequence FROM marks").fetchall()
    finally:
        db.execute("COMMIT")
    sums = {key: _numbers(fields) for key, fields in series}
    return Pull(make_cursor(epoch, version), sums, dict(maxima), epoch, dict(marks))


def put(db: sqlite3.Connection, documents: Iterable[Document]) -> None:
    """Keep documents; the last write wins."""
    rows = [(kind, document_id, pack(data, _LARGE), expires) for kind, document_id, data, expires in documents]
    _insert(db, "INSERT OR REPLACE INTO documents (kind, id, data, expires)", rows)


def _insert(db: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]], otherwise: str = "") -> None:
    """Write many rows in few statements: each lets go of the interpreter, and waits for it when the loop is busy."""
    for part in _parts(rows):
        places = f"({_places(len(part[0]))})"
        db.execute(f"{into} VALUES {', '.join([places] * len(part))}{otherwise}", [*chain.from_iterable(part)])


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield as many as go into one statement at a time."""
    for start in range(0, len(items), _ROWS_AT_ONCE):
        yield items[start : start + _ROWS_AT_ONCE]


def _places(count: int) -> str:
    return ", ".join("?" * count)


def swap(db: sqlite3.Connection, document: Document, expected: bytes | None, now: float) -> bool:
    """Keep a document if what is there is as expected; whether it was written."""
    if get(db, document[0], document[1], now) != expected:
        return False
    put(db, (document,))
    return True


def get(db: sqlite3.Connection, kind: str, document_id: str, now: float) -> bytes | None:
    """Return a document that has not expired."""
    statement = "SELECT data FROM documents WHERE kind = ? AND id = ? AND (expires IS NULL OR expires > ?)"
    row = db.execute(statement, (kind, document_id, now)).fetchone()
    return unpack(bytes(row[0])) if row else None


def listing(db: sqlite3.Connection, kind: str, limit: int, before: str, now: float) -> Sequence[tuple[str, bytes]]:
    """Return documents of a kind, newest id first."""
    statement = (
        "SELECT id, data FROM documents WHERE kind = ? AND (? = '' OR id < ?) AND (expires IS NULL OR expires > ?)"
        " ORDER BY id DESC LIMIT ?"
    )
    found = db.execute(statement, (kind, before, before, now, limit)).fetchall()
    return [(document_id, unpack(bytes(data))) for document_id, data in found]


def ledger(
    db: sqlite3.Connection, since: float, until: float | None, after: str, limit: int
) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Return booked rows in the order they were written."""
    statement = "SELECT n, row FROM ledger WHERE n > ? AND at >= ? AND at < ? ORDER BY n LIMIT ?"
    end = until if until is not None else 1e300
    found = db.execute(statement, (int(after or 0), since, end, limit)).fetchall()
    return [(position(number), load_object(row) or {}) for number, row in found]


def lease(db: sqlite3.Connection, request: LeaseRequest, now: float) -> LeaseState:
    """Judge a lease and write the holder's row."""
    statement = "SELECT holder, granted, spent, sequence, expires FROM accounts WHERE account = ?"
    held = {row[0]: LeaseRow(*row[1:]) for row in db.execute(statement, (request.account,))}
    forget_at = now + request.keep_s
    if len(held) > ROWS_MAX:
        held = fold_rows(held, now, forgive=request.forgive)
        db.execute("DELETE FROM accounts WHERE account = ?", (request.account,))
        for holder, row in held.items():
            _write_row(db, request.account, holder, row, forget_at)
    row, state = grant(held, request, now)
    _write_row(db, request.account, request.holder, row, forget_at)
    return state


def _write_row(db: sqlite3.Connection, account: str, holder: str, row: LeaseRow, forget_at: float) -> None:
    db.execute(
        "INSERT OR REPLACE INTO accounts (account, holder, granted, spent, sequence, expires, forget_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (account, holder, row.granted, row.spent, row.sequence, row.expires, forget_at),
    )


def take_credit(db: sqlite3.Connection, request: BucketRequest, now: float) -> BucketState:
    """Take credit from a bucket."""
    found = db.execute("SELECT level, at FROM buckets WHERE name = ?", (request.name,)).fetchone()
    bucket, state = take(Bucket(*found) if found else None, request, now)
    db.execute("INSERT OR REPLACE INTO buckets (name, level, at) VALUES (?, ?, ?)", (request.name, bucket.level, now))
    return state


def last_event(db: sqlite3.Connection) -> int:
    """Return the number of the newest event, 0 before the first."""
    found = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return int(found[0]) if found else 0


def events(db: sqlite3.Connection, after: int) -> Sequence[tuple[int, str, str, bytes]]:
    """Return events written behind a number."""
    statement = "SELECT n, origin, topic, payload FROM events WHERE n > ? ORDER BY n LIMIT 1000"
    return [(number, origin, topic, bytes(data)) for number, origin, topic, data in db.execute(statement, (after,))]


def prune(db: sqlite3.Connection, now: float, ledger_before: float, bounds: Bounds) -> None:
    """Forget what expired, and what exceeds a bound, the oldest first."""
    db.execute("DELETE FROM documents WHERE expires IS NOT NULL AND expires <= ?", (now,))
    for (kind,) in db.execute("SELECT DISTINCT kind FROM documents").fetchall():
        statement = (
            "DELETE FROM documents WHERE kind = ? AND id <= "
            "(SELECT id FROM documents WHERE kind = ? ORDER BY id DESC LIMIT 1 OFFSET ?)"
        )
        db.execute(statement, (kind, kind, bounds.documents))
    db.execute("DELETE FROM ledger WHERE at < ?", (ledger_before,))
    _bound_ledger(db, bounds)
    db.execute("DELETE FROM series WHERE touched < ?", (now - bounds.series_s,))
    # A name with ~SECONDS~ in it says itself when nobody reads the series any more; see values.expired.
    db.execute(
        "DELETE FROM series WHERE key GLOB '*~[0-9]*~*' AND CAST(substr(key, instr(key, '~') + 1) AS REAL) < ?", (now,)
    )
    statement = (
        "DELETE FROM series WHERE touched <= (SELECT touched FROM series ORDER BY touched DESC LIMIT 1 OFFSET ?)"
    )
    db.execute(statement, (bounds.series,))
    db.execute("DELETE FROM marks WHERE at < ?", (now - 7 * 86_400.0,))
    db.execute("DELETE FROM accounts WHERE forget_at < ?", (now,))
    db.execute("DELETE FROM buckets WHERE at < ?", (now - 3600.0,))
    db.execute("DELETE FROM events WHERE at < ?", (now - bounds.events_s,))
    db.execute("DELETE FROM events WHERE n <= (SELECT MAX(n) FROM events) - ?", (bounds.events,))
