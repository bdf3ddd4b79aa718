from __future__ import annotations

import pytest

from router_core.decision import Attempt
from router_core.eligibility import LEAST_OUTPUT_TOKENS
from tests.fakes.contexts import context, services
from tests.fakes.outcomes import attempt

OUTPUT_USD = 2e-6  # per token of output, by the builders' price


def test_without_a_cost_limit_every_attempt_stays_as_it_was_planned():
    ctx = context(services())
    planned = ctx.decision.attempts[0]
    ctx.spent_usd = 1e6
    assert ctx.affordable(planned) is planned


def test_what_was_spent_lowers_the_next_call_s_output_limit():
    ctx = context(services(), router={"max_cost_usd": 0.001}, max_tokens=50_000)
    planned = ctx.decision.attempts[0]
    assert planned.max_output_tokens is not None
    ctx.book(attempt(planned.deployment, cost_usd=0.0004))
    fitted = ctx.affordable(planned)
    assert fitted is not None
    assert fitted.max_output_tokens == pytest.approx(planned.max_output_tokens - 0.0004 / OUTPUT_USD, abs=1)
    assert fitted.worst_cost_usd == pytest.approx(0.0006)


def test_an_attempt_that_no_longer_fits_is_not_made():
    ctx = context(services(), router={"max_cost_usd": 0.001})
    planned = ctx.decision.attempts[0]
    ctx.spent_usd = 0.001 - LEAST_OUTPUT_TOKENS * OUTPUT_USD / 2
    assert ctx.affordable(planned) is None
    ctx.spent_usd = 0.002
    assert ctx.affordable(planned) is None


def test_a_client_that_wants_less_than_the_least_gets_it():
    ctx = context(services(), router={"max_cost_usd": 0.001}, max_tokens=2)
    ctx.spent_usd = 0.001 - 60 * OUTPUT_USD
    fitted = ctx.affordable(ctx.decision.attempts[0])
    assert fitted is not None


def test_each_leg_keeps_to_its_own_part():
    ctx = context(services(), router={"max_cost_usd": 0.001})
    ctx.decision = ctx.decision._replace(legs=2)
    name = ctx.decision.attempts[0].deployment
    fitted = ctx.affordable(Attempt(name, None, 0.0, 0.0005))
    assert fitted is not None
    assert fitted.worst_cost_usd == pytest.approx(0.0005)


def test_one_that_was_not_ranked_is_left_to_the_plan():
    ctx = context(services(), router={"only": ["acme"], "max_cost_usd": 1.0})
    stranger = Attempt("beta/m2")
    assert ctx.facts("beta/m2") is None
    assert ctx.affordable(stranger) is stranger


def test_booked_calls_add_up():
    ctx = context(services())
    calls = [attempt(cost_usd=0.5, failure=None), attempt("beta/m2", failure="server", cost_usd=0.25)]
    for call in calls:
        ctx.book(call)
    assert ctx.attempts == calls
    assert ctx.spent_usd == 0.75


def test_facts_are_those_the_decision_was_made_with():
    ctx = context(services())
    for candidate in ctx.decision.ranking:
        assert ctx.facts(candidate.deployment) is candidate.facts
