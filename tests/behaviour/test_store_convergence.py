"""However the work is spread over workers, and whatever happens to the store, the shared sums come out the same."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "contract"))

from redis_server import RedisServer, require

from gateway.state import Exchanger, open_store
from gateway.state.memory import MemoryStore
from gateway.store_errors import StoreUnavailable
from router_core.ports import Batch

pytestmark = pytest.mark.anyio


class Shaky(MemoryStore):
    """Fails before or after it did what it was asked for, as a network does; may also lose all it had."""

    def __init__(self, name: str, rng: random.Random, share: float) -> None:
        super().__init__(name)
        self._rng = rng
        self.share = share

    async def push(self, batch):
        await self._maybe()
        await super().push(batch)
        await self._maybe()

    async def pull(self, cursor):
        await self._maybe()
        return await super().pull(cursor)

    async def _maybe(self):
        await asyncio.sleep(0)
        if self._rng.random() < self.share:
            raise StoreUnavailable


class Worker:
    """A learner in small: totals of all, plus what is not delivered yet."""

    def __init__(self, store, name: str, **options) -> None:
        self.pending: dict[str, dict[str, float]] = {}
        self.totals: dict[str, dict[str, float]] = {}
        self.exchanger = Exchanger(store, collect=self.collect, apply=(self.apply,), worker=name, **options)

    def learn(self, series: str, value: float) -> None:
        fields = self.pending.setdefault(series, {})
        fields["n"] = fields.get("n", 0.0) + value

    def collect(self) -> Iterator[Batch]:
        sums, self.pending = self.pending, {}
        if sums:
            yield Batch("", sums)

    def apply(self, pull) -> None:
        for series, fields in pull.sums.items():
            self.totals[series] = dict(fields)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.floats(-1e6, 1e6)), min_size=1, max_size=60),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.2, 0.5]),
)
def test_workers_end_with_the_sums_of_one(events, seed, share):
    async def play() -> None:
        rng = random.Random(seed)
        store = Shaky(uuid.uuid4().hex, rng, share)
        workers = [Worker(store, f"w{number}") for number in range(4)]
        alone: dict[str, float] = {}
        for number, series, value in events:
            workers[number].learn(series, value)
            alone[series] = alone.get(series, 0.0) + value
            if rng.random() < 0.5:
                await rng.choice(workers).exchanger.cycle()
        store.share = 0.0
        for _ in range(2):
            for worker in workers:
                assert await worker.exchanger.cycle()
        for worker in workers:
            for series, total in alone.items():
                assert worker.totals[series]["n"] == pytest.approx(total, rel=1e-9, abs=1e-6)

    asyncio.run(play())


async def test_a_store_that_was_emptied_is_filled_again_and_nothing_counts_twice():
    rng = random.Random(5)
    name = uuid.uuid4().hex
    store = Shaky(name, rng, 0.0)
    workers = [Worker(store, f"w{number}") for number in range(3)]
    expected = 0.0
    for turn in range(40):
        worker = workers[turn % 3]
        worker.learn("s", 1.0)
        expected += 1.0
        await worker.exchanger.cycle()
        if turn in {13, 14, 27}:
            store._memory = MemoryStore()._memory
    for _ in range(3):
        for worker in workers:
            await worker.exchanger.cycle()
    assert [worker.totals["s"]["n"] for worker in workers] == [expected] * 3


async def test_while_the_store_is_away_the_buffer_is_bounded_and_then_delivered_in_full():
    store = Shaky(uuid.uuid4().hex, random.Random(1), 1.0)
    documents = 0

    def collect() -> Iterator[Batch]:
        nonlocal documents
        documents += 1
        yield Batch("", {"s": {"n": 1.0}}, documents=[("decisions", f"{documents:04d}", b"{}", None)])

    exchanger = Exchanger(store, collect=collect, apply=(), max_documents=100)
    for _ in range(500):
        assert not await exchanger.cycle()
    assert exchanger.degraded
    assert exchanger.waiting[0] <= 2
    assert exchanger.waiting[1] <= 101
    store.share = 0.0
    assert await exchanger.cycle()
    assert not exchanger.degraded
    assert (await store.pull("")).sums["s"]["n"] == 501.0
    kept = await store.list("decisions", limit=1000)
    assert len(kept) + exchanger.counters.dropped_documents == 501
    assert kept[0][0] == "0501"


async def test_a_broken_learner_does_not_end_the_exchange():
    store = MemoryStore()
    heard: list[Any] = []

    def collect() -> Iterator[Batch]:
        yield Batch("", {"s": {"n": 1.0}})
        raise ZeroDivisionError

    def apply(pull) -> None:
        raise ZeroDivisionError

    await store.push(Batch("other:1", {"s": {"n": 1.0}}))
    exchanger = Exchanger(store, collect=collect, apply=(apply, lambda pull: heard.append(pull.sums)))
    assert await exchanger.cycle()
    assert exchanger.counters.learner_errors == 2
    assert heard == [{"s": {"n": 2.0}}]  # what was collected before it broke, and what others told
    assert (await store.pull("")).sums == {"s": {"n": 2.0}}


_WORKER = """
import asyncio, os, sys
sys.path.insert(0, {root!r})
from gateway.state import Exchanger, open_store
from router_core.ports import Batch

async def main():
    store = open_store(sys.argv[1])
    counted = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    delivered = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    pending = 0
    def collect():
        nonlocal pending
        if not pending:
            return
        value, pending = pending, 0
        yield Batch("", {{"s": {{"n": float(value)}}}})
    exchanger = Exchanger(store, collect=collect, apply=(), interval_s=0.02)
    try:
        await store.open()
    except Exception:
        pass
    exchanger.start()
    while not os.path.exists(sys.argv[4]):
        pending += 1
        os.write(counted, b"x")
        await asyncio.sleep(0.002)
    for _ in range(400):
        if not pending and await exchanger.flush() and not exchanger.waiting[0]:
            break
        await asyncio.sleep(0.05)
    os.write(delivered, b"d")
    await exchanger.stop()
    await store.close()

asyncio.run(main())
"""


def _workers(url: str, folder: Path, count: int) -> list[subprocess.Popen[bytes]]:
    """They count until the file `enough` is there, then deliver what they hold and end."""
    script = folder / "worker.py"
    script.write_text(_WORKER.format(root=str(ROOT)))
    return [
        subprocess.Popen(
            [
                sys.executable,
                str(script),
                url,
                str(folder / f"counted{n}"),
                str(folder / "done"),
                str(folder / "enough"),
            ]
        )
        for n in range(count)
    ]


def _counted(folder: Path, number: int) -> int:
    """How many events the worker says it saw: one byte each."""
    file = folder / f"counted{number}"
    return file.stat().st_size if file.exists() else 0


async def _all_count(folder: Path, count: int, more: int) -> None:
    """Until every worker has seen so many events more than now: on a slow machine that takes longer."""
    before = [_counted(folder, number) for number in range(count)]
    async with asyncio.timeout(60):
        while any(_counted(folder, number) < before[number] + more for number in range(count)):  # noqa: ASYNC110 - they are other processes
            await asyncio.sleep(0.02)


async def _total(url: str) -> float:
    store = open_store(url)
    await store.open()
    pull = await store.pull("")
    await store.close()
    return pull.sums["s"]["n"]


@pytest.mark.slow
async def test_a_killed_worker_loses_its_last_moments_and_nothing_of_the_others(tmp_path):
    url = f"sqlite:///{tmp_path}/state.db"
    running = _workers(url, tmp_path, 3)
    try:
        await _all_count(tmp_path, 3, 1500)
        os.kill(running[0].pid, signal.SIGKILL)
        await asyncio.to_thread(running[0].wait, 60)
        (tmp_path / "enough").touch()
        codes = [await asyncio.to_thread(one.wait, 60) for one in running]
    finally:
        for one in running:
            if one.poll() is None:
                one.kill()
                one.wait()
    assert codes[1:] == [0, 0]
    counted = [_counted(tmp_path, number) for number in range(3)]
    total = await _total(url)
    assert counted[1] + counted[2] <= total <= sum(counted)
    assert sum(counted) - total <= 1000  # of 1,500 or more: what one worker had not delivered yet


@pytest.mark.slow
@pytest.mark.redis
async def test_redis_killed_and_started_empty_has_everything_afterwards(tmp_path):
    require()
    server = RedisServer().start()
    running = _workers(server.url, tmp_path, 3)
    try:
        for _ in range(2):
            await _all_count(tmp_path, 3, 300)
            server.kill()
            await _all_count(tmp_path, 3, 100)
            server.start()
        (tmp_path / "enough").touch()
        codes = [await asyncio.to_thread(one.wait, 90) for one in running]
        assert codes == [0, 0, 0]
        assert await _total(server.url) == sum(_counted(tmp_path, number) for number in range(3)) >= 2400
    finally:
        for one in running:
            if one.poll() is None:
                one.kill()
                one.wait()
        server.close()


async def test_what_is_held_back_is_bounded_by_its_size_too():
    store = Shaky(uuid.uuid4().hex, random.Random(1), 1.0)
    documents = iter(range(1000))

    def collect() -> Iterator[Batch]:
        yield Batch("", documents=[("decision", f"{next(documents):04d}", b"x" * 1000, None)])

    exchanger = Exchanger(store, collect=collect, apply=(), max_document_bytes=10_000)
    for _ in range(50):
        assert not await exchanger.cycle()
    assert exchanger.waiting[1] <= 11  # ten, and the batch that could not be delivered
    assert exchanger.counters.dropped_documents == 50 - exchanger.waiting[1]
    store.share = 0.0
    assert await exchanger.cycle()
    assert [name for name, _ in await store.list("decision", limit=3)] == ["0050", "0049", "0048"]
