"""Every store the contract is held against: two handles on one memory, as two workers would have."""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from redis_server import RedisServer, require

from gateway.state import open_store, redis_link
from router_core.ports import StateStore

Opener = Callable[[], Awaitable[StateStore]]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    require()
    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer in a tenth of a second is what a gateway counts on, not what these tests are about."""
    for name in ("TIMEOUT_S", "CONNECT_S", "CALL_S"):
        monkeypatch.setattr(redis_link, name, 30.0)


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis), "fakeredis"])
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens handle after handle on one and the same memory."""
    name = uuid.uuid4().hex
    handles: list[StateStore] = []
    fake = None

    async def open_one() -> StateStore:
        if request.param == "memory":
            store = open_store(f"memory://{name}")
        elif request.param == "sqlite":
            store = open_store(f"sqlite:///{tmp_path}/state.db")
        elif request.param == "redis":
            server = request.getfixturevalue("redis_server")
            store = open_store(f"{server.url}?prefix={name}")
        else:
            store = fake_store()
        await store.open()
        handles.append(store)
        return store

    def fake_store() -> StateStore:
        nonlocal fake
        import fakeredis

        from gateway.state.redis import RedisStore

        fake = fake or fakeredis.FakeServer()
        client = fakeredis.FakeAsyncRedis(server=fake)
        return RedisStore(f"redis://fake/0?prefix={name}", client=client)

    yield open_one
    for store in handles:
        await store.close()


@pytest.fixture
async def store(opener: Opener) -> StateStore:
    return await opener()


@pytest.fixture
async def other(opener: Opener, store: StateStore) -> StateStore:
    """A second worker's handle on the same memory."""
    return await opener()
