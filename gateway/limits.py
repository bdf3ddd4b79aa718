"""How long a deployment may take: learned from what it did before, a class default when cold.

A slow first token is no fault of a slow model, so the limit follows the deployment: three times the 99th percentile of
what was seen, within bounds. An operator's own number for a provider or deployment is taken as it is.
"""

from __future__ import annotations

from typing import Final

from router_core import decay
from router_core.deployment import Deployment, Provider
from router_core.latency import quantile, value_of
from router_core.policy import Policy
from router_core.request import RoutingRequest
from router_core.series import Series

_ENOUGH: Final = 20
"""Observations before the learned limit replaces the class default."""
_TOKENS_PER_SECOND_READ: Final = 5000.0
_TOKENS_PER_FIRST_LIMIT: Final = 100.0


def first_content_limit(
    deployment: Deployment, provider: Provider, series: Series, request: RoutingRequest, policy: Policy, now: float
) -> float:
    """Return seconds within which a stream's first content must come."""
    own = deployment.timeouts.first_content_s or provider.timeouts.first_content_s
    if own is not None:
        return own
    times = policy.timeouts
    cold = times.first_content_reasoning_s if deployment.reasoning else times.first_content_s
    reading = request.input_tokens / _TOKENS_PER_SECOND_READ
    unit = decay.weight(now, policy.learning.half_life_h * 3600.0)
    learned = quantile(series.firsts, 0.99) if sum(series.firsts.values()) >= _ENOUGH * unit else None
    if learned is None:
        return cold + reading
    return min(max(times.first_content_floor_s, learned * times.learned_quantile_factor), times.total_s) + reading


def whole_answer_limit(
    deployment: Deployment, provider: Provider, series: Series, request: RoutingRequest, policy: Policy, now: float
) -> float:
    """Return seconds within which a whole (not streamed) answer must come.

    Cold: the first-content limit, and as much again for each hundred tokens that may be written. Never above the total.
    """
    times = policy.timeouts
    total = deployment.timeouts.total_s or provider.timeouts.total_s or times.total_s
    own = deployment.timeouts.first_content_s or provider.timeouts.first_content_s
    cold = own or (times.first_content_reasoning_s if deployment.reasoning else times.first_content_s)
    tokens = min(request.max_output_tokens or policy.scoring.default_output_tokens, policy.default_max_output_tokens)
    expected = max(float(tokens), series.mean_output or 0.0)
    limit = cold * (1.0 + expected / _TOKENS_PER_FIRST_LIMIT) + request.input_tokens / _TOKENS_PER_SECOND_READ
    del now  # durations only ever raise this limit, however old they are
    factor = times.learned_quantile_factor
    if series.durations and value_of(max(series.durations)) * factor > limit:  # else no quantile can raise it
        limit = max(limit, (quantile(series.durations, 0.99) or 0.0) * factor)
    return min(limit, total)


def stream_limits(deployment: Deployment, provider: Provider, policy: Policy) -> tuple[float, float]:
    """Return (seconds of silence, seconds in all) that an open stream may take."""
    idle = deployment.timeouts.idle_s or provider.timeouts.idle_s or policy.timeouts.idle_s
    total = deployment.timeouts.total_s or provider.timeouts.total_s or policy.timeouts.total_s
    return idle, total


def stall_limit(deployment: Deployment, provider: Provider, policy: Policy) -> float:
    """Return seconds of silence within a whole answer that has begun.

    An answer is written in one go once it is there, so this is the time to first content that is usual, not the one of
    a reasoning model; an operator's own number for silence, where it is shorter, holds.
    """
    own = deployment.timeouts.first_content_s or provider.timeouts.first_content_s
    return min(own or policy.timeouts.first_content_s, stream_limits(deployment, provider, policy)[0])
