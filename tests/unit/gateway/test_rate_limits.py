from __future__ import annotations

import asyncio
import uuid

import pytest

from gateway.keys import Principal
from gateway.rate_limits import UNLIMITED, Pass, RateLimits, TooMany
from gateway.state.memory import MemoryStore
from gateway.store_errors import StoreUnavailable
from router_core.limits import KeyLimits

pytestmark = pytest.mark.anyio


def caller(**limits) -> Principal:
    return Principal("k1", limits=KeyLimits(**limits))


class Clocked(MemoryStore):
    def __init__(self, name: str = "", wall=lambda: 1000.0) -> None:
        super().__init__(name, wall=wall)
        self.away = self.asked = 0

    async def take(self, request):
        self.asked += 1
        if self.away:
            raise StoreUnavailable
        return await super().take(request)

    async def lease(self, request):
        self.asked += 1
        if self.away:
            raise StoreUnavailable
        return await super().lease(request)


async def test_a_caller_without_limits_passes_without_a_question():
    limits = RateLimits(Clocked())
    assert await limits.admit(Principal("k"), 10.0) is UNLIMITED
    limits.done(UNLIMITED, 5.0)
    assert limits.headers(Principal("k")) == {}


@pytest.mark.parametrize("shared", [False, True])
async def test_requests_per_minute_hold_and_come_back_with_time(shared):
    now = 1000.0
    name = uuid.uuid4().hex if shared else ""
    limits = RateLimits(Clocked(name, lambda: now), wall=lambda: now)
    who = caller(requests_per_minute=60)
    results = [await limits.admit(who, 1.0) for _ in range(70)]
    assert sum(isinstance(one, Pass) for one in results) == 60
    refusal = results[-1]
    assert (refusal.what, refusal.limit) == ("requests", 60)
    assert 0.0 < refusal.retry_after_s <= 1.0
    now += 1.0
    assert isinstance(await limits.admit(who, 1.0), Pass)


@pytest.mark.parametrize("shared", [False, True])
async def test_tokens_not_used_are_refunded(shared):
    limits = RateLimits(Clocked(uuid.uuid4().hex if shared else ""), wall=lambda: 1000.0)
    who = caller(tokens_per_minute=1000)
    first = await limits.admit(who, 900.0)
    assert isinstance(await limits.admit(who, 900.0), TooMany)
    limits.done(first, 100.0)
    limits.done(first, 100.0)
    assert isinstance(await limits.admit(who, 800.0), Pass)
    assert isinstance(await limits.admit(who, 200.0), TooMany)


async def test_tokens_beyond_the_estimate_are_debt():
    limits = RateLimits(Clocked(), wall=lambda: 1000.0)
    who = caller(tokens_per_minute=1000)
    limits.done(await limits.admit(who, 10.0), 1500.0)
    assert isinstance(await limits.admit(who, 1.0), TooMany)


@pytest.mark.parametrize("shared", [False, True])
async def test_places_are_taken_and_given_back(shared):
    limits = RateLimits(Clocked(uuid.uuid4().hex if shared else ""))
    who = caller(max_in_flight=2)
    one, two = await limits.admit(who, 1.0), await limits.admit(who, 1.0)
    refusal = await limits.admit(who, 1.0)
    assert (refusal.what, refusal.limit) == ("in_flight", 2)
    limits.done(one)
    limits.done(one)
    assert isinstance(await limits.admit(who, 1.0), Pass)
    assert isinstance(await limits.admit(who, 1.0), TooMany)
    limits.done(two)


async def test_a_refused_call_keeps_nothing():
    limits = RateLimits(Clocked(), wall=lambda: 1000.0)
    who = caller(requests_per_minute=2, tokens_per_minute=10, max_in_flight=1)
    assert isinstance(await limits.admit(who, 100.0), Pass) is True  # larger than the bucket, which is full
    blocked = await limits.admit(who, 1.0)
    assert blocked.what == "in_flight"
    other = caller(requests_per_minute=2, tokens_per_minute=10)
    assert (await limits.admit(other, 1.0)).what == "tokens"
    assert (await limits.admit(other, 1.0)).what == "tokens"  # the request was given back: still not "requests"


async def test_workers_share_a_limit_up_to_one_slice_each():
    name = uuid.uuid4().hex
    workers = [RateLimits(Clocked(name), wall=lambda: 1000.0) for _ in range(4)]
    who = caller(requests_per_minute=100)
    passed = 0
    for turn in range(200):
        passed += isinstance(await workers[turn % 4].admit(who, 1.0), Pass)
        await asyncio.sleep(0)
    assert 60 <= passed <= 100  # what is not passed lies as credit in the other workers


async def test_one_worker_may_use_the_whole_limit_though_others_exist():
    name = uuid.uuid4().hex
    first, second = (RateLimits(Clocked(name), wall=lambda: 1000.0) for _ in range(2))
    who = caller(requests_per_minute=100)
    assert isinstance(await second.admit(who, 1.0), Pass)
    passed = sum([isinstance(await first.admit(who, 1.0), Pass) for _ in range(100)])
    assert passed >= 80


async def test_a_store_that_is_away_leaves_each_worker_its_own_bucket():
    store = Clocked(uuid.uuid4().hex)
    store.away = 1
    limits = RateLimits(store, wall=lambda: 1000.0)
    who = caller(requests_per_minute=10, max_in_flight=20)
    results = [await limits.admit(who, 1.0) for _ in range(12)]
    assert sum(isinstance(one, Pass) for one in results) == 10


async def test_headers_are_spelled_as_openai_does():
    limits = RateLimits(Clocked(), wall=lambda: 1000.0)
    who = caller(requests_per_minute=60, tokens_per_minute=6000)
    await limits.admit(who, 1500.0)
    assert limits.headers(who) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "4500",
        "x-ratelimit-reset-tokens": "15s",
    }


async def test_stopping_gives_places_back():
    name = uuid.uuid4().hex
    first, second = (RateLimits(Clocked(name)) for _ in range(2))
    who = caller(max_in_flight=1)
    held = await first.admit(who, 1.0)
    assert isinstance(await second.admit(who, 1.0), TooMany)
    first.done(held)
    first.start()
    await first.stop()
    assert isinstance(await second.admit(who, 1.0), Pass)
