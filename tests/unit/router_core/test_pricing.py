from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from router_core.deployment import Price
from router_core.outcome import Usage
from router_core.pricing import INPUT_MARGIN, affordable_output, cost_usd, expected_usd, worst_usd
from tests.unit.router_core.builders import deployment

amounts = st.floats(0.0, 1000.0)
maybe = st.none() | amounts
prices = st.builds(Price, amounts, amounts, maybe, maybe, maybe, st.floats(0.0, 1.0))
tokens = st.integers(0, 1_000_000)


def test_each_kind_of_token_has_its_own_price():
    price = Price(1.0, 10.0, cached_input=0.1, cache_write=1.25, reasoning=20.0, request_usd=0.5)
    usage = Usage(input=1_000_000, cached_input=2_000_000, cache_write=400_000, output=100_000, reasoning=10_000)
    assert cost_usd(usage, price) == pytest.approx(1.0 + 0.2 + 0.5 + 1.0 + 0.2 + 0.5)


def test_a_kind_without_a_price_costs_what_its_side_costs():
    assert cost_usd(Usage(1, 1, 1, 1, 1), Price(1.0, 10.0)) == pytest.approx(23e-6)


def test_the_expected_cost_reckons_with_cached_tokens_but_never_with_more_than_there_are():
    rates = deployment(price=Price(1.0, 10.0, cached_input=0.1, request_usd=0.001)).rates
    assert expected_usd(rates, 1000, 0, 100) == pytest.approx(0.001 + 0.001 + 0.001)
    assert expected_usd(rates, 1000, 600, 100) == pytest.approx(0.0004 + 0.00006 + 0.001 + 0.001)
    assert expected_usd(rates, 1000, 10**9, 100) == expected_usd(rates, 1000, 1000, 100)


@given(prices, st.integers(1, 100_000), st.integers(0, 10_000), st.integers(1, 4), st.data())
def test_no_answer_within_its_limit_costs_more_than_the_worst_case(
    price: Price, estimate: int, limit: int, n: int, data: st.DataObject
):
    read = int(estimate * INPUT_MARGIN)
    fresh = data.draw(st.integers(0, read))
    cached = data.draw(st.integers(0, read - fresh))
    written = data.draw(st.integers(0, limit * n))
    usage = Usage(fresh, cached, read - fresh - cached, written, limit * n - written)
    assert cost_usd(usage, price) <= worst_usd(deployment(price=price), estimate, limit, n) * (1 + 1e-9)


@given(prices, tokens, tokens, st.floats(0.0, 1000.0), st.integers(1, 16))
def test_what_a_budget_buys_stays_within_it_and_one_token_more_does_not(
    price: Price, read: int, cached: int, budget: float, n: int
):
    one = deployment(price=price)
    bought = affordable_output(one, read, budget, n)
    assume(bought < 2**31)
    if bought < 0:
        assert worst_usd(one, read, 0, n) > budget
    else:
        assert worst_usd(one, read, bought, n) <= budget * (1 + 1e-9)
        assert worst_usd(one, read, bought + 1, n) > budget * (1 - 1e-9)


@given(prices, tokens, tokens, tokens)
def test_the_expected_cost_never_exceeds_the_worst(price: Price, read: int, cached: int, written: int):
    one = deployment(price=price)
    assert expected_usd(one.rates, read, cached, written) <= worst_usd(one, read, written) * (1 + 1e-9)


def test_free_output_can_be_had_without_end():
    free = deployment(price=Price(1.0, 0.0))
    assert affordable_output(free, 1000, 1.0) == 2**31
    assert affordable_output(free, 1_000_000, 1.0) == -1
