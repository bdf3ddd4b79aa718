"""What every store promises, the same cases against each of them."""

from __future__ import annotations

import asyncio
import math
import random
import time
import zlib

import pytest

from router_core.budget import LeaseRequest, LeaseRow, grant
from router_core.limits import BucketRequest
from router_core.ports import Batch, StateStore
from tests.fakes.edge import until

pytestmark = pytest.mark.anyio


async def test_an_empty_store_has_nothing(store: StateStore):
    pull = await store.pull("")
    assert dict(pull.sums) == {}
    assert dict(pull.maxima) == {}
    assert await store.get("decisions", "none") is None
    assert list(await store.list("decisions")) == []
    assert list(await store.ledger()) == []


async def test_sums_add_up_across_workers(store: StateStore, other: StateStore):
    await store.push(Batch("a:1", {"acme/m1|general": {"n": 1.0, "ok": 0.5}}))
    await other.push(Batch("b:1", {"acme/m1|general": {"n": 2.0}, "beta/m2|math": {"n": 1e-30}}))
    pull = await store.pull("")
    assert {key: dict(fields) for key, fields in pull.sums.items()} == {
        "acme/m1|general": {"n": 3.0, "ok": 0.5},
        "beta/m2|math": {"n": 1e-30},
    }


@pytest.mark.parametrize("value", [1e-300, 1.7e308, -0.1, 123456789.123456789, 2.0**-1074])
async def test_a_number_comes_back_as_it_was(store: StateStore, value: float):
    await store.push(Batch("a:1", {"s": {"x": value}}, {"m": value}))
    pull = await store.pull("")
    assert pull.sums["s"]["x"] == value
    assert pull.maxima["m"] == value


async def test_the_same_batch_counts_once(store: StateStore, other: StateStore):
    batch = Batch("a:1", {"s": {"n": 1.0}}, ledger=[{"at": 1.0, "request_id": "r1"}])
    await store.push(batch)
    await other.push(batch)
    await store.push(batch)
    assert (await store.pull("")).sums["s"]["n"] == 1.0
    assert len(await store.ledger()) == 1


async def test_an_older_batch_of_a_worker_is_a_repetition(store: StateStore):
    await store.push(Batch("a:1", {"s": {"n": 1.0}}))
    await store.push(Batch("a:2", {"s": {"n": 1.0}}))
    await store.push(Batch("a:1", {"s": {"n": 1.0}}))
    assert (await store.pull("")).sums["s"]["n"] == 2.0


async def test_a_cursor_yields_only_what_changed(store: StateStore, other: StateStore):
    await store.push(Batch("a:1", {"s": {"n": 1.0}, "t": {"n": 1.0}}, {"m": 1.0}))
    first = await other.pull("")
    assert set(first.sums) == {"s", "t"}
    await store.push(Batch("a:2", {"t": {"n": 1.0}}))
    second = await other.pull(first.cursor)
    assert {key: dict(fields) for key, fields in second.sums.items()} == {"t": {"n": 2.0}}
    assert dict(second.maxima) == {}
    third = await other.pull(second.cursor)
    assert dict(third.sums) == {}
    assert second.epoch == first.epoch == third.epoch != ""


async def test_a_cursor_of_another_memory_yields_everything(store: StateStore):
    await store.push(Batch("a:1", {"s": {"n": 1.0}}))
    for cursor in ("elsewhere:999999", "nonsense", "\x00", "a:b:c", ":"):
        assert set((await store.pull(cursor)).sums) == {"s"}


async def test_maxima_join(store: StateStore, other: StateStore):
    await store.push(Batch("a:1", maxima={"m": 3.0, "k": -5.0}))
    await other.push(Batch("b:1", maxima={"m": 2.0, "k": -4.0}))
    assert dict((await store.pull("")).maxima) == {"m": 3.0, "k": -4.0}


async def test_what_is_no_number_is_dropped(store: StateStore):
    await store.push(Batch("a:1", {"s": {"n": 1.0, "bad": math.nan, "worse": math.inf}}, {"m": math.nan, "k": 1.0}))
    await store.push(Batch("a:2", {"s": {"n": math.nan}}))
    pull = await store.pull("")
    assert dict(pull.sums["s"]) == {"n": 1.0}
    assert dict(pull.maxima) == {"k": 1.0}


async def test_marks_say_what_a_memory_contains(store: StateStore):
    await store.push(Batch("a:7", {"s": {"n": 1.0}}))
    await store.push(Batch("restore-x:1", {"s": {"n": 5.0}}, marks={"b": 3, "a": 2}))
    assert (await store.pull("")).marks["a"] == 7
    await store.push(Batch("b:3", {"s": {"n": 100.0}}))
    await store.push(Batch("b:4", {"s": {"n": 1.0}}))
    assert (await store.pull("")).sums["s"]["n"] == 7.0


async def test_documents_are_kept_replaced_and_forgotten(store: StateStore, other: StateStore):
    await store.push(Batch("a:1", documents=[("decisions", "d1", b'{"v":1}', None)]))
    assert await other.get("decisions", "d1") == b'{"v":1}'
    await other.put("decisions", "d1", b'{"v":2}')
    assert await store.get("decisions", "d1") == b'{"v":2}'
    assert await store.get("experiments", "d1") is None
    await store.delete("decisions", "d1")
    await store.delete("decisions", "d1")
    assert await other.get("decisions", "d1") is None
    assert list(await store.list("decisions")) == []


async def test_a_swap_writes_only_over_what_was_read(store: StateStore, other: StateStore):
    assert not await store.swap("keys", "k", b"2", b"1")
    assert await store.swap("keys", "k", b"1", None)
    assert not await other.swap("keys", "k", b"9", None)
    assert not await other.swap("keys", "k", b"9", b"2")
    assert await other.get("keys", "k") == b"1"
    assert await other.swap("keys", "k", b"", b"1")
    assert not await store.swap("keys", "k", b"9", None)  # an empty document is one, too
    assert await store.swap("keys", "k", b"\x00{}", b"")
    assert list(await other.list("keys")) == [("k", b"\x00{}")]
    await store.delete("keys", "k")
    assert await other.swap("keys", "k", b"new", None)


async def test_a_swap_keeps_until_its_time_and_takes_an_expired_one_for_none(store: StateStore):
    now = time.time()
    assert await store.swap("votes", "kept", b"1", None, now + 100.0)
    assert not await store.swap("votes", "kept", b"2", None, now + 100.0)
    assert await store.swap("votes", "v", b"1", None, time.time() + 0.05)
    await asyncio.sleep(0.1)
    assert not await store.swap("votes", "v", b"2", b"1", now + 100.0)
    assert await store.swap("votes", "v", b"2", None, now + 100.0)
    await store.prune()
    assert await store.get("votes", "v") == b"2"


async def test_of_many_swaps_at_once_one_wins_and_none_is_lost(store: StateStore, other: StateStore):
    firsts = await asyncio.gather(*((store if n % 2 else other).swap("votes", "v", b"%d" % n, None) for n in range(20)))
    assert sum(firsts) == 1

    async def count(handle: StateStore) -> None:
        for _ in range(10):
            while True:
                read = await handle.get("numbers", "n")
                if await handle.swap("numbers", "n", b"%d" % (int(read or b"0") + 1), read):
                    break

    await asyncio.gather(count(store), count(other), count(store))
    assert await store.get("numbers", "n") == b"30"


@pytest.mark.parametrize(
    "data",
    [
        b'{"candidate": 1, "score": 0.5},' * 500,
        random.Random(4).randbytes(5000),
        zlib.compress(b"x" * 5000),
        b"\0z",
        b"\0z" + zlib.compress(b"another"),
        b"\0" * 2000,
        b"",
    ],
    ids=["repeats", "random", "compressed", "mark", "marked", "zeros", "empty"],
)
async def test_documents_come_back_byte_for_byte(store: StateStore, other: StateStore, data: bytes):
    await store.push(Batch("a:1", documents=[("decisions", "pushed", data, None)]))
    await store.put("decisions", "put", data)
    assert await store.swap("decisions", "swapped", data, None)
    assert await other.swap("decisions", "swapped", data + b"!", data)
    assert [await other.get("decisions", name) for name in ("pushed", "put", "swapped")] == [data, data, data + b"!"]
    assert [held for _, held in await other.list("decisions")] == [data + b"!", data, data]
    assert not await other.swap("decisions", "pushed", b"new", data + b"?")
    assert await other.swap("decisions", "pushed", b"new", data)
    assert await store.get("decisions", "pushed") == b"new"


async def test_documents_are_listed_newest_id_first(store: StateStore):
    for name in ("b", "d", "a", "c"):
        await store.put("decisions", name, name.encode())
    assert list(await store.list("decisions", limit=2)) == [("d", b"d"), ("c", b"c")]
    assert list(await store.list("decisions", before="c")) == [("b", b"b"), ("a", b"a")]
    assert list(await store.list("decisions", before="a")) == []


async def test_an_expired_document_is_gone(store: StateStore):
    now = time.time()
    await store.put("feedback", "old", b"{}", now - 1.0)
    await store.put("feedback", "new", b"{}", now + 100.0)
    assert await store.get("feedback", "old") is None
    assert [name for name, _ in await store.list("feedback")] == ["new"]
    await store.prune()
    assert await store.get("feedback", "new") == b"{}"


async def test_odd_document_names_are_only_names(store: StateStore):
    for name in ("a:b", "{x}", "ä/ö", "a b", "'; drop table documents; --", "*"):
        await store.put("decisions", name, b"1")
        assert await store.get("decisions", name) == b"1"
    assert len(await store.list("decisions")) == 6


async def test_the_ledger_is_read_in_pages(store: StateStore, other: StateStore):
    await store.push(Batch("a:1", ledger=[{"at": float(n), "request_id": f"r{n}", "cost_usd": 0.1} for n in range(5)]))
    await other.push(Batch("b:1", ledger=[{"at": 5.0, "request_id": "r5"}]))
    first = await store.ledger(limit=2)
    rest = await store.ledger(after=first[-1][0])
    assert [row["request_id"] for _, row in [*first, *rest]] == [f"r{n}" for n in range(6)]
    assert [row["request_id"] for _, row in await store.ledger(since=1.0, until=3.0)] == ["r1", "r2"]
    assert first[0][1]["cost_usd"] == 0.1


async def test_a_series_is_forgotten_after_the_second_its_name_says(store: StateStore):
    now = int(time.time())
    over, later, plain = f"seen|~{now - 10}~x", f"seen|~{now + 3600}~x", "row|a~b/c|analysis"
    await store.push(Batch("w:1", {over: {"n": 1.0}, later: {"n": 1.0}, plain: {"n": 1.0}}))
    await store.prune()
    assert set((await store.pull("")).sums) == {later, plain}


async def test_old_ledger_rows_are_pruned(store: StateStore):
    now = time.time()
    await store.push(Batch("a:1", ledger=[{"at": now - 1000.0, "n": 1}, {"at": now, "n": 2}]))
    await store.prune(ledger_before=now - 500.0)
    assert [row["n"] for _, row in await store.ledger()] == [2]


async def test_events_reach_the_others_and_not_oneself(store: StateStore, other: StateStore):
    heard: list[tuple[str, bytes]] = []
    own: list[tuple[str, bytes]] = []

    async def listen(to: StateStore, into: list[tuple[str, bytes]]) -> None:
        async for event in to.subscribe():
            into.append(event)  # noqa: PERF401 - it never ends; the list is read while it grows

    tasks = [asyncio.create_task(listen(other, heard)), asyncio.create_task(listen(store, own))]
    async with asyncio.timeout(60):
        while not (heard and own):  # what is published before they listen is not for them
            await store.publish("from store", b"")
            await other.publish("from other", b"")
            await asyncio.sleep(0.05)
        await store.publish("breaker", b"\x00open")
        await store.publish("keys", b"k1")
        await other.publish("last", b"")
        await until(lambda: heard[-1][0] == "keys" and own[-1][0] == "last")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [event for event in heard if event[0] != "from store"] == [("breaker", b"\x00open"), ("keys", b"k1")]
    assert {topic for topic, _ in own} == {"from other", "last"}


def _lease(holder: str, sequence: int, **amounts: int) -> LeaseRequest:
    values = {"limit": 100, "spent": 0, "floor": 0, "need": 0, "want": 0, **amounts}
    return LeaseRequest("key:k|day|2026-01-01", holder, sequence, **values)


async def test_a_lease_never_grants_more_than_the_limit(store: StateStore, other: StateStore):
    first = await store.lease(_lease("a", 1, need=10, want=60))
    assert (first.granted, first.committed, first.holders) == (60, 60, 1)
    second = await other.lease(_lease("b", 1, need=10, want=60))
    assert (second.granted, second.committed, second.holders) == (40, 100, 2)
    third = await store.lease(_lease("c", 1, need=1, want=1))
    assert (third.granted, third.committed) == (0, 100)


async def test_a_lease_that_cannot_be_widened_gives_its_room_back(store: StateStore, other: StateStore):
    await store.lease(_lease("a", 1, need=90, want=95))
    await other.lease(_lease("b", 1, need=5, want=5))
    back = await other.lease(_lease("b", 2, need=10, want=10))
    assert back.granted == 0
    assert back.committed == 95


async def test_a_repeated_or_late_lease_changes_nothing(store: StateStore):
    await store.lease(_lease("a", 2, spent=10, floor=20, need=5, want=5))
    again = await store.lease(_lease("a", 2, spent=10, floor=20, need=5, want=5))
    late = await store.lease(_lease("a", 1, need=70, want=70))
    assert again == late
    assert (again.granted, again.spent) == (25, 10)


async def test_a_dead_holder_keeps_what_it_was_granted(store: StateStore, other: StateStore):
    dead = LeaseRequest("key:k|total", "a", 1, 100, spent=5, floor=10, need=10, want=20, lease_s=0.01)
    await store.lease(dead)
    await asyncio.sleep(0.05)
    alive = await other.lease(LeaseRequest("key:k|total", "b", 1, 100, need=1, want=100))
    assert (alive.granted, alive.spent, alive.holders) == (70, 30, 1)
    # It was only slow: its own report corrects what was assumed of it.
    await store.lease(LeaseRequest("key:k|total", "a", 2, 100, spent=6, floor=6))
    last = await other.lease(LeaseRequest("key:k|total", "b", 2, 100, floor=0, need=1, want=100))
    assert (last.granted, last.spent) == (94, 6)


async def test_a_dead_holder_of_places_frees_them(store: StateStore, other: StateStore):
    await store.lease(LeaseRequest("open:k", "a", 1, 2, floor=2, lease_s=0.01, forgive=True))
    await asyncio.sleep(0.05)
    state = await other.lease(LeaseRequest("open:k", "b", 1, 2, need=2, want=2, forgive=True))
    assert (state.granted, state.committed) == (2, 2)


async def test_leases_are_judged_as_the_pure_function_does(store: StateStore):
    """A thousand random requests, held against ``grant`` step by step."""
    rng = random.Random(7)
    rows: dict[str, LeaseRow] = {}
    for step in range(1000):
        spent = rng.randrange(0, 10**9)
        need = rng.randrange(0, 10**9)
        request = LeaseRequest(
            "key:r|month|2026-01",
            f"w{rng.randrange(6)}",
            rng.randrange(0, 2 * step + 1),
            rng.choice([8 * 10**9, 4 * 10**15]),
            spent=spent,
            floor=spent + rng.randrange(0, 10**8),
            need=need,
            want=need + rng.randrange(0, 10**15),
            lease_s=1000.0,
        )
        row, expected = grant(rows, request, time.time())
        rows[request.holder] = row
        assert await store.lease(request) == expected


async def test_an_account_of_many_dead_holders_stays_small_and_exact(store: StateStore):
    for number in range(150):
        granted = LeaseRequest("key:m|total", f"w{number}", 1, 10**6, floor=0, need=3, want=3, lease_s=-8 * 86400.0)
        await store.lease(granted)
    state = await store.lease(LeaseRequest("key:m|total", "last", 1, 10**6, need=1, want=10**6))
    assert state.granted == 10**6 - 450
    assert state.spent == 450


async def test_many_at_once_get_no_more_than_the_limit(store: StateStore, other: StateStore):
    requests = [
        (store if n % 2 else other).lease(LeaseRequest("key:p|total", f"w{n}", 1, 1000, need=7, want=7))
        for n in range(160)
    ]
    states = await asyncio.gather(*requests)
    assert sum(state.granted for state in states) == 994


async def test_a_bucket_lends_what_it_has(store: StateStore, other: StateStore):
    first = await store.take(BucketRequest("rpm:k", 60, need=1, want=50))
    second = await other.take(BucketRequest("rpm:k", 60, need=1, want=50))
    assert first.granted == 50.0
    assert second.granted == pytest.approx(10.0, abs=4.9)  # one more a second
    refused = await store.take(BucketRequest("rpm:k", 60, need=5, want=5))
    assert refused.granted == 0.0
    assert 0.0 < refused.retry_after_s <= 5.0


async def test_a_bucket_takes_back_what_was_not_used(store: StateStore):
    await store.take(BucketRequest("tpm:k", 1000, need=1000, want=1000))
    state = await store.take(BucketRequest("tpm:k", 1000, need=100, want=100, back=600))
    assert state.granted == 100.0
    assert state.level == pytest.approx(500.0, abs=200.0)  # seventeen more a second


async def test_a_call_larger_than_the_bucket_passes_when_it_is_full(store: StateStore):
    assert (await store.take(BucketRequest("big:k", 100, need=250, want=250))).granted == 250.0
    refused = await store.take(BucketRequest("big:k", 100, need=1, want=1))
    assert refused.granted == 0.0
    assert refused.retry_after_s == pytest.approx(90.6, abs=20.0)
