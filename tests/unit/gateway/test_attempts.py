"""The attempt loop over scripted deployments: who is called, for how long, under which leave, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.attempts import AttemptLoop, Exhausted
from gateway.calls import LiveCall
from gateway.context import RequestContext
from gateway.services import Services
from gateway.whole import close
from router_core import breaker
from router_core.decision import Attempt
from router_core.errors import AttemptFailed
from router_core.outcome import AttemptRole, Failure, FailureKind
from router_core.policy import AdmissionPolicy, BreakerPolicy, Policy, RateLimitPolicy
from router_core.ports import Answer, Call
from tests.fakes.contexts import context, services
from tests.unit.router_core.builders import registry, without_exploration

pytestmark = pytest.mark.anyio

Script = Callable[[], Awaitable[Answer]]
GOOD = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}


async def well() -> Answer:
    return Answer({**GOOD, "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}})


async def silent() -> Answer:
    await asyncio.sleep(30)
    raise AssertionError


def failing(kind: str, **more: Any) -> Script:
    async def fail() -> Answer:
        raise AttemptFailed(Failure(FailureKind(kind), f"a {kind} failure", **more))

    return fail


class Scripted:
    """A forwarder that answers as each deployment's script says; ``calls`` names who was asked."""

    def __init__(self, **scripts: Script) -> None:
        self.scripts = scripts
        self.calls: list[str] = []

    async def send(self, call: Call) -> Answer:
        self.calls.append(call.deployment.id)
        return await self.scripts[call.deployment.id.replace("/", "_")]()


def stage(
    policy: Policy | None = None, *rows: Any, headers: dict[str, str] | None = None, **scripts: Script
) -> tuple[Services, RequestContext, Scripted]:
    """Return a worker, a request over acme/m1 then beta/m2, and who plays them."""
    forwarder = Scripted(**scripts)
    parts = services(registry(*(rows or ("acme/m1", "beta/m2"))), policy, forwarder=forwarder)
    return parts, context(parts, headers=headers), forwarder


def plan(ctx: RequestContext, *names: str) -> list[Attempt]:
    return [Attempt(name, None, 0.0, 0.0) for name in names or ("acme/m1", "beta/m2")]


async def opened(parts: Services, ctx: RequestContext, *names: str) -> LiveCall:
    return await AttemptLoop(parts, ctx, plan(ctx, *names), AttemptRole.PRIMARY).open()


# --- time


async def test_a_silent_deployment_leaves_the_next_one_its_part_of_a_client_s_time():
    parts, ctx, forwarder = stage(acme_m1=silent, beta_m2=well, headers={"x-router-max-latency-ms": "600000"})
    ctx.own_deadline, ctx.deadline = True, parts.steady() + 0.2
    live = await opened(parts, ctx)
    assert (live.deployment.id, forwarder.calls) == ("beta/m2", ["acme/m1", "beta/m2"])
    assert ctx.attempts[0].failure is not None
    assert ctx.attempts[0].failure.kind is FailureKind.CANCELLED, "a client's haste is nobody's fault"
    assert parts.learner.snapshot.circuit("acme/m1").consecutive == 0
    assert ctx.fallback_reason == "timeout"


async def test_the_last_one_gets_all_the_time_that_is_left():
    parts, ctx, _ = stage(acme_m1=silent, beta_m2=silent, headers={"x-router-max-latency-ms": "600000"})
    ctx.own_deadline, ctx.deadline = True, parts.steady() + 0.1
    with pytest.raises(Exhausted) as caught:
        await opened(parts, ctx)
    assert caught.value.failure is not None
    assert caught.value.failure.kind is FailureKind.CANCELLED
    assert caught.value.reason == "deadline"


async def test_a_silent_deployment_under_the_operator_s_time_counts():
    parts, ctx, _ = stage(acme_m1=silent, beta_m2=well)
    ctx.deadline = parts.steady() + 0.2
    assert (await opened(parts, ctx)).deployment.id == "beta/m2"
    assert parts.learner.snapshot.circuit("acme/m1").consecutive == 1


@pytest.mark.parametrize(
    ("known_s", "left_s", "spare_s"),
    [(0.0, 60.0, 30.0), (0.02, 60.0, 0.28), (2.0, 60.0, 3.25), (2.0, 4.0, 2.0)],
    ids=["unknown: half", "quick: with room for a slow one", "known", "at most half"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_left_for_the_next_one(
    known_s: float, left_s: float, spare_s: float, stream: bool, monkeypatch: pytest.MonkeyPatch
):
    parts, ctx, _ = stage()
    facts = ctx.facts("beta/m2")
    assert facts is not None
    known = replace(facts.known, **{"first_p95_s" if stream else "latency_p95_s": known_s})
    monkeypatch.setattr(RequestContext, "facts", lambda *_: facts._replace(known=known))
    monkeypatch.setattr(parts, "steady", lambda: 1000.0)
    ctx.deadline = 1000.0 + left_s
    loop = AttemptLoop(parts, ctx, plan(ctx, "beta/m2"), AttemptRole.PRIMARY)
    assert loop._spare_s(stream=stream) == pytest.approx(spare_s)


# --- leave


async def test_each_deployment_s_limit_is_charged_with_its_own_tokens():
    limits = {"tokens_per_minute": 100_000, "max_in_flight": 5}
    rows = ({"id": "acme/m1", "limits": limits}, {"id": "beta/m2", "limits": limits})
    parts, ctx, _ = stage(None, *rows, acme_m1=failing("timeout"), beta_m2=well)
    close(ctx, await opened(parts, ctx))
    limiter = parts.rate_limits
    left = {name: credit.left() for name, credit in limiter._credits.items()}
    assert left["tokens:deployment:acme/m1"] == pytest.approx(100_000 - ctx.attempts[0].usage.total)
    assert left["tokens:deployment:beta/m2"] == pytest.approx(100_000 - 120)
    assert all(not places.used for places in limiter._places.values())


async def test_a_call_that_no_circuit_allows_uses_no_leave():
    limits = {"tokens_per_minute": 100_000, "max_in_flight": 1}
    parts, ctx, forwarder = stage(None, {"id": "acme/m1", "limits": limits}, "beta/m2", acme_m1=well, beta_m2=well)
    shut = breaker.trip(breaker.CLOSED, parts.steady(), 60.0, "server")
    parts.learner.snapshot = parts.learner.snapshot.with_circuit("acme/m1", shut)
    assert (await opened(parts, ctx)).deployment.id == "beta/m2"
    assert forwarder.calls == ["beta/m2"]
    assert all(not places.used for places in parts.rate_limits._places.values())
    assert parts.rate_limits._credits["tokens:deployment:acme/m1"].left() == pytest.approx(100_000)


# --- room


NARROW = without_exploration(admission=AdmissionPolicy(adaptive_least=1, adaptive_decrease=0.1, queue_wait_s=0.5))


async def test_a_deployment_that_refused_work_is_passed_by_while_others_have_room():
    parts, ctx, forwarder = stage(NARROW, acme_m1=failing("overloaded", status=529), beta_m2=well)
    assert (await opened(parts, ctx)).deployment.id == "beta/m2"
    assert parts.concurrency.limit("acme/m1") == 1
    assert parts.concurrency.enter("acme/m1", parts.steady())
    forwarder.scripts["acme_m1"] = well
    forwarder.calls.clear()
    another = context(parts)
    assert (await opened(parts, another)).deployment.id == "beta/m2"
    assert (forwarder.calls, another.fallback_reason) == (["beta/m2"], "busy")


async def test_where_nobody_else_is_left_a_request_waits_for_room_and_is_turned_away_in_time():
    parts, ctx, forwarder = stage(NARROW, acme_m1=failing("overloaded", status=529))
    with pytest.raises(Exhausted):
        await opened(parts, ctx, "acme/m1")
    assert parts.concurrency.enter("acme/m1", parts.steady())
    forwarder.scripts["acme_m1"] = well
    with pytest.raises(Exhausted) as caught:
        await opened(parts, context(parts), "acme/m1")
    assert caught.value.failure is not None
    assert (caught.value.failure.kind, caught.value.failure.sent) == (FailureKind.OVERLOADED, False)
    asking = asyncio.create_task(opened(parts, context(parts), "acme/m1"))
    await asyncio.sleep(0)
    parts.concurrency.leave("acme/m1")
    assert (await asking).deployment.id == "acme/m1"


# --- the last resort


RESORTING = without_exploration(rate_limit=RateLimitPolicy(wait_max_s=0.0))


def shut(parts: Services, name: str, *, since_s: float, reason: str = "server") -> None:
    tripped = breaker.trip(breaker.CLOSED, parts.steady() - since_s, 60.0 + since_s, reason)
    parts.learner.snapshot = parts.learner.snapshot.with_circuit(name, tripped)


@pytest.mark.parametrize(
    ("since_s", "reason", "policy", "asked"),
    [
        (3.0, "server", RESORTING, True),
        (1.0, "server", RESORTING, False),
        (30.0, "credentials", RESORTING, False),
        (30.0, "server", RESORTING.replace(breaker=BreakerPolicy(last_resort=False)), False),
    ],
)
async def test_an_open_circuit_is_asked_when_all_others_failed(
    since_s: float, reason: str, policy: Policy, asked: bool
):
    parts, _, forwarder = stage(policy, acme_m1=failing("rate_limited", status=429), beta_m2=well)
    shut(parts, "beta/m2", since_s=since_s, reason=reason)
    ctx = context(parts)
    loop = AttemptLoop(parts, ctx, ctx.decision.attempts, AttemptRole.PRIMARY)
    assert [attempt.deployment for attempt in ctx.decision.attempts] == ["acme/m1"]
    if asked:
        live = await loop.open()
        close(ctx, live)
        assert live.deployment.id == "beta/m2"
        assert parts.learner.snapshot.circuit("beta/m2").state is breaker.State.CLOSED
    else:
        with pytest.raises(Exhausted):
            await loop.open()
        assert forwarder.calls == ["acme/m1"]


async def test_with_all_open_one_request_probes_and_the_next_is_turned_away():
    parts, _, forwarder = stage(RESORTING, acme_m1=failing("server", status=503, gateway=True), beta_m2=well)
    shut(parts, "acme/m1", since_s=3.0)
    shut(parts, "beta/m2", since_s=1.0)
    first, second = context(parts), context(parts)
    assert (first.decision.last_resort, second.decision.last_resort) == (True, True)
    with pytest.raises(Exhausted):
        await AttemptLoop(parts, first, first.decision.attempts, AttemptRole.PRIMARY).open()
    with pytest.raises(Exhausted) as caught:
        await AttemptLoop(parts, second, second.decision.attempts, AttemptRole.PRIMARY).open()
    assert caught.value.failure is None
    assert forwarder.calls == ["acme/m1"]


async def test_a_last_resort_fits_into_the_cost_limit_or_is_not_asked():
    parts, _, forwarder = stage(RESORTING, acme_m1=failing("timeout"), beta_m2=well)
    shut(parts, "beta/m2", since_s=3.0)
    ctx = context(parts, headers={"x-router-max-cost-usd": "0.02"}, max_tokens=1000)
    attempts = [attempt._replace(deployment="acme/m1") for attempt in ctx.decision.attempts]
    ctx.spent_usd = 0.02
    with pytest.raises(Exhausted):
        await AttemptLoop(parts, ctx, attempts, AttemptRole.PRIMARY).open()
    assert "beta/m2" not in forwarder.calls
