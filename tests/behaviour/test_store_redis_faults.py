"""What Redis can do to us: be away, hang, be full, be a replica, hold garbage, fail over. Work goes on each time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "contract"))

from redis_server import RedisServer, require, running

from gateway.state import Exchanger, connect_store, open_store, redis_link
from gateway.store_errors import StoreBroken, StoreError, StoreFull, StoreUnavailable
from router_core.budget import LeaseRequest
from router_core.limits import BucketRequest
from router_core.ports import Batch
from tests.fakes.edge import until
from tests.fakes.ports import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.redis]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer in a tenth of a second is what a gateway counts on, not what a test of something else may."""
    for name in ("TIMEOUT_S", "CONNECT_S", "CALL_S"):
        monkeypatch.setattr(redis_link, name, 30.0)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running() as found:
        yield found


async def eventually(work, seconds: float = 90.0):
    """Return what the work returns as soon as the store lets it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await work()
        except StoreError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def test_down_at_start_is_one_warning_and_joined_later():
    require()
    server = RedisServer()
    said: list[str] = []
    store = await connect_store(server.url, warn=said.append)
    assert len(said) == 1
    events: list[bytes] = []

    async def listen() -> None:
        async for _, payload in store.subscribe():
            events.append(payload)

    task = asyncio.create_task(listen())
    exchanger = Exchanger(store, collect=lambda: (), apply=())
    assert not await exchanger.cycle()
    assert exchanger.degraded
    try:
        server.start()
        await eventually(lambda: store.push(Batch("a:1", {"s": {"n": 1.0}})))
        other = open_store(server.url)
        await other.open()
        async with asyncio.timeout(60):
            while not events:
                await eventually(lambda: other.publish("t", b"1"))
                await asyncio.sleep(0.1)
            while not await exchanger.cycle():  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await other.close()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()
        server.close()


async def test_a_server_that_hangs_is_given_up_soon_and_then_not_asked_for_a_while(server):
    store = open_store(server.url)
    await store.open()
    server.freeze()
    begun = time.monotonic()
    refused = 0
    for _ in range(200):
        with pytest.raises(StoreUnavailable) as caught:
            await store.pull("")
        refused += "a moment ago" in str(caught.value)
    assert time.monotonic() - begun < 20.0  # as many time-outs in a row would be no shorter than their sum
    assert refused >= 150, "the server that hangs was asked each time"
    server.thaw()
    await eventually(lambda: store.pull(""))
    await store.close()


async def test_killed_and_started_again_is_joined_again(server):
    store = open_store(server.url)
    await store.open()
    await store.push(Batch("a:1", {"s": {"n": 1.0}}))
    server.kill()
    with pytest.raises(StoreUnavailable):
        await store.pull("")
    server.start()
    await eventually(lambda: store.push(Batch("a:2", {"s": {"n": 1.0}})))
    assert (await store.pull("")).sums["s"]["n"] == 1.0
    await store.close()


async def test_a_full_server_takes_no_writes_and_still_answers(server, patient):
    store = open_store(server.url)
    await store.open()
    await store.push(Batch("a:1", {"s": {"n": 1.0}}))
    server.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreFull):
        await store.push(Batch("a:2", {"s": {"n": 1.0}}))
    with pytest.raises(StoreFull):
        await store.put("decisions", "d", b"x" * 1000)
    assert (await store.pull("")).sums["s"]["n"] == 1.0
    exchanger = Exchanger(store, collect=lambda: [Batch("", {"s": {"n": 1.0}})], apply=())
    for _ in range(5):
        assert not await exchanger.cycle()
    server.command("CONFIG", "SET", "maxmemory", "0")
    assert await exchanger.cycle()
    assert (await store.pull("")).sums["s"]["n"] == 7.0
    await store.close()


async def test_a_master_that_became_a_replica_is_left(server):
    store = open_store(server.url)
    await store.open()
    server.command("REPLICAOF", "127.0.0.1", str(free_port()))
    with pytest.raises(StoreError):
        await store.push(Batch("a:1", {"s": {"n": 1.0}}))
    server.command("REPLICAOF", "NO", "ONE")
    await eventually(lambda: store.push(Batch("a:1", {"s": {"n": 1.0}})))
    await store.close()


async def test_garbage_under_any_key_is_deleted_and_life_goes_on(server, patient):
    store, keys = open_store(server.url), set()
    await store.open()

    async def use(number: int) -> None:
        await store.push(
            Batch(
                f"a:{number}",
                {"s": {"n": 1.0}},
                {"m": 1.0},
                [("decisions", "d", b"{}", None), ("feedback", "f", b"{}", time.time() + 100.0)],
                [{"at": time.time(), "n": number}],
            )
        )
        await store.pull("")
        await store.get("decisions", "d")
        await store.list("decisions")
        await store.ledger()
        await store.lease(LeaseRequest("key:k", "w", number, 10, need=1, want=1))
        await store.take(BucketRequest("b", 10, 1.0, 1.0))
        await store.publish("t", b"1")
        await store.prune()

    await use(1)
    keys = {key async for key in store._link.client.scan_iter()}
    assert len(keys) >= 13
    for number, key in enumerate(sorted(keys), start=2):
        for kind in ("SET", "LPUSH", "SADD"):
            await store._link.client.delete(key)
            server.command(kind, key.decode(), "garbage")
            await use(10 * number + len(kind))
    assert (await store.pull("")).sums["s"]["n"] >= 1.0
    await store.close()


async def test_values_that_are_garbage_are_read_as_nothing(server, patient):
    store = open_store(server.url)
    await store.open()
    await store.push(Batch("a:1", {"s": {"n": 1.0}}, {"m": 1.0}))
    base = "moe:v1:{learn}:"
    for key, field in (("sums", "s"), ("max", "m"), ("marks", "x"), ("meta", "version")):
        server.command("HSET", base + key, field, "\x00garbage\n\n\n")
    pull = await store.pull("")
    assert dict(pull.sums.get("s", {})) == {}
    server.command("HSET", "moe:v1:{a:key:k}:".removesuffix(":"), "w", "garbage")
    assert (await store.lease(LeaseRequest("key:k", "w", 1, 10, need=1, want=1))).granted == 1
    await store.close()


async def test_every_key_has_the_prefix_and_ends_by_itself(server, patient):
    store = open_store(f"{server.url}?prefix=mine")
    await store.open()
    rows = [{"at": time.time()}]
    await store.push(Batch("a:1", {"s": {"n": 1.0}}, {"m": 1.0}, [("k", "d", b"{}", None)], rows))
    await store.lease(LeaseRequest("key:k", "w", 1, 10, need=1, want=1))
    await store.take(BucketRequest("b", 10, 1.0, 1.0))
    await store.publish("t", b"1")
    client = store._link.client
    keys = [key async for key in client.scan_iter()]
    assert len(keys) >= 12
    for key in keys:
        assert key.startswith(b"mine:v1:{")
        assert await client.ttl(key) > 0, key
    await store.close()


async def test_documents_of_a_kind_are_bounded_and_permanent_ones_are_renewed(server, patient):
    from gateway.state.redis import RedisStore
    from gateway.state.values import Bounds

    store = RedisStore(server.url, bounds=Bounds(documents=3))
    await store.open()
    for name in "abcde":
        await store.put("keys", name, b"{}")
    await store._link.client.expire("moe:v1:{d:keys}:i:e", 5)
    await store.prune()
    assert [name for name, _ in await store.list("keys")] == ["e", "d", "c"]
    assert await store._link.client.ttl("moe:v1:{d:keys}:i:e") > 1000
    await store.close()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:notaport/0", "redis+what://h", "redis://h:1/x"])
async def test_a_url_nobody_understands_is_said_at_once(url):
    with pytest.raises(StoreBroken):
        open_store(url)


async def test_a_wrong_password_is_said_and_the_gateway_starts_alone(patient):
    with running("--requirepass", "secret") as server:
        said: list[str] = []
        store = await connect_store(f"redis://:wrong@127.0.0.1:{server.port}/0", warn=said.append)
        assert "memory" in said[0]
        assert "wrong" not in said[0].replace("wrong number", "")
        await store.push(Batch("a:1"))
        good = open_store(f"redis://:secret@127.0.0.1:{server.port}/0")
        await good.open()
        await good.close()


@pytest.mark.slow
async def test_a_cluster_of_three_keeps_the_contract(tmp_path):
    require()
    servers = []
    try:
        for _ in range(3):
            port = free_port(bus=True)
            servers.append(RedisServer("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", port=port).start())
        addresses = [f"127.0.0.1:{server.port}" for server in servers]
        command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=180)
        await until(lambda: all(b"cluster_state:ok" in server.command("CLUSTER", "INFO") for server in servers), 90.0)
        url = f"redis+cluster://{addresses[0]},{addresses[1]}?prefix={uuid.uuid4().hex}"
        store, other = open_store(url), open_store(url)
        await eventually(store.open)
        await eventually(other.open)
        await eventually(lambda: store.push(Batch("a:1", {"s": {"n": 1.0}}, ledger=[{"at": 1.0}])))
        for number in range(30):
            await eventually(lambda number=number: other.put(f"kind{number}", "d", b"{}"))
            assert await eventually(lambda number=number: store.get(f"kind{number}", "d")) == b"{}"
            request = LeaseRequest(f"key:{number}", "w", 1, 10, need=5, want=5)
            assert (await eventually(lambda request=request: store.lease(request))).granted == 5
            assert (await eventually(lambda number=number: other.take(BucketRequest(f"b{number}", 60, 1, 6)))).granted
        assert (await eventually(lambda: other.pull(""))).sums["s"]["n"] == 1.0
        assert len(await eventually(other.ledger)) == 1
        await eventually(other.prune)
        heard = asyncio.create_task(anext(other.subscribe().__aiter__()))
        async with asyncio.timeout(60):
            while not heard.done():  # what is published before it listens is not for it
                await eventually(lambda: store.publish("t", b"1"))
                await asyncio.sleep(0.1)
        assert heard.result() == ("t", b"1")
        await store.close()
        await other.close()
    finally:
        for server in servers:
            server.close()


@pytest.mark.slow
async def test_a_failover_by_sentinel_is_followed(tmp_path):
    require()
    master = RedisServer().start()
    replica = RedisServer("--replicaof", "127.0.0.1", str(master.port)).start()
    config = (
        f"sentinel monitor moe 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds moe 500\n"
        "sentinel failover-timeout moe 3000\nsentinel parallel-syncs moe 1\n"
    )
    sentinel = RedisServer(sentinel=config).start()
    store = open_store(f"redis+sentinel://127.0.0.1:{sentinel.port}/moe/0")
    try:
        await eventually(store.open)
        await until(lambda: b"master_link_status:up" in replica.command("INFO", "replication"))
        await eventually(lambda: store.push(Batch("a:1", {"s": {"n": 1.0}})))
        # It can promote only whom it has seen, and what was not copied would be lost.
        await until(lambda: b"slaves=1" in sentinel.command("INFO", "sentinel"))
        await until(lambda: replica.command("HEXISTS", "moe:v1:{learn}:sums", "s").startswith(b":1"))
        master.kill()
        await eventually(lambda: store.push(Batch("a:2", {"s": {"n": 1.0}})))
        assert (await eventually(lambda: store.pull(""))).sums["s"]["n"] == 2.0
    finally:
        await store.close()
        for server in (sentinel, replica, master):
            server.close()
