"""How documents lie in a SQLite file: as they are up to some size, in pages that hold several."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from gateway.state.packing import unpack
from gateway.state.sqlite import SqliteStore
from gateway.state.sqlite_file import MIGRATIONS

pytestmark = pytest.mark.anyio

FIRST_LAYOUT = """
CREATE TABLE documents (
  kind TEXT NOT NULL, id TEXT NOT NULL, data BLOB NOT NULL, expires REAL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX documents_expires ON documents (expires) WHERE expires IS NOT NULL;
"""


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    await store.open()
    return store


async def test_only_what_is_large_is_compressed(tmp_path: Path):
    store = await opened(tmp_path / "state.db")
    written = {"small": b'{"a":1}' * 1000, "large": b'{"a":1}' * 10_000}
    for name, data in written.items():
        await store.put("decision", name, data)
    assert {name: await store.get("decision", name) for name in written} == written
    await store.close()
    with sqlite3.connect(tmp_path / "state.db") as db:
        lying = dict(db.execute("SELECT id, data FROM documents").fetchall())
    assert lying["small"] == written["small"]
    assert len(lying["large"]) < 1000
    assert unpack(lying["large"]) == written["large"]


async def test_records_of_decisions_take_hardly_more_of_a_file_than_they_are_long(tmp_path: Path):
    store = await opened(tmp_path / "state.db")
    for number in range(600):
        await store.put("decision", f"dec_{number:08x}", random.Random(number).randbytes(5000))
    await store.close()
    assert (tmp_path / "state.db").stat().st_size < 600 * 5000 * 1.25


async def test_a_file_that_was_made_with_other_pages_and_another_layout_goes_on(tmp_path: Path):
    path = tmp_path / "state.db"
    db = sqlite3.connect(path)
    for number, script in enumerate(MIGRATIONS):
        db.executescript(script)
        db.execute(f"PRAGMA user_version = {number + 1}")
    db.executescript("DROP TABLE documents;" + FIRST_LAYOUT)
    db.executescript("INSERT INTO meta VALUES ('epoch', 'e'), ('version', '0'), ('min_reader', '2')")
    db.execute("INSERT INTO documents VALUES ('decision', 'old', x'7b7d', NULL)")
    db.commit()
    db.close()
    store = await opened(path)
    await store.put("decision", "new", b"{}" * 20_000)
    await store.put("decision", "new", b"[]")
    assert await store.swap("decision", "old", b"{1}", expected=b"{}")
    assert await store.list("decision") == [("old", b"{1}"), ("new", b"[]")]
    await store.delete("decision", "old")
    assert await store.get("decision", "old") is None
    await store.close()
