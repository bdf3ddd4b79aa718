"""One SQLite file: opened, checked, set aside when damaged, brought to the current schema; its errors translated."""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gateway.store_errors import StoreBroken, StoreError, StoreFull, StoreUnavailable

_log = logging.getLogger("gateway.state")

BUSY_TIMEOUT_MS: Final = 2000

_PAGE: Final = 16_384
"""Bytes of a new file's page: a record of a decision fits into one, beside others."""

# Each entry brings a file from the version before to its own; they only ever add, so that an older program can go on
# working on a newer file. MIN_READER names the oldest program that can.
MIGRATIONS: Final = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE series (key TEXT PRIMARY KEY, fields TEXT NOT NULL, version INTEGER NOT NULL, touched REAL NOT NULL);
    CREATE INDEX series_version ON series (version);
    CREATE TABLE maxima (key TEXT PRIMARY KEY, value REAL NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE marks (worker TEXT PRIMARY KEY, sequence INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE documents (
      n INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, data BLOB NOT NULL, expires REAL, UNIQUE (kind, id)
    );
    CREATE INDEX documents_expires ON documents (expires) WHERE expires IS NOT NULL;
    CREATE TABLE ledger (n INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, row TEXT NOT NULL);
    CREATE INDEX ledger_at ON ledger (at);
    """,
    """
    CREATE TABLE accounts (
      account TEXT NOT NULL, holder TEXT NOT NULL, granted INTEGER NOT NULL, spent INTEGER NOT NULL,
      sequence INTEGER NOT NULL, expires REAL NOT NULL, forget_at REAL NOT NULL, PRIMARY KEY (account, holder)
    ) WITHOUT ROWID;
    CREATE INDEX accounts_forget ON accounts (forget_at);
    CREATE TABLE buckets (name TEXT PRIMARY KEY, level REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE events (
      n INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
      at REAL NOT NULL
    );
    """,
)
MIN_READER: Final = 2

_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM}
_AWAY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL}


class Damaged(StoreError):
    """The file is no database, or no longer one."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn SQLite's errors into ours, by code; a file that vanished or became read-only is away, not broken."""
    try:
        yield
    except sqlite3.Error as exc:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED:
            raise Damaged(str(exc)) from exc
        if code in _FULL:
            raise StoreFull(str(exc)) from exc
        raise StoreUnavailable(str(exc)) from exc


def connect(path: Path) -> sqlite3.Connection:
    """Open one connection in WAL mode; statements outside a transaction commit at once."""
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA page_size={_PAGE}")  # means nothing to a file that has pages already
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")  # survives kill -9; a power cut loses the last moments, never the file
        db.execute("PRAGMA journal_size_limit=33554432")
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Run a block as one write transaction, all or nothing; the write lock is taken first, so reads in it hold."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def prepare(path: Path) -> None:
    """Check the file, set a damaged one aside, and bring it to the current schema; raises StoreBroken when it cannot.

    Workers that start together take turns: only one may judge and replace a damaged file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(path.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                _check_and_migrate(path)
            except Damaged as exc:
                _set_aside(path, exc)
                _check_and_migrate(path)
    except (OSError, Damaged) as exc:
        msg = f"{path.name} cannot be opened: {exc.strerror if isinstance(exc, OSError) else exc}"
        raise StoreBroken(msg) from exc
    except StoreUnavailable as exc:
        msg = f"{path.name} cannot be written: {exc}"
        raise StoreBroken(msg) from exc


def _check_and_migrate(path: Path) -> None:
    with translated():
        db = connect(path)
        try:
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()
            if verdict is None or verdict[0] != "ok":
                msg = f"integrity check: {verdict[0] if verdict else 'no answer'}"
                raise Damaged(msg)
            migrate(db)
        finally:
            db.close()


def migrate(db: sqlite3.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> None:
    """Bring an open database to the current schema, one version a transaction; raises StoreBroken for a future one."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        needed = int(db.execute("SELECT value FROM meta WHERE key = 'min_reader'").fetchone()[0])
        if needed > len(migrations):
            msg = f"its schema {version} needs a newer gateway (this one knows {len(migrations)})"
            raise StoreBroken(msg)
        return
    for number in range(version, len(migrations)):
        with transaction(db):
            for statement in migrations[number].split(";\n"):
                if statement.strip():
                    db.execute(statement)
            db.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (uuid.uuid4().hex[:12],))
            db.execute("INSERT OR IGNORE INTO meta VALUES ('version', '0')")
            db.execute("INSERT OR REPLACE INTO meta VALUES ('min_reader', ?)", (str(min(MIN_READER, number + 1)),))
            db.execute(f"PRAGMA user_version = {number + 1}")


def _set_aside(path: Path, why: Exception) -> None:
    """Move the damaged file and its journal out of the way; what is in it may still be worth something to somebody."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    counter = 1
    while aside.exists():
        counter += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{counter}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    _log.warning("the state file was damaged (%s); it is kept as %s, and a fresh one begins", why, aside.name)
