"""Gathering: what one request makes of what is known of a candidate. The decision's inner loop.

Everything that is the same for all candidates is computed once in ``Context``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from typing import Final, NamedTuple

from router_core import breaker
from router_core.breaker import Circuit
from router_core.decision import Facts, make
from router_core.deployment import Deployment
from router_core.known import MINUTE_S, Able
from router_core.policy import Policy
from router_core.pricing import INPUT_MARGIN, expected_usd, long_rates, worst_usd
from router_core.quality import length_factor, residuals
from router_core.registry import Registry
from router_core.request import RoutingRequest
from router_core.snapshot import DeploymentState, Snapshot

_CLOSED: Final = ("closed", 0.0, 1.0)


class Context(NamedTuple):
    """What all candidates of one decision share."""

    request: RoutingRequest
    snapshot: Snapshot
    registry: Registry
    policy: Policy
    now: float
    minute: int
    rows: tuple[str, ...]
    states: Mapping[str, DeploymentState]
    residuals: Mapping[str, float] | None
    difficulty: float
    length: float
    output_limit: int


def context(request: RoutingRequest, snapshot: Snapshot, registry: Registry, policy: Policy, now: float) -> Context:
    """Compute what all candidates share."""
    rows = request.profile.rows
    return Context(
        request,
        snapshot,
        registry,
        policy,
        now,
        int(now // MINUTE_S),
        tuple([row.value for row in rows]),
        snapshot.states,
        *_of_prompt(request, snapshot, policy),
        request.max_output_tokens or policy.default_max_output_tokens,
    )


def _of_prompt(
    request: RoutingRequest, snapshot: Snapshot, policy: Policy
) -> tuple[Mapping[str, float] | None, float, float]:
    """Return what the prompt itself says: residuals, the difficulty that stands in for a model, the length factor."""
    features = request.features
    if features is None or not policy.learning.enabled:
        return None, 0.0, 1.0
    state, rows = snapshot.quality, request.profile.rows
    difficulty = features.difficulty if state.model is None else 0.0
    return residuals(state, features, rows), difficulty, length_factor(state, features, rows)


def gather(able: Able, ctx: Context) -> list[Facts]:
    """Return everything a decision asks of its candidates, in their order.

    A loop over local names: this runs for each of up to hundreds of candidates of every request.
    """
    request, snapshot, registry, policy, _, minute, rows, states, residuals, difficulty, length, output_limit = ctx
    asked, n, warm, provider_open = request.input_tokens, request.n, request.warm_tokens, snapshot.provider_open
    gathered: list[Facts] = []
    for standing in able.standing(states, rows, registry, policy, minute):
        deployment, state, name, provider, known, quality, slope, ratio, wanted, most, plain, rates, dearest = standing
        quality += slope * difficulty
        if not 0.0 < quality < 1.0:
            quality = min(1.0, max(0.0, quality))
        if residuals is not None:
            quality += residuals.get(name, 0.0)
            if not 0.0 < quality < 1.0:
                quality = min(1.0, max(0.0, quality))
        tokens_in = floor(asked * ratio) or 1
        limit = output_limit if most is None or most > output_limit else most
        wanted *= length
        tokens_out = (floor(wanted) if wanted < limit else limit) * n
        cached = warm.get(name, 0) if warm else 0
        circuit, ready_in, ramp = _CLOSED
        if plain and not cached and not provider_open:  # ``expected_usd`` and ``worst_usd`` without their calls
            per_input, _, per_output, per_request = rates
            cost = tokens_in * per_input + tokens_out * per_output + per_request
            worst = tokens_in * INPUT_MARGIN * dearest + limit * n * per_output + per_request
        else:
            if not state.calm or provider_open:
                circuit, ready_in, ramp = _circuit(deployment, state.circuit, ctx)
            cost = expected_usd(long_rates(deployment, tokens_in), tokens_in, cached, tokens_out)
            worst = worst_usd(deployment, tokens_in, limit, n)
        values = (name, provider, known, quality, tokens_in, tokens_out, cached, cost, worst, circuit, ready_in, ramp)
        gathered.append(make(Facts, values))
    return gathered


def _circuit(deployment: Deployment, circuit: Circuit, ctx: Context) -> tuple[str, float, float]:
    """Return (state, seconds until a call is admitted, share of traffic it may carry)."""
    until = ctx.snapshot.provider_open.get(deployment.provider, 0.0)
    admission = breaker.admits(circuit, ctx.now, ctx.policy.breaker)
    state = "ejected" if admission.ejected else str(circuit.state)
    if state == "closed" and until > ctx.now:
        return "open", until - ctx.now, 1.0
    if state == "open" and admission.admitted:
        state = "half_open"
    return state, admission.retry_after_s or 0.0, breaker.ramp(circuit, ctx.now, ctx.policy.breaker)
