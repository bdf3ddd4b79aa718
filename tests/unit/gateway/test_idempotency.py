from __future__ import annotations

import asyncio

import pytest

from gateway.http.errors import ApiError
from gateway.idempotency import KIND, Idempotency, key_of
from gateway.state.memory import MemoryStore

pytestmark = pytest.mark.anyio


class Client:
    def __init__(self) -> None:
        self.messages: list[dict] = []

    async def send(self, message) -> None:
        self.messages.append(dict(message))

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def replayed(self) -> bool:
        return (b"idempotent-replayed", b"true") in self.messages[0]["headers"]


class Work:
    """A provider that counts its calls; ``gate`` holds the answer back after its first part."""

    def __init__(self, *parts: bytes, status: int = 200) -> None:
        self.parts = parts or (b"answer",)
        self.status = status
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, send) -> None:
        self.calls += 1
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"x-a", b"b")]})
        for part in self.parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await self.gate.wait()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def ask(memory, work, *, key=b"k", body=b"{}", caller="c") -> Client:
    client = Client()
    await memory.run(caller, key, body, client.send, work)
    return client


async def test_without_a_key_everything_is_done_each_time():
    memory, work = Idempotency(), Work()
    for _ in range(2):
        assert not (await ask(memory, work, key=None)).replayed
    assert work.calls == 2
    assert memory.size == 0


async def test_a_repeated_request_gets_the_first_answer_byte_for_byte():
    memory, work = Idempotency(), Work(b"data: 1\n\n", b"data: [DONE]\n\n")
    first, second = await ask(memory, work), await ask(memory, work)
    assert work.calls == 1
    assert second.body == first.body == b"data: 1\n\ndata: [DONE]\n\n"
    assert second.replayed
    assert not first.replayed
    assert memory.replayed == 1


async def test_a_repetition_joins_what_is_still_running():
    memory, work = Idempotency(), Work(b"one", b"two")
    work.gate.clear()
    first = asyncio.create_task(ask(memory, work))
    await asyncio.sleep(0.01)
    joined = [asyncio.create_task(ask(memory, work)) for _ in range(3)]
    await asyncio.sleep(0.01)
    work.gate.set()
    bodies = {(await task).body for task in [first, *joined]}
    assert bodies == {b"onetwo"}
    assert work.calls == 1


async def test_another_body_under_the_same_key_is_refused():
    memory, work = Idempotency(), Work()
    await ask(memory, work)
    with pytest.raises(ApiError) as caught:
        await ask(memory, work, body=b'{"other": 1}')
    assert (caught.value.status, caught.value.code) == (422, "idempotency_key_reused")
    assert work.calls == 1


async def test_keys_belong_to_their_caller():
    memory, work = Idempotency(), Work()
    await ask(memory, work, caller="a")
    assert not (await ask(memory, work, caller="b", body=b"[]")).replayed
    assert work.calls == 2


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_an_answer_that_asks_for_another_try_gets_one(status):
    memory, work = Idempotency(), Work(status=status)
    await ask(memory, work)
    await ask(memory, work)
    assert work.calls == 2
    assert memory.size == 0


async def test_a_request_that_came_to_nothing_is_done_again_by_who_joined():
    memory = Idempotency()
    started = asyncio.Event()

    async def broken(send) -> None:
        started.set()
        await asyncio.sleep(60)

    first = asyncio.create_task(ask(memory, broken))
    await started.wait()
    work = Work()
    second = asyncio.create_task(ask(memory, work))
    await asyncio.sleep(0.01)
    first.cancel()
    assert (await second).body == b"answer"
    assert work.calls == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_after_ten_minutes_a_key_is_new():
    now = 0.0
    memory, work = Idempotency(clock=lambda: now), Work()
    await ask(memory, work)
    now = 599.0
    await ask(memory, work)
    assert work.calls == 1
    now = 600.0
    await ask(memory, work, body=b"other")
    assert work.calls == 2


async def test_memory_is_bounded():
    memory, work = Idempotency(most_bytes=10_000, most_bytes_each=2_000), Work(b"x" * 1_500)
    for number in range(50):
        await ask(memory, work, key=b"k%d" % number)
    assert memory.size <= 12_000
    large = Work(b"x" * 1_500, b"y" * 1_500)
    client = await ask(memory, large, key=b"large")
    assert len(client.body) == 3_000
    with pytest.raises(ApiError) as caught:
        await ask(memory, large, key=b"large")
    assert caught.value.status == 409
    assert large.calls == 1
    assert memory.size <= 12_000


async def test_another_worker_finds_a_whole_answer_in_the_store():
    store = MemoryStore()
    kept: list[tuple] = []
    first = Idempotency(store=store, keep=lambda *document: kept.append(document))
    work = Work(b"\x00\xff", b"two")
    one = await ask(first, work)
    ((kind, name, data, expires),) = kept
    await store.put(kind, name, data, expires)
    other = Idempotency(store=store)
    two = await ask(other, work)
    assert work.calls == 1
    assert two.body == one.body
    assert two.replayed
    with pytest.raises(ApiError):
        await ask(Idempotency(store=store), work, body=b"other")


async def test_garbage_in_the_store_is_no_answer():
    store = MemoryStore()
    kept: list[tuple] = []
    await ask(Idempotency(keep=lambda *document: kept.append(document)), Work())
    for data in (b"", b"[]", b'{"request": "zz", "messages": []}', b'{"request": "00", "messages": [1]}'):
        await store.put(KIND, kept[0][1], data)
        work = Work()
        await ask(Idempotency(store=store), work)
        assert work.calls == 1


def test_a_key_is_printable_and_given_once():
    assert key_of([(b"a", b"b")]) is None
    assert key_of([(b"idempotency-key", b" abc-1 ")]) == b"abc-1"
    for headers in (
        [(b"idempotency-key", b"")],
        [(b"idempotency-key", b"a b")],
        [(b"idempotency-key", b"\xff")],
        [(b"idempotency-key", b"x" * 256)],
        [(b"idempotency-key", b"a"), (b"idempotency-key", b"a")],
    ):
        with pytest.raises(ApiError) as caught:
            key_of(headers)
        assert caught.value.status == 400
