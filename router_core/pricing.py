"""Usage x price -> USD, and the estimate of it before the call."""

from __future__ import annotations

from router_core.deployment import Deployment, Price
from router_core.outcome import Usage

INPUT_MARGIN = 1.25
"""The worst case reckons with a quarter more input tokens than estimated: our tokenizer is not the provider's."""

_MANY = 2**31


def cost_usd(usage: Usage, price: Price) -> float:
    """Return what a usage costs in USD: each of the five kinds at its own price, plus the price of the request."""
    cached = price.input if price.cached_input is None else price.cached_input
    write = price.input if price.cache_write is None else price.cache_write
    reasoning = price.output if price.reasoning is None else price.reasoning
    per_million = (
        usage.input * price.input
        + usage.cached_input * cached
        + usage.cache_write * write
        + usage.output * price.output
        + usage.reasoning * reasoning
    )
    return per_million / 1e6 + price.request_usd


def expected_usd(
    rates: tuple[float, float, float, float], input_tokens: int, cached_tokens: int, output_tokens: float
) -> float:
    """Return the expected cost in USD of a call at a deployment's ``rates``."""
    per_input, per_cached, per_output, per_request = rates
    if cached_tokens:
        cached = min(cached_tokens, input_tokens)
        return (input_tokens - cached) * per_input + cached * per_cached + output_tokens * per_output + per_request
    return input_tokens * per_input + output_tokens * per_output + per_request


def worst_usd(deployment: Deployment, input_tokens: int, output_limit: int, n: int = 1) -> float:
    """Return what a call can cost at most in USD: the dearest kind of input with a margin, the whole output limit."""
    _, _, per_output, per_request = deployment.rates
    return input_tokens * INPUT_MARGIN * deployment.dearest + output_limit * n * per_output + per_request


def affordable_output(deployment: Deployment, input_tokens: int, budget_usd: float, n: int = 1) -> int:
    """Return how many output tokens per choice ``budget_usd`` buys after the worst-case input.

    At most 2 ** 31; negative when not even the input is affordable.
    """
    left = budget_usd - worst_usd(deployment, input_tokens, 0)
    if left < 0.0:
        return -1
    each = deployment.rates[2] * n
    return _MANY if left >= each * _MANY else int(left / each + 1e-9)
