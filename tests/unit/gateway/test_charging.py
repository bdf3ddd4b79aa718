from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.budgets import FREE, Reservation
from gateway.charging import WINDOWS, WRITTEN_PER_S, booked, limits_to_send
from gateway.context import RequestContext
from router_core.decision import Attempt
from router_core.deployment import Deployment, Provider
from router_core.outcome import FailureKind, Usage
from router_core.pricing import cost_usd
from tests.fakes.contexts import context, services

CLOSED = Reservation()


def asked(*, budget: bool = True, **body: Any) -> tuple[RequestContext, Attempt, Deployment, Provider]:
    ctx = context(services(), **body)
    ctx.reservation = CLOSED if budget else FREE
    attempt = ctx.decision.attempts[0]
    deployment = ctx.deployment(attempt.deployment)
    return ctx, attempt, deployment, ctx.registry.providers[deployment.provider]


def test_a_caller_with_a_budget_cannot_have_more_written_than_was_reserved_for():
    ctx, attempt, deployment, provider = asked()
    (limit,) = limits_to_send(ctx, attempt, deployment, provider, {}).values()
    assert limit == ctx.policy.default_max_output_tokens
    most = Usage(input=ctx.routing.input_tokens, output=limit)
    assert cost_usd(most, deployment.price) <= attempt.worst_cost_usd
    small = replace(deployment, max_output_tokens=limit)  # it ends there by itself
    assert limits_to_send(ctx, attempt, small, provider, {}) == {}


def test_without_a_budget_and_with_a_limit_of_ones_own_nothing_is_added():
    assert limits_to_send(*asked(budget=False), {}) == {}
    for name in ("max_tokens", "max_completion_tokens"):
        assert limits_to_send(*asked(**{name: 5}), {}) == {}
        assert limits_to_send(*asked(), {name: 500}) == {}  # the judge's body has one already
    assert limits_to_send(*asked(), {"max_tokens": None})


def test_a_limit_of_the_plan_lowers_every_limit_the_client_gave():
    ctx, attempt, deployment, provider = asked(max_tokens=90_000, max_completion_tokens=1)
    planned = attempt._replace(max_output_tokens=50)
    assert limits_to_send(ctx, planned, deployment, provider, {}) == {"max_tokens": 50, "max_completion_tokens": 50}


def test_of_two_limits_the_larger_is_what_may_be_written():
    one, two = (asked(max_tokens=a, max_completion_tokens=b) for a, b in ((90_000, 1), (1, 90_000)))
    assert one[0].routing.max_output_tokens == two[0].routing.max_output_tokens == 90_000
    assert one[1].worst_cost_usd == two[1].worst_cost_usd > asked(max_tokens=1)[1].worst_cost_usd


def test_a_usage_that_cannot_be_is_replaced_by_the_most_that_can():
    ctx, attempt, deployment, _ = asked(max_tokens=100, n=2)
    for usage in (Usage(input=1 << 40), Usage(input=5, output=2 * WINDOWS * deployment.context_window)):
        found = booked(usage, ctx, attempt, deployment, None, 0.0)
        assert found.estimated
        assert found.output == 200
        assert cost_usd(found, deployment.price) <= attempt.worst_cost_usd


def test_a_usage_that_can_be_stays_as_it_is():
    ctx, attempt, deployment, _ = asked(max_tokens=100)
    usage = Usage(input=3 * deployment.context_window, output=700)  # tools of the provider's own read much
    for kind in (None, FailureKind.SERVER, FailureKind.CANCELLED):
        assert booked(usage, ctx, attempt, deployment, kind, 50.0) == usage
    assert booked(Usage(), ctx, attempt, deployment, FailureKind.SERVER, 50.0) == Usage()  # nobody bills a failure


@pytest.mark.parametrize("seconds", [0.0, 2.0, 1e6])
def test_leaving_early_is_billed_by_the_time_it_took_up_to_the_limit(seconds: float):
    ctx, attempt, deployment, _ = asked(max_tokens=1000)
    found = booked(Usage(), ctx, attempt, deployment, FailureKind.CANCELLED, seconds)
    assert found.estimated
    assert found.input >= ctx.routing.input_tokens
    assert found.output == min(1000, int(seconds * WRITTEN_PER_S))
    assert cost_usd(found, deployment.price) <= attempt.worst_cost_usd


def test_what_was_seen_before_leaving_comes_on_top_of_what_was_not():
    ctx, attempt, deployment, _ = asked(max_tokens=1000)
    seen = Usage(input=11, output=40, estimated=True)
    found = booked(seen, ctx, attempt, deployment, FailureKind.CANCELLED, 3.0)
    assert (found.input, found.output) == (11, 340)


def test_a_provider_that_hung_is_billed_no_more_than_it_was_expected_to_write():
    ctx, attempt, deployment, _ = asked(max_tokens=50_000)
    facts = ctx.facts(deployment.id)
    assert facts is not None
    found = booked(Usage(), ctx, attempt, deployment, FailureKind.TIMEOUT, 1e6)
    assert (found.estimated, found.output) == (True, facts.output_tokens)
    assert found.output < 50_000
