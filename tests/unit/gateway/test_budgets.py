from __future__ import annotations

import asyncio
import uuid

import pytest

from gateway.budgets import FREE, Budgets, Refusal, Reservation
from gateway.keys import Principal
from gateway.state.memory import MemoryStore
from gateway.store_errors import StoreUnavailable
from router_core.budget import Budget, Window
from router_core.policy import BudgetPolicy, BudgetRule

pytestmark = pytest.mark.anyio

NOW = 1_760_000_000.0


class Flaky(MemoryStore):
    """A store that is away whenever it is told to be."""

    def __init__(self, name: str = "") -> None:
        super().__init__(name)
        self.away = False
        self.leases = 0

    async def lease(self, request):
        self.leases += 1
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable
        return await super().lease(request)


def budgets(store=None, *, wall=lambda: NOW, **policy) -> Budgets:
    values = BudgetPolicy(**{"wait_max_s": 0.1, **policy})
    return Budgets(store or Flaky(), lambda: values, wall=wall)


def key(usd: float = 1.0, window: Window = Window.DAY, **more) -> Principal:
    return Principal("k1", budgets=(Budget(window, usd),), **more)


async def test_a_caller_without_budgets_is_free_and_the_store_is_not_asked():
    store = Flaky()
    some = budgets(store)
    assert await some.reserve(Principal("k"), 5.0) is FREE
    assert await some.extend(FREE, 5.0) is None
    some.settle(FREE, 1e9)
    assert store.leases == 0
    assert some.overview() == []


async def test_what_a_call_did_not_use_is_there_for_the_next():
    some = budgets()
    for _ in range(250):
        held = await some.reserve(key(), 0.013)
        if isinstance(held, Refusal):
            break
        some.settle(held, 0.004)
    (account,) = some.overview()
    assert account["spent_usd"] == pytest.approx(0.988)
    refusal = await some.reserve(key(), 0.013)
    assert refusal.status == 402
    assert refusal.left_usd == pytest.approx(0.012)
    assert refusal.renews_at == 1_760_054_400.0
    assert "2025-10-10T00:00:00Z" in refusal.message
    assert isinstance(await some.reserve(key(), 0.012), Reservation)


async def test_reservations_in_the_way_are_429_and_never_402():
    some = budgets()
    held = [await some.reserve(key(0.02), 0.01) for _ in range(2)]
    refusal = await some.reserve(key(0.02), 0.01)
    assert (refusal.status, refusal.code) == (429, "budget_reserved")
    assert refusal.retry_after_s == 1.0
    some.settle(held[0], 0.0)
    assert isinstance(await some.reserve(key(0.02), 0.01), Reservation)


async def test_a_waiting_call_goes_on_as_soon_as_another_ends():
    some = budgets(wait_max_s=60.0)
    held = await some.reserve(key(0.01), 0.01)
    waiting = asyncio.create_task(some.reserve(key(0.01), 0.01))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    some.settle(held, 0.0)
    assert isinstance(await asyncio.wait_for(waiting, 30.0), Reservation)


async def test_settling_twice_counts_once():
    some = budgets()
    held = await some.reserve(key(), 0.5)
    some.settle(held, 0.25)
    some.settle(held, 0.25)
    assert some.overview()[0]["spent_usd"] == pytest.approx(0.25)
    assert some.overview()[0]["reserved_usd"] == 0.0


async def test_a_cost_that_is_no_number_counts_as_the_worst_case():
    some = budgets()
    some.settle(await some.reserve(key(), 0.5), float("nan"))
    assert some.overview()[0]["spent_usd"] == pytest.approx(0.5)


async def test_a_dearer_fallback_extends_its_reservation_or_is_refused():
    some = budgets()
    held = await some.reserve(key(1.0), 0.4)
    assert await some.extend(held, 0.5) is None
    refusal = await some.extend(held, 0.2)
    assert refusal.status == 429
    some.settle(held, 0.9)
    refused = await some.reserve(key(1.0), 0.2)
    assert refused.status == 402


async def test_a_call_that_cost_more_than_its_worst_case_is_booked_in_full():
    some = budgets()
    some.settle(await some.reserve(key(1.0), 0.1), 0.95)
    assert some.counters["overrun"] == 1
    assert (await some.reserve(key(1.0), 0.1)).status == 402


async def test_every_budget_of_a_key_and_its_tags_must_fit():
    rules = (BudgetRule("day", 0.5, tag="team:a"), BudgetRule("month", 100.0), BudgetRule("hour", 0.01, key="other"))
    some = budgets(rules=rules)
    one = Principal("k1", budgets=(Budget(Window.DAY, 1.0), Budget(Window.TOTAL, 2.0)), tags=("team:a",))
    two = Principal("k2", tags=("team:a",))
    some.settle(await some.reserve(one, 0.4), 0.4)
    refusal = await some.reserve(two, 0.2)
    assert refusal.status == 402
    assert "tag team:a's budget" in refusal.message
    # What did not fit in one budget is not held in the others.
    reserved = {account["account"]: account["reserved_usd"] for account in some.overview()}
    assert set(reserved.values()) == {0.0}
    assert isinstance(await some.reserve(Principal("other"), 0.005), Reservation)
    assert (await some.reserve(Principal("other"), 0.02)).status == 402


async def test_a_new_period_begins_with_the_whole_budget():
    now = NOW
    some = budgets(wall=lambda: now)
    some.settle(await some.reserve(key(1.0, Window.HOUR), 1.0), 1.0)
    assert (await some.reserve(key(1.0, Window.HOUR), 0.5)).status == 402
    now += 3600.0
    assert isinstance(await some.reserve(key(1.0, Window.HOUR), 0.5), Reservation)


async def test_a_raised_budget_counts_at_once():
    some = budgets()
    some.settle(await some.reserve(key(1.0), 1.0), 1.0)
    assert (await some.reserve(key(1.0), 0.5)).status == 402
    assert isinstance(await some.reserve(key(2.0), 0.5), Reservation)


async def test_with_the_store_away_a_worker_spends_what_it_leased_and_then_says_so():
    store = Flaky(uuid.uuid4().hex)
    some = budgets(store, slice_share=0.2)
    for _ in range(3):
        some.settle(await some.reserve(key(1.0), 0.01), 0.01)
    store.away = True
    results = []
    for _ in range(40):
        held = await some.reserve(key(1.0), 0.01)
        results.append(held)
        if isinstance(held, Refusal):
            break
        some.settle(held, 0.01)
    assert 5 <= len(results) <= 21
    assert (results[-1].status, results[-1].code) == (503, "budget_unavailable")
    store.away = False
    assert isinstance(await some.reserve(key(1.0), 0.01), Reservation)


async def test_the_operator_may_prefer_overspending_to_refusing():
    store = Flaky(uuid.uuid4().hex)
    store.away = True
    some = budgets(store, on_store_loss="allow")
    held = await some.reserve(key(1.0), 0.01)
    assert isinstance(held, Reservation)
    some.settle(held, 0.01)
    assert some.overview()[0]["spent_usd"] == pytest.approx(0.01)


async def test_all_workers_together_hold_no_more_than_the_slice_share_open():
    name = uuid.uuid4().hex
    workers = [budgets(Flaky(name), slice_share=0.2, wait_max_s=0.05) for _ in range(4)]
    for worker in workers:  # all are known to each other
        worker.settle(await worker.reserve(key(1.0), 0.001), 0.0)
    for worker in workers:
        for account in worker._accounts.values():
            account.state_at = float("-inf")
            await account.keep(worker._terms())
            await account.keep(worker._terms())
    opened = []
    for worker in workers:
        while isinstance(held := await worker.reserve(key(1.0), 0.01), Reservation):
            opened.append(held)
    assert sum(held.worst for held in opened) / 1e9 == pytest.approx(0.2)


async def test_an_idle_worker_gives_its_slice_back():
    name = uuid.uuid4().hex
    first, second = budgets(Flaky(name), slice_share=1.0), budgets(Flaky(name), slice_share=1.0, wait_max_s=60.0)
    first.start()
    first.settle(await first.reserve(key(1.0), 0.5), 0.1)
    held = await second.reserve(key(1.0), 0.85)
    assert isinstance(held, Reservation)
    await first.stop()


async def test_stopping_returns_what_was_not_spent():
    name = uuid.uuid4().hex
    first, second = budgets(Flaky(name), slice_share=1.0), budgets(Flaky(name), slice_share=1.0)
    first.settle(await first.reserve(key(1.0), 0.5), 0.1)
    await first.stop()
    assert isinstance(await second.reserve(key(1.0), 0.9), Reservation)


async def test_a_store_that_lost_its_memory_is_told_again_what_was_spent():
    name = uuid.uuid4().hex
    some = budgets(Flaky(name))
    some.settle(await some.reserve(key(1.0), 0.8), 0.8)
    some._store = Flaky(uuid.uuid4().hex)
    assert isinstance(await some.reserve(key(1.0), 0.15), Reservation)
    for account in some._accounts.values():
        account.state_at = float("-inf")
    other = Budgets(some._store, lambda: BudgetPolicy(wait_max_s=0.1), wall=lambda: NOW)
    assert (await other.reserve(key(1.0), 0.3)).status == 402
