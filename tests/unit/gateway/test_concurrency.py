"""How many calls a deployment bears at once: cut by its refusals, widened by its answers, forgotten in time."""

from __future__ import annotations

import asyncio

import pytest

from gateway.concurrency import FORGET_S, Concurrency, refused
from router_core.outcome import Failure, FailureKind
from router_core.policy import AdmissionPolicy

pytestmark = pytest.mark.anyio

POLICY = AdmissionPolicy(adaptive_least=2, adaptive_decrease=0.5)
FULL = Failure(FailureKind.OVERLOADED, status=529)


def crowd(count: int, now: float = 0.0) -> Concurrency:
    held = Concurrency()
    assert all(held.enter("d", now) for _ in range(count))
    return held


@pytest.mark.parametrize(
    ("failure", "means"),
    [
        (None, False),
        (FULL, True),
        (Failure(FailureKind.RATE_LIMITED, status=429), True),
        (Failure(FailureKind.RATE_LIMITED, sent=False), False),
        (Failure(FailureKind.SERVER, status=503), True),
        (Failure(FailureKind.SERVER, status=500), False),
        (Failure(FailureKind.TIMEOUT), False),
    ],
)
def test_which_failures_mean_too_much_work(failure: Failure | None, means: bool):
    assert refused(failure) is means


def test_without_a_refusal_there_is_no_limit():
    assert crowd(10_000).limit("d") is None
    assert Concurrency().limit("never seen") is None


def test_one_burst_of_refusals_cuts_once():
    held = crowd(40)
    for _ in range(20):
        held.learn("d", FULL, started=0.0, now=1.0, policy=POLICY)
        held.leave("d")
    assert held.limit("d") == 20
    held.learn("d", FULL, started=1.5, now=2.0, policy=POLICY)
    assert held.limit("d") == 10
    assert not held.enter("d", 2.0)


def test_the_limit_never_falls_below_the_least():
    held = crowd(1)
    for moment in range(1, 9):
        held.learn("d", FULL, started=moment, now=moment + 0.5, policy=POLICY)
    assert held.limit("d") == 2


def test_the_operator_can_switch_it_off():
    held = crowd(40)
    held.learn("d", FULL, started=0.0, now=1.0, policy=AdmissionPolicy(adaptive=False))
    assert held.limit("d") is None


def test_good_answers_widen_a_limit_that_is_used_until_it_is_gone():
    held = crowd(8)
    held.learn("d", FULL, started=0.0, now=1.0, policy=POLICY)
    assert held.limit("d") == 4
    for _ in range(5):
        held.learn("d", None, started=2.0, now=3.0, policy=POLICY)
    assert held.limit("d") == 5
    for _ in range(7):
        held.leave("d")
    for _ in range(50):
        held.learn("d", None, started=2.0, now=3.0, policy=POLICY)
    assert held.limit("d") == 5, "one call at a time says nothing about six"
    held = crowd(8)
    held.learn("d", FULL, started=0.0, now=1.0, policy=POLICY)
    for _ in range(8):
        assert held.limit("d") is not None
        for _ in range(16):
            held.learn("d", None, started=2.0, now=3.0, policy=POLICY)
            if (limit := held.limit("d")) is not None and held.enter("d", 3.0):
                assert limit <= 16
    assert held.limit("d") is None


def test_a_limit_is_forgotten_in_time():
    held = crowd(4)
    held.learn("d", FULL, started=0.0, now=1.0, policy=POLICY)
    assert not held.enter("d", 1.0 + FORGET_S)
    assert held.enter("d", 1.1 + FORGET_S)
    assert held.limit("d") is None


async def test_who_waits_gets_in_in_turn():
    held = crowd(4)
    held.learn("d", FULL, started=0.0, now=1.0, policy=POLICY)
    first, second = (asyncio.create_task(held.wait("d", 5.0)) for _ in range(2))
    await asyncio.sleep(0)
    for _ in range(2):
        held.leave("d")
    await asyncio.sleep(0)
    assert not first.done(), "two are still open, and two is the limit"
    held.leave("d")
    assert await first
    assert not second.done()
    held.leave("d")
    assert await second
    held.leave("d")
    held.leave("d")
    assert held.enter("d", 1.0)


async def test_who_gives_up_holds_no_place():
    held = crowd(2)
    held.learn("d", FULL, started=0.0, now=1.0, policy=POLICY)
    assert not await held.wait("d", 0.01)
    gone = asyncio.create_task(held.wait("d", 5.0))
    await asyncio.sleep(0)
    held.leave("d")
    gone.cancel()  # in the very moment its place came
    with pytest.raises(asyncio.CancelledError):
        await gone
    held.leave("d")
    assert held.enter("d", 1.0)
    assert held.enter("d", 1.0)
    assert not held.enter("d", 1.0)


def test_leaving_what_was_never_entered_is_nothing():
    held = Concurrency()
    held.leave("d")
    held.learn("d", FULL, started=0.0, now=1.0, policy=POLICY)
    assert held.limit("d") is None
