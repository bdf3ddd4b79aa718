"""What can happen to a file: damage, a full disk, no permission, other processes, kill -9, an older or newer schema."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.state import connect_store, open_store
from gateway.state.memory import MemoryStore
from gateway.state.sqlite import SqliteStore
from gateway.state.sqlite_file import MIGRATIONS, migrate
from gateway.state.values import Bounds
from gateway.store_errors import StoreBroken, StoreError, StoreFull, StoreUnavailable
from router_core.budget import LeaseRequest
from router_core.ports import Batch
from tests.fakes.edge import until

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def filled(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.push(Batch("a:1", {f"s{n}": {"n": 1.0} for n in range(500)}))
    await store.close()


async def value(store, series: str = "s0") -> float | None:
    return (await store.pull("")).sums.get(series, {}).get("n")


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: b"this is no database at all" * 100,
        lambda data: data[: len(data) // 2],
        lambda data: data[:4096] + os.urandom(len(data) - 4096),
        lambda data: data[:50],
    ],
    ids=["garbage", "truncated", "overwritten", "cut to a stump"],
)
async def test_a_damaged_file_is_set_aside_with_one_warning(path, harm, caplog):
    await filled(path)
    damaged = harm(path.read_bytes())
    path.write_bytes(damaged)
    caplog.set_level(logging.WARNING)
    store = SqliteStore(path)
    await store.open()
    await store.push(Batch("a:1", {"s0": {"n": 7.0}}))
    assert await value(store) == 7.0
    aside = [found for found in path.parent.iterdir() if ".damaged-" in found.name]
    assert [found.read_bytes() for found in aside] == [damaged]
    assert len([record for record in caplog.records if "damaged" in record.message]) == 1
    await store.close()


async def test_an_empty_file_is_a_new_one(path):
    path.write_bytes(b"")
    store = SqliteStore(path)
    await store.open()
    await store.push(Batch("a:1", {"s0": {"n": 1.0}}))
    assert await value(store) == 1.0
    assert not [found for found in path.parent.iterdir() if ".damaged-" in found.name]
    await store.close()


async def test_workers_that_start_together_set_a_damaged_file_aside_once(path):
    path.write_bytes(b"garbage" * 10_000)
    stores = [SqliteStore(path) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.push(Batch(f"w{n}:1", {"s0": {"n": 1.0}})) for n, store in enumerate(stores)))
    assert await value(stores[0]) == 4.0
    assert len([found for found in path.parent.iterdir() if ".damaged-" in found.name]) == 1
    for store in stores:
        await store.close()


async def test_a_file_damaged_or_removed_while_open_is_replaced(path):
    store = SqliteStore(path)
    await store.open()
    await store.push(Batch("a:1", {"s0": {"n": 1.0}}))
    epoch = (await store.pull("")).epoch
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    await store.push(Batch("a:2", {"s0": {"n": 5.0}}))
    pull = await store.pull("")
    assert pull.epoch != epoch
    assert pull.sums["s0"]["n"] == 5.0
    await store.close()


async def test_a_full_disk_stops_writing_and_nothing_else(path):
    store = SqliteStore(path)
    await store.open()
    await store.push(Batch("a:1", {"s0": {"n": 1.0}}))
    pages = await store._writer.run(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await store._writer.run(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall())
    with pytest.raises(StoreFull):
        await store.push(Batch("a:2", {f"t{n}": {"n": 1.0} for n in range(5000)}))
    assert await value(store) == 1.0
    assert await value(store, "t0") is None
    await store._writer.run(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchall())
    await store.push(Batch("a:2", {f"t{n}": {"n": 1.0} for n in range(5000)}))
    assert await value(store, "t4999") == 1.0
    await store.close()


async def test_a_place_that_cannot_be_written_means_memory_and_a_warning(tmp_path):
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    store = await connect_store(f"sqlite:///{tmp_path}/file/state.db", warn=said.append)
    assert isinstance(store, MemoryStore)
    assert len(said) == 1
    assert "memory" in said[0]
    assert str(tmp_path) not in said[0]
    await store.push(Batch("a:1", {"s0": {"n": 1.0}}))
    assert await value(store) == 1.0


async def test_a_locked_file_is_waited_for_and_then_given_up(path, monkeypatch):
    monkeypatch.setattr("gateway.state.sqlite_file.BUSY_TIMEOUT_MS", 200)
    store = SqliteStore(path)
    await store.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await store.push(Batch("a:1", {"s0": {"n": 1.0}}))
    assert await value(store) is None  # readers are not held up
    await store.close()
    monkeypatch.setattr("gateway.state.sqlite_file.BUSY_TIMEOUT_MS", 60_000)
    other.execute("COMMIT")
    store = SqliteStore(path)
    await store.open()
    other.execute("BEGIN IMMEDIATE")
    push = asyncio.create_task(store.push(Batch("a:1", {"s0": {"n": 1.0}})))
    await asyncio.sleep(0.05)
    assert not push.done()
    other.execute("COMMIT")
    await push
    assert await value(store) == 1.0
    other.close()
    await store.close()


async def test_an_older_schema_is_brought_up_and_keeps_what_it_held(path):
    db = sqlite3.connect(path, isolation_level=None)
    migrate(db, MIGRATIONS[:1])
    db.execute("INSERT INTO documents (kind, id, data) VALUES ('keys', 'k1', x'7b7d')")
    db.execute("INSERT INTO series VALUES ('s0', '{\"n\":3.0}', 1, 0)")
    assert db.execute("PRAGMA user_version").fetchone()[0] == 1
    db.close()
    store = SqliteStore(path)
    await store.open()
    assert await store.get("keys", "k1") == b"{}"
    assert await value(store) == 3.0
    assert (await store.lease(LeaseRequest("key:k", "w", 1, 10, need=1, want=1))).granted == 1
    await store.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    db.close()


async def test_a_newer_schema_is_used_where_it_allows_it_and_left_alone_where_not(path):
    await filled(path)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("ALTER TABLE series ADD COLUMN later TEXT")
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    store = SqliteStore(path)
    await store.open()
    await store.push(Batch("b:1", {"s0": {"n": 1.0}}))
    assert await value(store) == 2.0
    await store.close()
    db.execute(f"UPDATE meta SET value = '{len(MIGRATIONS) + 1}' WHERE key = 'min_reader'")
    db.close()
    refused = SqliteStore(path)
    with pytest.raises(StoreBroken, match="newer"):
        await refused.open()
    await refused.close()
    assert not [found for found in path.parent.iterdir() if ".damaged-" in found.name]


async def test_everything_is_bounded(path):
    now = time.time()
    store = SqliteStore(path, bounds=Bounds(documents=5, ledger_rows=7, series=3, events=4, events_s=1000.0))
    await store.open()
    rows = [{"at": now, "n": n} for n in range(20)]
    await store.push(Batch("a:1", ledger=rows, documents=[("k", f"{n:02d}", b"{}", None) for n in range(9)]))
    for n in range(6):
        await store.push(Batch(f"a:{n + 2}", {f"s{n}": {"n": 1.0}}))
        await store.publish("t", b"x")
        await asyncio.sleep(0.002)
    await store.put("k", "expired", b"{}", now - 1.0)
    await store.prune()
    assert [row["n"] for _, row in await store.ledger()] == list(range(13, 20))
    assert [name for name, _ in await store.list("k")] == ["08", "07", "06", "05", "04"]
    assert set((await store.pull("")).sums) == {"s3", "s4", "s5"}
    count = await store._reader.run(lambda db: db.execute("SELECT COUNT(*) FROM events").fetchone()[0])
    assert count == 4
    await store.close()


async def test_a_closed_store_says_so(path):
    store = SqliteStore(path)
    await store.open()
    await store.close()
    with pytest.raises(StoreError):
        await store.push(Batch("a:1"))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://host/x", "what://x", "sqlite", ""])
async def test_a_url_that_names_no_store_is_refused(url):
    with pytest.raises(StoreBroken):
        open_store(url)


_WRITER = """
import asyncio, os, sys
sys.path.insert(0, {root!r})
from gateway.state import open_store
from router_core.budget import LeaseRequest
from router_core.ports import Batch
from tests.fakes.edge import until

async def main():
    store = open_store(sys.argv[1])
    await store.open()
    said = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in range(1, 100000):
        await store.push(Batch("w:%d" % number, {{"s0": {{"n": 1.0}}}}, ledger=[{{"at": 1.0, "n": number}}]))
        await store.lease(LeaseRequest("key:k", "w", number, 10**9, floor=number - 1, need=1, want=1))
        os.write(said, b"x")

asyncio.run(main())
"""


@pytest.mark.slow
async def test_kill_dash_nine_never_damages_the_file_and_loses_nothing_that_was_confirmed(path):
    script = path.with_name("writer.py")
    script.write_text(_WRITER.format(root=str(ROOT)))
    confirmed = before = 0
    for turn in range(4):
        said = path.with_name(f"said{turn}")
        process = await asyncio.to_thread(
            subprocess.Popen, [sys.executable, str(script), f"sqlite:///{path}", str(said)]
        )
        await until(lambda said=said, turn=turn: said.exists() and said.stat().st_size > 30 + 20 * turn, 90.0)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        store = SqliteStore(path)
        await store.open()
        count = said.stat().st_size
        rows = await store.ledger(limit=100_000)
        if turn == 0:
            assert count <= len(rows) <= count + 1
            held = await store.lease(LeaseRequest("key:k", "other", 1, 10**9))
            assert count <= held.committed <= count + 1
        assert await value(store) == len(rows) >= confirmed
        # The next writer takes the same name: its first batches are repetitions until it passes the old mark.
        confirmed, before = len(rows), count
        await store.close()
    assert before
    assert not [found for found in path.parent.iterdir() if ".damaged-" in found.name]
