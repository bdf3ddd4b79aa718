from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import sharing as sharing_of
from gateway.decisions import DecisionIds
from gateway.services import Services
from gateway.sharing import CIRCUIT, OBSERVED, Sharing, decode, encode, shared_signing_key
from gateway.state.memory import MemoryStore
from gateway.store_errors import StoreError
from router_core.breaker import CLOSED, Circuit, State, admits
from router_core.ports import Batch, Pull
from router_core.task import TaskType
from tests.fakes.contexts import context, served, services
from tests.fakes.edge import until
from tests.fakes.outcomes import attempt
from tests.unit.router_core.builders import NOW

pytestmark = pytest.mark.anyio

CIRCUITS = st.builds(
    Circuit,
    state=st.sampled_from(State),
    open_until=st.floats(0.0, 2e9),
    opens=st.integers(0, 9),
    changed_at=st.floats(0.0, 2e9),
    reason=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    ejected_until=st.floats(0.0, 2e9),
    epoch=st.integers(0, 99),
)


@given(CIRCUITS, st.floats(0.0, 2e9), st.floats(-1e8, 1e8))
def test_a_circuit_arrives_on_the_other_worker_s_clock(circuit, mine, ahead):
    name, found = decode(encode("acme/m1#a", circuit, mine), mine + ahead)
    assert name == "acme/m1#a"
    assert (found.state, found.opens, found.epoch, found.reason) == (
        circuit.state,
        circuit.opens,
        circuit.epoch,
        circuit.reason,
    )
    for moment in ("open_until", "changed_at", "ejected_until"):
        assert getattr(found, moment) - ahead == pytest.approx(getattr(circuit, moment), abs=1e-4)


def test_an_open_circuit_stays_open_as_long_on_a_clock_that_differs():
    policy = services().config.current.policy.breaker
    _, found = decode(encode("a/b", Circuit(State.OPEN, open_until=100.0, epoch=1), now=70.0), now=5000.0)
    assert not admits(found, 5029.0, policy).admitted
    assert admits(found, 5031.0, policy).admitted


@pytest.mark.parametrize(
    "garbage", [b"", b"nonsense", b"[]", b"{}", b"null", orjson.dumps({"deployment": "a/b", "state": "ajar"}), b"\xff"]
)
def test_what_is_no_circuit_is_told_so(garbage):
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(garbage, NOW)


class Loud(MemoryStore):
    """A store that other workers see; it can be made to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[tuple[str, bytes]] = []
        self.heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.away = False
        self.shared = True

    async def publish(self, topic: str, payload: bytes) -> None:
        if self.away:
            raise StoreError
        self.published.append((topic, payload))

    async def subscribe(self) -> AsyncIterator[tuple[str, bytes]]:
        while True:
            yield await self.heard.get()


class Watching:
    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def tell(self, what: str, about: object) -> None:
        self.told.append((what, about))


def opened(parts: Services) -> None:
    policy = parts.config.current.policy
    for _ in range(policy.breaker.consecutive_failures):
        call = attempt("acme/m1", at=NOW, failure="server")
        parts.learner.attempt(call, parts.config.current.registry, policy)


async def test_a_circuit_that_opens_is_published_and_told_and_others_take_it_over():
    store = Loud()
    parts, other = services(store=store, watching=Watching()), services(store=Loud(), watching=Watching())
    sharing, theirs = Sharing(parts), Sharing(other)
    sharing.start()
    theirs.start()
    try:
        opened(parts)
        await until(lambda: store.published)
        topic, payload = store.published[0]
        assert topic == CIRCUIT
        assert parts.watching.told[0][0] == "circuit"
        for row in ((CIRCUIT, b"garbage"), ("unknown", b""), (CIRCUIT, payload)):
            other.store.heard.put_nowait(row)
        await until(lambda: other.learner.snapshot.circuit("acme/m1").state is State.OPEN)
        assert other.store.published == []  # it is not passed on
        assert other.watching.told == []
    finally:
        await sharing.stop()
        await theirs.stop()


async def test_a_store_that_is_away_ends_nothing():
    store = Loud()
    parts = services(store=store, watching=Watching())
    sharing = Sharing(parts)
    sharing.start()
    try:
        store.away = True
        opened(parts)
        await until(sharing._outgoing.empty)
        store.away = False
        parts.learner.reset("acme/m1")
        await until(lambda: store.published)
        assert decode(store.published[0][1], NOW)[1].state is State.CLOSED
    finally:
        await sharing.stop()


async def test_a_revoked_key_makes_the_key_ring_look_at_once():
    store = Loud()
    parts = services(store=store, watching=Watching())
    sharing = Sharing(parts)
    sharing.start()
    try:
        store.heard.put_nowait(("keys", b""))
        await until(parts.keys._wake.is_set)
    finally:
        await sharing.stop()


async def test_a_private_store_has_nobody_to_tell_but_the_operator_is():
    parts = services(watching=Watching())
    sharing = Sharing(parts)
    sharing.start()
    opened(parts)
    assert sharing._tasks == []
    assert [what for what, _ in parts.watching.told] == ["circuit"]
    await sharing.stop()


async def test_everything_a_worker_learned_goes_out_once_and_comes_back_to_where_it_belongs():
    parts, other = services(), services()
    sharing = Sharing(parts)
    assert list(sharing.collect()) == []
    ctx = context(parts)
    call = attempt("acme/m1", at=NOW, task=TaskType.TESTING)
    parts.learner.attempt(call, parts.config.current.registry, parts.config.current.policy)
    parts.observer.attempt(call)
    parts.recorder.finish(ctx, served(ctx))
    recorded, written, learned, observed = sharing.collect()
    assert recorded == Batch("")
    assert {kind for kind, *_ in written.documents} == {"decision"}
    assert all(name.startswith(OBSERVED) for name in observed.sums)
    assert any(name.startswith("row|") for name in learned.sums)
    assert list(sharing.collect()) == []
    pull = Pull("1", {**learned.sums, **observed.sums}, learned.maxima)
    Sharing(other).apply(pull)
    Sharing(other).observe(pull)
    assert other.learner.snapshot.of("acme/m1").fields == parts.learner.snapshot.of("acme/m1").fields
    for report, name in (("deployments", "acme/m1"), ("tasks", str(ctx.decision.profile.task))):
        rows = (await other.observer.answer(report, window="all"))["data"]
        assert [row["requests"] for row in rows if row[report[:-1]] == name] == [1]
    assert other.learner.snapshot.circuit("acme/m1") == CLOSED


async def test_all_workers_of_a_store_sign_with_one_key():
    store = MemoryStore()
    first, second = await shared_signing_key(store), await shared_signing_key(store)
    assert first is not None
    assert len(first) == 32
    assert first == second


async def test_workers_that_start_together_sign_with_one_key():
    class Slow(MemoryStore):
        async def get(self, kind: str, document_id: str) -> bytes | None:
            found = await super().get(kind, document_id)
            await asyncio.sleep(0)
            return found

    store = Slow()
    keys = await asyncio.gather(*(shared_signing_key(store) for _ in range(4)))
    assert None not in keys
    assert len(set(keys)) == 1


async def test_a_store_that_comes_late_or_forgets_brings_all_workers_to_one_key(monkeypatch):
    monkeypatch.setattr(sharing_of, "_SIGN_EVERY_S", 0.01)

    class Away(MemoryStore):
        away = True

        async def get(self, kind: str, document_id: str) -> bytes | None:
            if self.away:
                raise StoreError
            return await super().get(kind, document_id)

    store = Away("signing")
    workers = [services(store=store), services(store=store)]
    for number, parts in enumerate(workers):
        parts.ids = DecisionIds(b"%d" % number * 32)
    early = [parts.ids.new(1000.0) for parts in workers]
    both = [Sharing(parts) for parts in workers]
    for each in both:
        each.start()
    await asyncio.sleep(0.05)
    assert workers[0].ids.key != workers[1].ids.key
    store.away = False
    await until(lambda: workers[0].ids.key == workers[1].ids.key)
    assert workers[1].ids.made_at(workers[0].ids.new(2000.0)) == 2000.0
    assert [parts.ids.made_at(name) for parts, name in zip(workers, early, strict=True)] == [1000.0, 1000.0]
    shared = workers[0].ids.key
    await store.delete("setting", "decision-key")
    async with asyncio.timeout(60):
        while not await store.list("setting"):  # noqa: ASYNC110 - it is told to nobody
            await asyncio.sleep(0.005)
    assert await shared_signing_key(store) == shared
    for each in both:
        await each.stop()


@pytest.mark.parametrize("kept", [b"{}", b"[]", b'{"key": 5}', b'{"key": "zz"}', b"{"])
async def test_a_signing_key_that_cannot_be_read_is_none(kept):
    store = MemoryStore()
    await store.put("setting", "decision-key", kept)
    assert await shared_signing_key(store) is None


async def test_a_store_that_is_away_has_no_signing_key():
    class Away(MemoryStore):
        async def get(self, kind: str, document_id: str) -> bytes | None:
            raise StoreError

    assert await shared_signing_key(Away()) is None
