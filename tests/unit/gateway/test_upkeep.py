from __future__ import annotations

import asyncio

import pytest

from gateway.state.memory import MemoryStore
from gateway.store_errors import StoreUnavailable
from gateway.upkeep import Upkeep
from router_core.policy import CapturePolicy
from router_core.ports import Batch

pytestmark = pytest.mark.anyio

NOW = 1_760_000_000.0
DAY_S = 86_400.0


async def test_old_rows_go_and_new_ones_stay():
    store = MemoryStore(wall=lambda: NOW)
    await store.push(Batch("a:1", ledger=[{"at": NOW - 11 * DAY_S, "n": 1}, {"at": NOW - 9 * DAY_S, "n": 2}]))
    upkeep = Upkeep(store, lambda: CapturePolicy(ledger_days=10), wall=lambda: NOW)
    assert await upkeep.once()
    assert [row["n"] for _, row in await store.ledger()] == [2]


async def test_it_goes_on_after_a_store_that_was_away_and_after_a_surprise():
    failures = [StoreUnavailable("away"), ZeroDivisionError("surprise")]

    class Store(MemoryStore):
        async def prune(self, *, ledger_before: float = 0.0) -> None:
            if failures:
                raise failures.pop(0)

    upkeep = Upkeep(Store(), CapturePolicy, every_s=0.005)
    upkeep.start()
    for _ in range(3000):
        if upkeep.done:
            break
        await asyncio.sleep(0.01)
    await upkeep.stop()
    assert upkeep.done
    assert not failures
