from __future__ import annotations

import asyncio

import orjson
import pytest

from gateway.key_record import KIND, KeyAdmin, KeyRecord, UnknownKey
from gateway.keys import KeyRing
from gateway.state.memory import MemoryStore
from router_core.budget import Budget, Window
from router_core.errors import ConfigError

pytestmark = pytest.mark.anyio


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def test_a_created_key_opens_and_only_its_hash_is_kept(store):
    record, token = await KeyAdmin(store).create({"name": "team", "models": ["acme/m1"], "tags": ["team:a"]})
    ring = KeyRing()
    assert ring.authenticate(token) is None
    await ring.reload(store)
    principal = ring.authenticate(token)
    assert principal is not None
    assert principal.key_id == record.key_id
    assert principal.allowed_models == {"acme/m1"}
    assert principal.tags == ("team:a",)
    assert not principal.admin
    assert ring.authenticate(token.encode()) is principal
    secret = token.rsplit("-", 1)[1].encode()
    stored = b"".join(data for _, data in await store.list(KIND))
    assert secret not in stored
    assert token not in orjson.dumps(record.shown()).decode()


ODD = [
    None,
    "",
    b"",
    "wrong",
    "ü",
    "\x00",
    "\udcff",
    b"\xff\xfe",
    "'; drop table keys; --",
    "a\r\nX-Admin: 1",
    "x" * 20_000,
    "Bearer ",
    "sk-moe-abc-",
    "key ",
]


@pytest.mark.parametrize("token", ODD)
async def test_odd_tokens_open_nothing(store, token):
    await KeyAdmin(store).create({})
    ring = KeyRing(api_keys=["key"], admin_keys=["root"])
    await ring.reload(store)
    assert ring.authenticate(token) is None


async def test_static_keys_have_their_role():
    ring = KeyRing(api_keys=["client", " spaced ", ""], admin_keys=["root"], metrics_keys=["prom"])
    client, root, prom = (ring.authenticate(word) for word in ("client", "root", "prom"))
    assert (client.admin, client.metrics) == (False, False)
    assert (root.admin, root.metrics) == (True, True)
    assert (prom.admin, prom.metrics) == (False, True)
    assert ring.authenticate("spaced") is not None
    assert len({client.key_id, root.key_id, prom.key_id}) == 3
    assert ring.principal(client.key_id) is client
    assert ring.has_admin
    assert not ring.empty


async def test_taking_the_last_key_away_does_not_open_the_door(store):
    ring = KeyRing()
    assert ring.empty
    record, token = await KeyAdmin(store).create({})
    await KeyAdmin(store).revoke(record.key_id)
    await ring.reload(store)
    assert ring.authenticate(token) is None
    assert not ring.empty


async def test_an_expired_key_is_refused_at_its_second(store):
    now = 1000.0
    ring = KeyRing(wall=lambda: now)
    _, token = await KeyAdmin(store, wall=lambda: now).create({"expires_at": 1010.0})
    await ring.reload(store)
    assert ring.authenticate(token) is not None
    now = 1010.0
    assert ring.authenticate(token) is None


async def test_rotation_ends_the_old_token_at_once_or_after_a_while(store):
    now = 1000.0
    admin, ring = KeyAdmin(store, wall=lambda: now), KeyRing(wall=lambda: now)
    record, first = await admin.create({})
    _, second = await admin.rotate(record.key_id)
    await ring.reload(store)
    assert ring.authenticate(first) is None
    assert ring.authenticate(second).key_id == record.key_id
    _, third = await admin.rotate(record.key_id, grace_s=60.0)
    await ring.reload(store)
    assert ring.authenticate(second) is not None
    assert ring.authenticate(third) is not None
    now = 1060.0
    assert ring.authenticate(second) is None
    assert ring.authenticate(third) is not None


async def test_revoking_ends_every_token_and_cannot_be_rotated_away(store):
    admin, ring = KeyAdmin(store), KeyRing()
    record, first = await admin.create({})
    _, second = await admin.rotate(record.key_id, grace_s=60.0)
    await admin.revoke(record.key_id)
    await ring.reload(store)
    assert ring.authenticate(first) is None
    assert ring.authenticate(second) is None
    with pytest.raises(ConfigError, match="revoked"):
        await admin.rotate(record.key_id)
    with pytest.raises(UnknownKey):
        await admin.revoke("nobody")


async def test_a_followed_ring_hears_of_a_revocation(store):
    admin, ring = KeyAdmin(store), KeyRing()
    record, token = await admin.create({})
    task = asyncio.create_task(ring.follow(store))
    try:
        for _ in range(3000):
            if ring.authenticate(token):
                break
            await asyncio.sleep(0.01)
        assert ring.authenticate(token) is not None
        await admin.revoke(record.key_id)
        for _ in range(3000):
            if ring.authenticate(token) is None:
                break
            await asyncio.sleep(0.01)
        assert ring.authenticate(token) is None
    finally:
        task.cancel()


async def test_garbage_in_the_store_is_ignored_and_counted(store):
    _, token = await KeyAdmin(store).create({})
    for name, data in {
        "a": b"",
        "b": b"[]",
        "c": b"{}",
        "d": b'{"digest":"zz"}',
        "e": b'{"digest":"00"}',
        "f": orjson.dumps({"digest": "0" * 64, "budgets": [{"window": "week", "usd": 1}]}),
        "g": orjson.dumps({"digest": "0" * 64, "previous": 7}),
    }.items():
        await store.put(KIND, name, data)
    ring = KeyRing()
    await ring.reload(store)
    assert ring.authenticate(token) is not None
    assert ring.broken_records == 7
    assert len(await KeyAdmin(store).list()) == 1


async def test_fields_of_a_newer_gateway_survive_an_edit(store):
    admin = KeyAdmin(store)
    record, _ = await admin.create({"budgets": [{"window": "day", "usd": 1}], "limits": {"requests_per_minute": 5}})
    data = orjson.loads(await store.get(KIND, record.key_id))
    await store.put(KIND, record.key_id, orjson.dumps({**data, "v": 9, "region": "eu"}))
    edited = await admin.update(record.key_id, {"name": "new"})
    assert edited.budgets == (Budget(Window.DAY, 1.0),)
    assert edited.limits.requests_per_minute == 5
    assert orjson.loads(await store.get(KIND, record.key_id))["region"] == "eu"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"tasks": ["cooking"]}, "tasks"),
        ({"models": ["a b"]}, "models"),
        ({"models": "acme/m1"}, "models"),
        ({"tags": ["x\n"]}, "tags"),
        ({"budgets": [{"window": "day", "usd": -1}]}, "USD"),
        ({"budgets": [{"window": "day", "usd": float("nan")}]}, "USD"),
        ({"budgets": [{"window": "week", "usd": 1}]}, "budgets"),
        ({"budgets": [{"window": "day", "usd": 1}, {"window": "day", "usd": 2}]}, "one per window"),
        ({"limits": {"requests_per_minute": 0}}, "requests_per_minute"),
        ({"limits": {"rpm": 3}}, "limits"),
        ({"digest": "0"}, "unknown field"),
        ({"capture": "yes"}, "capture"),
        ({"name": "a\x00"}, "name"),
        ({"expires_at": -5}, "expires_at"),
    ],
)
async def test_impossible_wishes_name_their_field(store, changes, word):
    with pytest.raises(ConfigError, match=word):
        await KeyAdmin(store).create(changes)
    assert list(await store.list(KIND)) == []


async def test_a_static_key_is_never_shadowed(store):
    record, _ = await KeyAdmin(store).create({})
    ring = KeyRing(admin_keys=["root"])
    import hashlib

    digest = hashlib.sha256(b"root").hexdigest()
    ring.install([KeyRecord(record.key_id, digest, 0.0)])
    assert ring.authenticate("root").admin


async def test_an_edit_at_the_same_moment_does_not_bring_a_revoked_key_back(store):
    """An operator's edit has read the key, another revokes it, then the edit is written."""
    record, token = await KeyAdmin(store).create({"name": "before"})

    class Overtaken:
        """A store on which a revocation comes between reading and writing, once."""

        revoked = False

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        async def get(self, kind, name):
            data = await store.get(kind, name)
            if kind == KIND and not self.revoked:
                self.revoked = True
                await KeyAdmin(store).revoke(record.key_id)
            return data

    edited = await KeyAdmin(Overtaken()).update(record.key_id, {"name": "after"})
    assert edited.name == "after"
    assert edited.revoked_at is not None
    ring = KeyRing()
    await ring.reload(store)
    assert ring.authenticate(token) is None


async def test_edits_at_the_same_time_are_all_kept(store):
    record, _ = await KeyAdmin(store).create({})
    changes = [{"name": "n"}, {"tags": ["a"]}, {"models": ["acme/m1"]}, {"capture": False}, {"policy": "cost"}]
    await asyncio.gather(*(KeyAdmin(store).update(record.key_id, change) for change in changes))
    (kept,) = await KeyAdmin(store).list()
    assert (kept.name, kept.tags, kept.models, kept.capture, kept.policy) == ("n", ("a",), ("acme/m1",), False, "cost")


async def test_a_key_whose_answer_got_lost_is_changed_once(store):
    """The write arrived, its answer did not: the second look finds it done."""
    record, _ = await KeyAdmin(store).create({})

    class Forgetful:
        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        async def swap(self, *args):
            await store.swap(*args)
            return False

    rotated, token = await KeyAdmin(Forgetful()).rotate(record.key_id, grace_s=60.0)
    assert len(rotated.previous) == 1
    ring = KeyRing()
    await ring.reload(store)
    assert ring.authenticate(token) is not None


async def test_keys_that_a_store_forgot_are_given_back_revoked_ones_too(store):
    admin = KeyAdmin(store)
    kept, token = await admin.create({"name": "kept"})
    gone, gone_token = await admin.create({"name": "gone"})
    await admin.revoke(gone.key_id)
    rings = [KeyRing(), KeyRing()]
    for ring in rings:
        await ring.reload(store)
    emptied = MemoryStore()
    await asyncio.gather(*(ring.reload(emptied) for ring in rings))
    fresh = KeyRing()
    await fresh.reload(emptied)
    for ring in (*rings, fresh):
        await ring.reload(emptied)
        assert ring.authenticate(token) is not None
        assert ring.authenticate(gone_token) is None
        assert not ring.empty
    assert {record.key_id for record in await KeyAdmin(emptied).list()} == {kept.key_id, gone.key_id}


async def test_what_another_worker_wrote_into_an_emptied_store_stays(store):
    record, token = await KeyAdmin(store).create({"name": "old"})
    ring = KeyRing()
    await ring.reload(store)
    emptied = MemoryStore()
    await emptied.put(KIND, record.key_id, (await store.get(KIND, record.key_id)) or b"")
    await KeyAdmin(emptied).revoke(record.key_id)
    await ring.reload(emptied)
    assert ring.authenticate(token) is None
