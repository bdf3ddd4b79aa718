from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.budgets import FREE, Refusal, Reservation
from gateway.http.errors import ApiError
from gateway.keys import Principal
from gateway.spending import (
    admit,
    covers,
    give_back,
    limit_headers,
    may_call,
    planned_usd,
    refused,
    reserve,
    return_passes,
    unclaim,
)
from router_core.budget import Budget, Window
from router_core.decision import Attempt
from router_core.limits import KeyLimits
from router_core.policy import BudgetPolicy
from tests.fakes.contexts import CALLER, context, served, services
from tests.unit.router_core.builders import registry, without_exploration

pytestmark = pytest.mark.anyio

SOON = without_exploration(budgets=BudgetPolicy(wait_max_s=0.02))
POOR = Principal("poor", budgets=(Budget(Window.DAY, 1.0),))
SLOW = Principal("slow", limits=KeyLimits(requests_per_minute=2, tokens_per_minute=100_000))


def test_the_dearest_call_is_planned_for_and_with_legs_all_that_run_at_once():
    ctx = context(services())
    attempts = tuple(Attempt(f"acme/m{n}", None, 0.0, worst) for n, worst in enumerate((0.2, 0.5, 0.3)))
    ctx.decision = ctx.decision._replace(attempts=attempts)
    assert planned_usd(ctx) == 0.5
    ctx.decision = ctx.decision._replace(attempts=attempts, legs=2)
    assert planned_usd(ctx) == pytest.approx(0.7)
    ctx.decision = ctx.decision._replace(attempts=(), legs=1)
    assert planned_usd(ctx) == 0.0


async def test_without_a_budget_nothing_is_reserved_and_everything_is_covered():
    parts = services()
    ctx = context(parts, principal=CALLER)
    await reserve(parts, ctx, 100.0)
    assert ctx.reservation is FREE
    assert await covers(parts, ctx, Attempt("acme/m1", None, 0.0, 1e6))


async def test_a_budget_refuses_what_it_cannot_pay_with_what_is_left_and_when_it_renews():
    parts = services(policy=SOON)
    ctx = context(parts, principal=POOR)
    with pytest.raises(ApiError) as found:
        await reserve(parts, ctx, 2.0)
    error = found.value
    assert (error.status, error.code, error.all_headers()["x-should-retry"]) == (402, "budget_exceeded", "false")
    assert error.extra["left_usd"] == pytest.approx(1.0)
    assert error.extra["renews_at"] > parts.clock.time()


async def test_a_reservation_grows_only_by_what_the_next_call_needs_and_not_beyond_the_budget():
    parts = services(policy=SOON)
    ctx = context(parts, principal=POOR)
    await reserve(parts, ctx, 0.4)
    assert isinstance(ctx.reservation, Reservation)
    assert await covers(parts, ctx, Attempt("acme/m1", None, 0.0, 0.4))
    assert ctx.reserved_usd == 0.4
    unclaim(ctx, Attempt("acme/m1", None, 0.0, 0.4))
    ctx.spent_usd = 0.3
    assert await covers(parts, ctx, Attempt("acme/m1", None, 0.0, 0.4))
    assert ctx.reserved_usd == pytest.approx(0.7)
    unclaim(ctx, Attempt("acme/m1", None, 0.0, 0.4))
    assert not await covers(parts, ctx, Attempt("acme/m1", None, 0.0, 0.9))
    assert ctx.reserved_usd == pytest.approx(0.7)
    assert ctx.open_usd == 0.0
    parts.budgets.settle(ctx.reservation, ctx.spent_usd)
    another = context(parts, principal=POOR)
    await reserve(parts, another, 0.65)  # what was not spent is free again


async def test_calls_that_are_open_at_once_are_all_reserved_for():
    parts = services(policy=SOON)
    ctx = context(parts, principal=POOR)
    await reserve(parts, ctx, 0.4)
    assert await covers(parts, ctx, Attempt("acme/m1", None, 0.0, 0.4))
    assert await covers(parts, ctx, Attempt("beta/m2", None, 0.0, 0.3))  # a hedge, while the first goes on
    assert ctx.reserved_usd == pytest.approx(0.7)
    assert not await covers(parts, ctx, Attempt("beta/m2", None, 0.0, 0.4))
    assert (ctx.reserved_usd, ctx.open_usd) == (pytest.approx(0.7), pytest.approx(0.7))


async def test_two_that_ask_at_the_same_moment_do_not_share_one_reservation():
    parts = services(policy=SOON)
    ctx = context(parts, principal=POOR)
    await reserve(parts, ctx, 0.3)
    first, second, third = (Attempt("acme/m1", None, 0.0, worst) for worst in (0.3, 0.3, 0.6))
    covered = await asyncio.gather(*(covers(parts, ctx, each) for each in (first, second, third)))
    assert covered == [True, True, False]
    assert (ctx.reserved_usd, ctx.open_usd) == (pytest.approx(0.6), pytest.approx(0.6))


@pytest.mark.parametrize(("status", "again"), [(402, "false"), (429, None), (503, None)])
def test_a_refusal_says_whether_trying_again_helps(status, again):
    error = refused(Refusal(status, "budget_x", "no", retry_after_s=3.0))
    assert error.all_headers().get("x-should-retry") == again
    assert error.all_headers()["retry-after"] == "3"
    assert error.extra == {}


async def test_a_key_s_own_limit_is_a_429_and_its_headers_count_down():
    parts = services()
    for left in ("1", "0"):
        ctx = context(parts, principal=SLOW)
        await admit(parts, ctx)
        assert limit_headers(parts, ctx)["x-ratelimit-remaining-requests"] == left
    ctx = context(parts, principal=SLOW)
    with pytest.raises(ApiError) as found:
        await admit(parts, ctx)
    assert (found.value.status, found.value.code) == (429, "rate_limit_exceeded")
    assert found.value.message == "the key's limit of 2 requests per minute is reached"
    assert found.value.retry_after_s is not None
    assert ctx.passes == []


async def test_a_key_s_limit_of_open_requests_says_what_it_is():
    parts, busy = services(), Principal("busy", limits=KeyLimits(max_in_flight=1))
    await admit(parts, context(parts, principal=busy))
    with pytest.raises(ApiError) as found:
        await admit(parts, context(parts, principal=busy))
    assert found.value.message == "the key's limit of 1 requests open at once is reached"


async def test_without_limits_there_are_no_headers_and_no_passes():
    parts = services()
    ctx = context(parts, principal=CALLER)
    await admit(parts, ctx)
    assert ctx.passes == []
    assert limit_headers(parts, ctx) == {}
    give_back(parts, ctx)


async def test_tokens_that_were_not_used_are_given_back():
    parts = services()
    ctx = context(parts, principal=SLOW, max_tokens=5000)
    await admit(parts, ctx)
    before = int(limit_headers(parts, ctx)["x-ratelimit-remaining-tokens"])
    served(ctx)  # ten in, twenty out
    give_back(parts, ctx)
    assert before < int(limit_headers(parts, ctx)["x-ratelimit-remaining-tokens"]) <= 100_000 - 30


@pytest.mark.parametrize("side", ["deployments", "providers"])
async def test_a_deployment_s_and_a_provider_s_limits_hold(side):
    row = {"id": "acme/m1", "limits": {"max_in_flight": 1}} if side == "deployments" else {"id": "acme/m1"}
    found = registry(row)
    if side == "providers":
        provider = replace(found.providers["acme"], limits=replace(found.providers["acme"].limits, max_in_flight=1))
        found = replace(found, providers={**found.providers, "acme": provider})
    parts = services(found)
    first, second = context(parts), context(parts)
    deployment = found.deployments["acme/m1"]
    passes = await may_call(parts, first, deployment)
    assert passes
    assert await may_call(parts, second, deployment) is None
    return_passes(parts, passes)
    assert await may_call(parts, second, deployment)


async def test_a_place_at_a_deployment_whose_provider_is_full_is_given_back_at_once():
    found = registry({"id": "acme/m1", "limits": {"max_in_flight": 1}}, {"id": "acme/m2"})
    provider = replace(found.providers["acme"], limits=replace(found.providers["acme"].limits, max_in_flight=1))
    found = replace(found, providers={"acme": provider})
    parts = services(found)
    busy, turned_away, later = context(parts), context(parts), context(parts)
    passes = await may_call(parts, busy, found.deployments["acme/m2"])
    assert passes
    assert await may_call(parts, turned_away, found.deployments["acme/m1"]) is None
    return_passes(parts, passes)
    assert await may_call(parts, later, found.deployments["acme/m1"])


async def test_without_limits_a_call_needs_no_pass():
    parts = services()
    ctx = context(parts)
    assert await may_call(parts, ctx, ctx.deployment("acme/m1")) == ()
