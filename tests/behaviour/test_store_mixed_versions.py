"""While gateways are rolled, a newer one writes shapes an older one does not know: they do no harm and stay as they are."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest

from gateway.key_record import KIND, KeyAdmin
from gateway.keys import KeyRing
from gateway.ledger import as_csv, read
from gateway.sharing import Sharing
from gateway.state import Exchanger, open_store, redis_link
from gateway.state.sqlite import SqliteStore
from gateway.state.sqlite_file import MIGRATIONS, migrate
from gateway.store_errors import StoreError
from router_core.budget import LeaseRequest
from router_core.limits import BucketRequest
from router_core.ports import Batch, StateStore
from tests.contract.redis_server import RedisServer, running
from tests.fakes.contexts import context, served, services

pytestmark = pytest.mark.anyio


def now() -> float:
    """The machine's: what is to be alive must be so when the test runs, not when the file was read."""
    return time.time()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running() as found:
        yield found


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer in a tenth of a second is what a gateway counts on, not what a test of something else may."""
    for name in ("TIMEOUT_S", "CONNECT_S", "CALL_S"):
        monkeypatch.setattr(redis_link, name, 30.0)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateStore]:
    if request.param == "redis":
        found = request.getfixturevalue("server")
        found.command("FLUSHALL")
        opened = open_store(found.url)
    else:
        opened = open_store(f"sqlite:///{tmp_path}/state.db")
    await opened.open()
    yield opened
    await opened.close()


async def of_a_newer_gateway(store: StateStore) -> None:
    """Write what a later version might: more fields, more kinds, another form of what we know."""
    await store.push(
        Batch(
            "newer:1",
            {
                "acme/m1|general": {"n": 1.0, "future": 5.0},
                "row|later|x|y|z": {"q": 1.0},
                "seen|later|": {"n": 1.0},
                "exp|no such|arm": {"reward.n": 1.0},
                "shd|": {"x": 1.0},
            },
            {"later": 3.0},
            [("later", "l1", b"\xff\x00", None), ("decisions", "d1", b'{"v":9,"shape":["new"]}', None)],
            [{"at": now(), "request_id": "r1", "later": {"deep": [1]}, "cost_usd": 0.5}],
        )
    )
    await store.publish("later-topic", b"\xff")
    await store.publish("circuit", b'{"deployment":"acme/m1","state":"melted"}')


async def test_a_newer_gateways_shapes_do_no_harm_and_stay(store: StateStore):
    await of_a_newer_gateway(store)
    parts = services(store=store)
    sharing = Sharing(parts)
    exchanger = Exchanger(store, collect=sharing.collect, apply=(sharing.apply, sharing.observe))
    assert await exchanger.flush()
    ctx = context(parts)
    parts.recorder.finish(ctx, served(ctx))
    parts.recorder.drain()
    assert await exchanger.flush()
    assert await exchanger.flush()
    assert exchanger.counters.learner_errors == 0
    await store.push(Batch("older:1", {"acme/m1|general": {"n": 2.0}}))
    pull = await store.pull("")
    assert dict(pull.sums["acme/m1|general"]) == {"n": 3.0, "future": 5.0}
    assert dict(pull.sums["row|later|x|y|z"]) == {"q": 1.0}
    assert pull.maxima["later"] == 3.0
    assert await store.get("later", "l1") == b"\xff\x00"
    assert ctx.decision_id


async def test_a_newer_ledger_row_is_read_and_exported(store: StateStore):
    await of_a_newer_gateway(store)
    rows = [row async for row in read(store)]
    assert [row["request_id"] for row in rows] == ["r1"]
    assert rows[0]["later"] == {"deep": [1]}
    assert ",0.5," in as_csv(rows)


async def test_a_newer_key_opens_and_an_edit_keeps_what_it_does_not_know(store: StateStore):
    admin = KeyAdmin(store)
    record, token = await admin.create({"name": "a"})
    stored = orjson.loads(await store.get(KIND, record.key_id) or b"{}")
    await store.put(KIND, record.key_id, orjson.dumps({**stored, "v": 7, "region": "eu"}))
    ring = KeyRing()
    await ring.reload(store)
    assert ring.authenticate(token) is not None
    await admin.update(record.key_id, {"name": "b"})
    kept = orjson.loads(await store.get(KIND, record.key_id) or b"{}")
    assert (kept["name"], kept["region"]) == ("b", "eu")


async def test_the_next_namespace_is_not_ours_to_touch(server: RedisServer):
    server.command("FLUSHALL")
    server.command("SET", "moe:v2:{d:keys}:i:k", "theirs")
    store = open_store(server.url)
    await store.open()
    await of_a_newer_gateway(store)
    assert await store.get(KIND, "k") is None
    await store.prune(ledger_before=now() + 10.0)
    assert server.command("GET", "moe:v2:{d:keys}:i:k") == b"$6\r\ntheirs\r\n"
    await store.close()


# --- SQLite's schema


def older(path: Path, version: int) -> None:
    """Make a file of an older version with something in every table it has."""
    db = sqlite3.connect(path, isolation_level=None)
    migrate(db, MIGRATIONS[:version])
    assert db.execute("PRAGMA user_version").fetchone()[0] == version
    if version >= 1:
        db.execute("INSERT INTO documents (kind, id, data, expires) VALUES ('keys', 'k1', x'7b7d', NULL)")
        db.execute("INSERT INTO series VALUES ('s0', '{\"n\":3.0}', 1, ?)", (now(),))
        db.execute("INSERT INTO maxima VALUES ('m', 2.5, 1)")
        db.execute("INSERT INTO marks VALUES ('w', 4, ?)", (now(),))
        db.execute("INSERT INTO ledger (at, row) VALUES (?, ?)", (now(), '{"request_id":"r1"}'))
        db.execute("UPDATE meta SET value = '1' WHERE key = 'version'")
    if version >= 2:
        db.execute("INSERT INTO accounts VALUES ('a', 'h', 5, 3, 1, ?, ?)", (now() + 600.0, now() + 6000.0))
        db.execute("INSERT INTO buckets VALUES ('b', 7.0, ?)", (now(),))
    db.close()


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
async def test_a_file_of_every_older_version_is_brought_up_with_all_it_holds(tmp_path: Path, version: int):
    path = tmp_path / "state.db"
    older(path, version)
    store = SqliteStore(path)
    await store.open()
    if version >= 1:
        pull = await store.pull("")
        assert (pull.sums["s0"]["n"], pull.maxima["m"], pull.marks["w"]) == (3.0, 2.5, 4)
        assert await store.get("keys", "k1") == b"{}"
        assert [row["request_id"] for _, row in await store.ledger()] == ["r1"]
    if version >= 2:
        assert (await store.lease(LeaseRequest("a", "other", 1, 10, need=5, want=10))).granted == 5
    await store.push(Batch("w:5", {"s0": {"n": 1.0}}, documents=[("keys", "k2", b"{}", None)]))
    assert (await store.pull("")).sums["s0"]["n"] == (4.0 if version else 1.0)
    assert (await store.take(BucketRequest("c", 60, need=1, want=1))).granted == 1.0
    await store.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    db.close()
    assert not [name for name in os.listdir(tmp_path) if "damaged" in name]  # noqa: PTH208


@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
async def test_a_migration_that_breaks_off_leaves_the_version_before(tmp_path: Path, version: int):
    path = tmp_path / "state.db"
    older(path, version)
    db = sqlite3.connect(path, isolation_level=None)
    broken = (*MIGRATIONS[:version], MIGRATIONS[version] + ";\nCREATE TABLE nonsense nonsense")
    with pytest.raises((sqlite3.Error, StoreError)):
        migrate(db, broken)
    assert db.execute("PRAGMA user_version").fetchone()[0] == version
    db.close()
    store = SqliteStore(path)
    await store.open()  # the next one finds it as it was and brings it up
    await store.push(Batch("a:1", {"s1": {"n": 1.0}}))
    await store.close()
