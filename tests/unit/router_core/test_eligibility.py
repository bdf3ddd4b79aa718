"""The hard rules: who may not serve a request, and what the refusal says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.decision import Facts, Rule
from router_core.deployment import Capability, Deployment
from router_core.eligibility import (
    LEAST_OUTPUT_TOKENS,
    ask_static,
    attempt_for,
    longest_output,
    nobody_refused,
    refuse_by_facts,
    refuse_static,
)
from router_core.price import Price
from router_core.pricing import expected_usd, worst_usd
from router_core.request import RoutingRequest
from tests.unit.router_core.builders import deployment, facts, registry, request

STATIC = [
    ({"enabled": False}, {}, Rule.DISABLED, "switched off"),
    ({"callable": False}, {}, Rule.NO_KEY, "no key"),
    ({}, {"allowed_models": frozenset({"m2"})}, Rule.NOT_ALLOWED, "key may not"),
    ({}, {"allowed_models": frozenset()}, Rule.NOT_ALLOWED, "key may not"),
    ({}, {"exclude": ("acme",)}, Rule.EXCLUDED, "excluded"),
    ({}, {"only": ("beta", "m2")}, Rule.NOT_LISTED, "only list"),
    ({}, {"needs": frozenset({Capability.VISION, Capability.TOOLS})}, Rule.CAPABILITY, "lacks tools, vision"),
    ({}, {"max_price_prompt": 0.5}, Rule.PRICE, "costs 1/2 USD"),
    ({}, {"max_price_completion": 1.5}, Rule.PRICE, "costs 1/2 USD"),
]


@pytest.mark.parametrize(("owner", "asked", "rule", "says"), STATIC, ids=[str(row[2]) for row in STATIC])
def test_a_rule_that_needs_only_the_registry_refuses_and_says_why(
    owner: dict[str, Any], asked: dict[str, Any], rule: Rule, says: str
):
    refusal = refuse_static(deployment(**owner), request(**asked))
    assert refusal is not None
    assert (refusal.deployment, refusal.rule, refusal.retry_after_s) == ("acme/m1", rule, None)
    assert says in refusal.detail


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"allowed_models": frozenset({"m1"})},
        {"exclude": ("beta",)},
        {"only": ("acme/m1",)},
        {"needs": frozenset({Capability.STREAMING})},
        {"max_price_prompt": 1.0, "max_price_completion": 2.0},
    ],
)
def test_who_keeps_the_static_rules_is_not_refused(asked: dict[str, Any]):
    assert refuse_static(deployment(), request(**asked)) is None


BY_FACTS = [
    ({"input_tokens": 100_001}, {}, Rule.CONTEXT_WINDOW, "needs about 100001 tokens of a window of 100000"),
    ({"input_tokens": 99_000}, {"max_output_tokens": 1001}, Rule.CONTEXT_WINDOW, "100001"),
    ({"quality": 0.6}, {"min_quality": 0.7}, Rule.QUALITY, "0.600 is below 0.7"),
    ({"latency_p95_s": 2.5}, {"max_latency_ms": 2000}, Rule.LATENCY, "2500 ms is above 2000 ms"),
    ({"first_p95_s": 0.5}, {"max_latency_ms": 400, "stream": True}, Rule.LATENCY, "500 ms"),
    ({"expected_cost_usd": 0.002}, {"max_cost_usd": 0.001}, Rule.COST, "0.002000 USD does not fit into 0.001 USD"),
    ({"breaker": "open", "ready_in_s": 12.0}, {}, Rule.BREAKER, "open for another 12 s"),
    ({"breaker": "half_open", "ready_in_s": 5.0}, {}, Rule.BREAKER, "half_open for another 5 s"),
    ({"breaker": "ejected", "ready_in_s": 30.0}, {}, Rule.RATE_LIMIT, "ejected for another 30 s"),
]


@pytest.mark.parametrize(("seen", "asked", "rule", "says"), BY_FACTS)
def test_a_rule_about_what_was_learned_refuses_with_the_facts(
    seen: dict[str, Any], asked: dict[str, Any], rule: Rule, says: str
):
    judged = facts(**seen)
    refusal = refuse_by_facts(deployment(), judged, request(**asked))
    assert refusal is not None
    assert (refusal.rule, refusal.facts) == (rule, judged)
    assert says in refusal.detail
    assert refusal.retry_after_s == (judged.ready_in_s or None)


@pytest.mark.parametrize(
    ("seen", "asked"),
    [
        ({}, {}),
        ({"input_tokens": 99_000}, {"max_output_tokens": 1000}),
        ({"quality": 0.7}, {"min_quality": 0.7}),
        ({"latency_p95_s": 2.0, "first_p95_s": 9.0}, {"max_latency_ms": 2000}),
        ({"first_p95_s": 0.3, "latency_p95_s": 9.0}, {"max_latency_ms": 400, "stream": True}),
        ({"worst_cost_usd": 0.01}, {"max_cost_usd": 0.01}),
        ({"breaker": "half_open"}, {}),
    ],
)
def test_who_keeps_the_learned_rules_is_not_refused(seen: dict[str, Any], asked: dict[str, Any]):
    assert refuse_by_facts(deployment(), facts(**seen), request(**asked)) is None


@pytest.mark.parametrize(("seen", "asked"), [row[:2] for row in BY_FACTS])
def test_where_somebody_may_be_refused_everybody_is_asked(seen: dict[str, Any], asked: dict[str, Any]):
    window = deployment().context_window
    assert not nobody_refused([facts(), facts(**seen)], request(**asked), window)


def test_where_nobody_can_be_refused_nobody_need_be_asked():
    known = [facts(input_tokens=99_000), facts(breaker="half_open")]
    assert nobody_refused(known, request(max_output_tokens=1000), 100_000)
    assert nobody_refused([], request(), 0)


# --- what is remembered of the static rules


def test_the_static_rules_are_asked_once_for_a_kind_of_request():
    setup = registry("acme/m1", "acme/m2", "beta/m1")
    resolved = setup.resolve("auto")
    key = {"allowed_models": frozenset({"acme"})}
    able, refused = ask_static(resolved, resolved.pool, request(**key))
    assert [each.id for each in able.deployments] == ["acme/m1", "acme/m2"]
    assert [(item.deployment, item.rule) for item in refused] == [("beta/m1", Rule.NOT_ALLOWED)]
    assert ask_static(resolved, resolved.pool, request(**key, input_tokens=7))[0] is able
    assert ask_static(resolved, resolved.pool, request())[0] is not able


@pytest.mark.parametrize(
    "own", [{"exclude": ("beta",)}, {"only": ("acme",)}, {"max_price_prompt": 9.0}, {"max_price_completion": 9.0}]
)
def test_what_a_client_thinks_up_is_not_remembered(own: dict[str, Any]):
    resolved = registry("acme/m1", "acme/m2", "beta/m1").resolve("auto")
    ask_static(resolved, resolved.pool, request(**own))
    assert not resolved.memo


def test_only_so_many_kinds_of_requests_are_remembered():
    setup = registry("acme/m1")
    resolved = setup.resolve("auto")
    for number in range(200):
        able, refused = ask_static(resolved, resolved.pool, request(allowed_models=frozenset({f"m{number}"})))
        assert (len(able.deployments), len(refused)) == ((1, 0) if number == 1 else (0, 1))
    assert len(resolved.memo) <= 64


def test_a_pool_that_fallbacks_joined_is_not_remembered():
    setup = registry("acme/m1", "beta/m1")
    resolved = setup.resolve("acme/m1")
    able, _ = ask_static(resolved, {**resolved.pool, "beta/m1": setup.deployments["beta/m1"]}, request())
    assert [each.id for each in able.deployments] == ["acme/m1", "beta/m1"]
    assert not resolved.memo


# --- the cost limit: what cannot be bought is refused, what can be is limited


def priced(asked: RoutingRequest, owner: Deployment, mean_output: int = 400) -> Facts:
    """Facts whose costs belong to the deployment's price."""
    limit = min(asked.max_output_tokens or 4096, owner.max_output_tokens or 4096)
    written = min(mean_output, limit) * asked.n
    return facts(
        input_tokens=asked.input_tokens,
        output_tokens=written,
        expected_cost_usd=expected_usd(owner.rates, asked.input_tokens, 0, written),
        worst_cost_usd=worst_usd(owner, asked.input_tokens, limit, asked.n),
    )


@pytest.mark.parametrize(
    ("buys", "asked", "refused"),
    [
        (LEAST_OUTPUT_TOKENS, {}, False),
        (LEAST_OUTPUT_TOKENS - 1, {}, True),
        (5, {"max_output_tokens": 5}, False),
        (4, {"max_output_tokens": 5}, True),
    ],
)
def test_an_answer_must_be_worth_its_call(buys: int, asked: dict[str, Any], refused: bool):
    owner = deployment()
    budget = worst_usd(owner, 500, buys)
    cheap = facts(input_tokens=500, expected_cost_usd=1e-9, worst_cost_usd=1.0)
    refusal = refuse_by_facts(owner, cheap, request(max_cost_usd=budget, **asked))
    assert (refusal is not None) is refused


def test_without_a_cost_limit_nothing_is_lowered():
    owner, asked = deployment(), request()
    attempt = attempt_for(owner, priced(asked, owner), asked, None)
    assert (attempt.max_output_tokens, attempt.worst_cost_usd) == (None, priced(asked, owner).worst_cost_usd)


def test_a_limit_the_budget_covers_is_left_alone():
    owner, asked = deployment(), request(max_output_tokens=100)
    attempt = attempt_for(owner, priced(asked, owner), asked, 1.0)
    assert attempt.max_output_tokens is None
    assert attempt.worst_cost_usd == pytest.approx(worst_usd(owner, 500, 100))


def test_a_client_without_a_limit_gets_the_one_that_its_money_buys():
    owner, asked = deployment(), request()
    budget = worst_usd(owner, 500, 10_000)
    attempt = attempt_for(owner, priced(asked, owner), asked, budget)
    assert (attempt.max_output_tokens, attempt.worst_cost_usd) == (10_000, budget)


def test_no_limit_is_sent_where_the_deployment_s_own_is_low_enough():
    owner, asked = deployment(max_output_tokens=8000), request()
    attempt = attempt_for(owner, priced(asked, owner), asked, worst_usd(owner, 500, 10_000))
    assert attempt.max_output_tokens is None


def test_a_budget_that_buys_nothing_asks_for_no_token():
    owner, asked = deployment(), request(max_output_tokens=1)
    attempt = attempt_for(owner, priced(asked, owner), asked, worst_usd(owner, 500, 0))
    assert attempt.max_output_tokens == 0


def test_an_answer_is_at_most_what_the_window_leaves():
    owner = deployment(context_window=1000)
    assert longest_output(owner, facts(input_tokens=400), request()) == 600
    assert longest_output(owner, facts(input_tokens=400), request(max_output_tokens=50)) == 50
    assert longest_output(deployment(max_output_tokens=70), facts(), request()) == 70
    assert longest_output(owner, facts(input_tokens=5000), request()) == 1


prices = st.builds(Price, st.floats(0.0, 100.0), st.floats(0.0, 100.0))


@given(
    prices,
    st.integers(1, 90_000),
    st.none() | st.integers(1, 9_000),
    st.none() | st.integers(1, 9_000),
    st.integers(1, 4),
    st.floats(1e-6, 10.0),
)
def test_whoever_is_admitted_under_a_cost_limit_can_never_cost_more(
    price: Price, read: int, wanted: int | None, own: int | None, n: int, budget: float
):
    owner = deployment(price=price, max_output_tokens=own)
    asked = request(input_tokens=read, max_output_tokens=wanted, n=n, max_cost_usd=budget)
    judged = priced(asked, owner)
    if refuse_by_facts(owner, judged, asked) is not None:
        return
    attempt = attempt_for(owner, judged, asked, budget)
    assert attempt.worst_cost_usd <= budget
    sent = attempt.max_output_tokens
    assert sent is None or 1 <= sent < longest_output(owner, judged, asked)
    written = longest_output(owner, judged, asked) if sent is None else sent
    assert worst_usd(owner, read, written, n) <= budget * (1 + 1e-9)
    assert attempt.worst_cost_usd >= worst_usd(owner, read, written, n) * (1 - 1e-9)
