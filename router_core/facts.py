"""Gathering: what one request makes of what is known of a candidate. The decision's inner loop.

Everything that is the same for all candidates is computed once in ``Context``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from router_core import breaker
from router_core.breaker import Circuit
from router_core.decision import Facts
from router_core.deployment import Deployment
from router_core.known import MINUTE_S, known_of
from router_core.policy import Policy
from router_core.pricing import expected_usd, worst_usd
from router_core.quality import length_factor, residuals, shifted
from router_core.registry import Registry
from router_core.request import RoutingRequest
from router_core.snapshot import EMPTY_STATE, DeploymentState, Snapshot

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
        tuple(str(row) for row in rows),
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


def gather(deployment: Deployment, ctx: Context) -> Facts:
    """Return everything a decision asks of a candidate."""
    name = deployment.id
    request = ctx.request
    state = ctx.states.get(name, EMPTY_STATE)
    known = known_of(deployment, state, ctx.rows, ctx.registry, ctx.policy, ctx.minute)
    quality = known.quality
    if ctx.difficulty:
        quality = shifted(quality, ctx.difficulty)
    if ctx.residuals is not None:
        quality = min(1.0, max(0.0, quality + ctx.residuals.get(name, 0.0)))
    input_tokens = int(request.input_tokens * known.input_ratio) or 1
    limit = ctx.output_limit
    if deployment.max_output_tokens is not None and deployment.max_output_tokens < limit:
        limit = deployment.max_output_tokens
    output_tokens = int(min(known.mean_output * ctx.length, limit)) * request.n
    cached = request.warm_tokens.get(name, 0) if request.warm_tokens else 0
    circuit, ready_in, ramp = _CLOSED
    if state.circuit is not breaker.CLOSED or ctx.snapshot.provider_open:
        circuit, ready_in, ramp = _circuit(deployment, state.circuit, ctx)
    return Facts(
        name,
        deployment.provider,
        known,
        quality,
        input_tokens,
        output_tokens,
        cached,
        expected_usd(deployment.rates, input_tokens, cached, output_tokens),
        worst_usd(deployment, input_tokens, limit, request.n),
        circuit,
        ready_in,
        ramp,
    )


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
