from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from router_core.errors import ConfigError
from router_core.outcome import Usage
from router_core.price import LongPrice, Price
from router_core.pricing import INPUT_MARGIN, affordable_output, cost_usd, expected_usd, long_rates, worst_usd
from tests.unit.router_core.builders import deployment

amounts = st.floats(0.0, 1000.0)
maybe = st.none() | amounts
steps = st.lists(st.integers(1, 120_000), max_size=3, unique=True).flatmap(
    lambda sizes: st.tuples(
        *[st.builds(LongPrice, st.just(s), amounts, amounts, maybe, maybe, maybe) for s in sorted(sizes)]
    )
)
flat = st.builds(Price, amounts, amounts, maybe, maybe, maybe, st.floats(0.0, 1.0))
prices = st.builds(lambda price, long: replace(price, long=long), flat, steps)
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


@given(flat, tokens, tokens, st.floats(0.0, 1000.0), st.integers(1, 16))
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


@given(prices, tokens, st.floats(0.0, 1000.0), st.integers(1, 16))
def test_what_a_budget_buys_stays_within_it_whatever_the_prompt_s_step(price: Price, read: int, budget: float, n: int):
    one = deployment(price=price)
    bought = affordable_output(one, read, budget, n)
    assert bought < 0 or worst_usd(one, read, min(bought, 10**9), n) <= budget * (1 + 1e-9)


@given(prices, tokens, tokens, tokens)
def test_the_expected_cost_never_exceeds_the_worst(price: Price, read: int, cached: int, written: int):
    one = deployment(price=price)
    expected = expected_usd(long_rates(one, read), read, cached, written)
    assert expected <= worst_usd(one, read, written) * (1 + 1e-9)


# --- prices that rise with the prompt


RISING = Price(
    1.0,
    10.0,
    cached_input=0.1,
    request_usd=0.5,
    long=(LongPrice(200_000, 2.0, 15.0, cached_input=0.2), LongPrice(500_000, 4.0, 30.0, cache_write=5.0)),
)


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage(100_000, 100_000, output=1000), 0.1 + 0.01 + 0.01),
        (Usage(100_001, 100_000, output=1000), 2 * 0.100001 + 0.02 + 0.015),
        (Usage(0, 500_000, output=1000), 0.1 + 0.015),
        (Usage(400_000, 100_000, 100_000, reasoning=1000), 1.6 + 0.4 + 0.5 + 0.03),
    ],
)
def test_every_token_of_a_longer_prompt_and_its_answer_has_the_step_s_price(usage: Usage, usd: float):
    assert cost_usd(usage, RISING) == pytest.approx(usd + 0.5)


def test_what_is_expected_and_what_it_can_cost_at_most_follow_the_steps():
    one = deployment(price=RISING)
    assert expected_usd(long_rates(one, 200_000), 200_000, 0, 100) == pytest.approx(0.2 + 0.001 + 0.5)
    assert expected_usd(long_rates(one, 200_001), 200_001, 0, 100) == pytest.approx(2 * 0.200001 + 0.0015 + 0.5)
    assert worst_usd(one, 160_000, 100) == pytest.approx(0.2 + 0.001 + 0.5)
    assert worst_usd(one, 160_001, 100) == pytest.approx(1.25 * 2 * 0.160001 + 0.0015 + 0.5)
    assert affordable_output(one, 1000, 1.0) > 2 * affordable_output(one, 190_000, 1.0) > 0


def test_a_longer_prompt_may_be_cheaper_and_the_worst_case_knows():
    one = deployment(price=Price(4.0, 10.0, long=(LongPrice(1000, 1.0, 1.0),)))
    assert worst_usd(one, 1000, 100) == pytest.approx(1.25 * 0.004 + 0.001)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"long": (LongPrice(2000, 1, 1), LongPrice(2000, 2, 2))}, "larger and larger"),
        ({"request_usd": -1.0}, "request_usd"),
        ({"reasoning": float("nan")}, "reasoning"),
    ],
)
def test_an_impossible_price_is_refused(wrong: dict[str, Any], says: str):
    with pytest.raises(ConfigError, match=says):
        Price(1.0, 2.0, **wrong)


@pytest.mark.parametrize(("values", "says"), [((0, 1.0, 1.0), "at least 1 token"), ((10, -1.0, 1.0), "price input")])
def test_an_impossible_price_of_longer_prompts_is_refused(values: tuple[Any, ...], says: str):
    with pytest.raises(ConfigError, match=says):
        LongPrice(*values)


def test_free_output_can_be_had_without_end():
    free = deployment(price=Price(1.0, 0.0))
    assert affordable_output(free, 1000, 1.0) == 2**31
    assert affordable_output(free, 1_000_000, 1.0) == -1
