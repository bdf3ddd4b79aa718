"""``decide``: one request, one snapshot, one decision. Pure; the only cleverness of the project that matters.

Path: resolve the name, ask the hard rules, gather facts, then settle: score, rank, choose, plan. Nothing here waits,
logs or fails over; whoever executes the plan does.
"""

from __future__ import annotations

from typing import Protocol

from router_core.decision import Decision
from router_core.eligibility import ask_static
from router_core.errors import RequestError
from router_core.facts import context, gather
from router_core.policy import Policy
from router_core.registry import Registry
from router_core.request import RoutingRequest
from router_core.settle import Question, settle
from router_core.snapshot import Snapshot


class Rng(Protocol):
    """The randomness a decision may use."""

    def random(self) -> float:
        """Return the next number in [0, 1)."""
        ...


def decide(
    request: RoutingRequest, snapshot: Snapshot, registry: Registry, policy: Policy, now: float, rng: Rng
) -> Decision:
    """Decide who serves a request. ``now`` is wall-clock seconds.

    Raises UnknownModel for a name the registry does not have and RequestError for an unknown policy. A decision without
    an eligible deployment is returned, not raised: its ``chosen`` is None and every refusal has its rule.
    """
    draws = (rng.random(), rng.random())
    question = ask(request, registry, policy, now, draws, snapshot.version)
    ctx = context(request, snapshot, registry, policy, now)
    able, refused = ask_static(question.resolved, question.pool, request)
    return settle(question, gather(able, ctx), refused)


def ask(
    request: RoutingRequest,
    registry: Registry,
    policy: Policy,
    now: float,
    draws: tuple[float, float],
    snapshot_version: int,
) -> Question:
    """Resolve the request's name into everyone who may be called, and its policy's name into weights that exist."""
    resolved = registry.resolve(request.model)
    name = request.hints.policy or resolved.policy or policy.default_policy
    if name not in policy.policies:
        msg = f"unknown policy {name!r}; known: {', '.join(sorted(policy.policies))}"
        raise RequestError(msg, param="policy")
    pool = resolved.pool
    extra = request.hints.fallbacks
    if extra is None and resolved.pinned:
        extra = tuple(name for deployment in resolved.candidates for name in deployment.fallbacks)
    if extra:
        pool = dict(pool)
        for fallback in extra:
            for deployment in registry.resolve(fallback).candidates:
                pool.setdefault(deployment.id, deployment)
    judges = policy.parallel.judges or registry.judges
    return Question(request, resolved, pool, policy, name, judges, registry.version, snapshot_version, now, draws)
