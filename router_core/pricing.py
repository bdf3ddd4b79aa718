"""Usage x price -> USD, and the estimate of it before the call."""

from __future__ import annotations

from router_core.deployment import Deployment
from router_core.outcome import Usage
from router_core.price import PerToken, Price

INPUT_MARGIN = 1.25
"""The worst case reckons with a quarter more input tokens than estimated: our tokenizer is not the provider's."""

_MANY = 2**31


def cost_usd(usage: Usage, price: Price) -> float:
    """Return what a usage costs in USD: each of the five kinds at its own price, plus the price of the request."""
    held = price.of(usage.prompt) if price.long else price
    cached = held.input if held.cached_input is None else held.cached_input
    write = held.input if held.cache_write is None else held.cache_write
    reasoning = held.output if held.reasoning is None else held.reasoning
    per_million = (
        usage.input * held.input
        + usage.cached_input * cached
        + usage.cache_write * write
        + usage.output * held.output
        + usage.reasoning * reasoning
    )
    return per_million / 1e6 + price.request_usd


def long_rates(deployment: Deployment, input_tokens: int) -> PerToken:
    """Return the rates of a prompt of so many tokens, for deployments whose price rises with its length."""
    return next((step.per_token for step in deployment.long_rates[::-1] if input_tokens > step.above), deployment.rates)


def expected_usd(rates: PerToken, input_tokens: int, cached_tokens: int, output_tokens: float) -> float:
    """Return the expected cost in USD of a call at a deployment's ``rates``."""
    per_input, per_cached, per_output, per_request = rates
    if cached_tokens:
        cached = min(cached_tokens, input_tokens)
        return (input_tokens - cached) * per_input + cached * per_cached + output_tokens * per_output + per_request
    return input_tokens * per_input + output_tokens * per_output + per_request


def worst_usd(deployment: Deployment, input_tokens: int, output_limit: int, n: int = 1) -> float:
    """Return what a call can cost at most in USD: the dearest kind of input with a margin, the whole output limit.

    Where the price rises with the prompt, the dearest step that the margin may reach.
    """
    _, _, per_output, per_request = deployment.rates
    worst = input_tokens * INPUT_MARGIN * deployment.dearest + output_limit * n * per_output + per_request
    for (_, _, long_output, _), dearest, above in deployment.long_rates:
        if input_tokens * INPUT_MARGIN > above:
            worst = max(worst, input_tokens * INPUT_MARGIN * dearest + output_limit * n * long_output + per_request)
    return worst


def affordable_output(deployment: Deployment, input_tokens: int, budget_usd: float, n: int = 1) -> int:
    """Return how many output tokens per choice ``budget_usd`` buys after the worst-case input.

    At most 2 ** 31; negative when not even the input is affordable.
    """
    left = budget_usd - worst_usd(deployment, input_tokens, 0)
    if left < 0.0:
        return -1
    reach = [step.per_token[2] for step in deployment.long_rates if input_tokens * INPUT_MARGIN > step.above]
    each = max(deployment.rates[2], *reach) * n if reach else deployment.rates[2] * n
    return _MANY if left >= each * _MANY else int(left / each + 1e-9)
