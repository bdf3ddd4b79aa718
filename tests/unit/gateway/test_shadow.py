from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.keys import Principal
from gateway.shadow import Shadow
from router_core.policy import Policy, ShadowPolicy
from router_core.request import Mode

DAY = 86_400.0
ANYBODY = Principal("k")


def worker(at: float = 100 * DAY, **changes: Any) -> tuple[Shadow, Any]:
    services: Any = SimpleNamespace(
        ready=True,
        admission=SimpleNamespace(draining=False),
        rng=random.Random(3),
        at=at,
    )
    services.steady = lambda: services.at
    for name, value in changes.items():
        setattr(services, name, value)
    return Shadow(services), services


def policy(share: float) -> Policy:
    return Policy(shadow=ShadowPolicy(share=share))


def test_the_share_is_kept_to():
    shadow, _ = worker()
    drawn = sum(shadow.wants(policy(0.2), ANYBODY, Mode.SINGLE, 1) for _ in range(5000))
    assert 850 < drawn < 1150
    assert not any(shadow.wants(policy(0.0), ANYBODY, Mode.SINGLE, 1) for _ in range(100))
    assert all(shadow.wants(policy(1.0), ANYBODY, Mode.SINGLE, 1) for _ in range(100))


@pytest.mark.parametrize(
    ("principal", "mode", "n"),
    [
        (Principal("k", capture=False), Mode.SINGLE, 1),
        (ANYBODY, Mode.JUDGE, 1),
        (ANYBODY, Mode.SINGLE, 2),
    ],
)
def test_what_is_never_compared(principal: Principal, mode: Mode, n: int):
    shadow, _ = worker()
    assert not shadow.wants(policy(1.0), principal, mode, n)


def test_nothing_new_begins_while_draining_or_before_readiness():
    assert not worker(ready=False)[0].wants(policy(1.0), ANYBODY, Mode.SINGLE, 1)
    draining = SimpleNamespace(draining=True)
    assert not worker(admission=draining)[0].wants(policy(1.0), ANYBODY, Mode.SINGLE, 1)


def test_what_a_day_cost_is_shared_and_forgotten_the_next_day():
    shadow, services = worker()
    today = shadow._today()
    shadow._pending[today] = 0.25
    assert shadow.spent_today_usd == 0.25
    assert shadow.collect() == {today: {"usd": 0.25}}
    assert shadow.collect() == {}
    assert shadow.spent_today_usd == 0.25
    shadow._pending[today] = 0.05
    shadow.apply({today: {"usd": 1.5}})
    assert shadow.spent_today_usd == pytest.approx(1.55), "the total of all workers, and what is not yet told"
    services.at += DAY
    assert shadow.spent_today_usd == 0.0
    shadow.apply({today: {"usd": 1.5}})
    assert shadow.spent_today_usd == 0.0
