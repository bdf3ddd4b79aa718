"""What a call may cost and what it is booked with: where its provider says nothing, or says what cannot be.

Budgets hold only if nobody can write more than was reserved, and if leaving early is not a way to pay nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.budgets import FREE
from gateway.chunks import limit_name
from gateway.context import RequestContext
from router_core.decision import Attempt
from router_core.deployment import Deployment, Provider
from router_core.outcome import FailureKind, Usage
from router_core.pricing import affordable_output

WRITTEN_PER_S: Final = 100.0
"""Tokens a second a model is taken to have written while nobody could see it."""
WINDOWS: Final = 16
"""A usage of more tokens than so many context windows is none: tools that providers run themselves read several."""
_NAMES: Final = ("max_completion_tokens", "max_tokens")
_LEFT: Final = frozenset({FailureKind.CANCELLED, FailureKind.TIMEOUT})


def limits_to_send(
    ctx: RequestContext, attempt: Attempt, deployment: Deployment, provider: Provider, ours: Mapping[str, Any]
) -> dict[str, int]:
    """Return the output limits a call must carry beyond the client's own: parameter -> tokens.

    The plan's under a cost limit, and for a caller with a budget who gave none what was reserved for.
    ``ours`` are changes to the body that are made already.
    """
    limit = attempt.max_output_tokens
    if limit is None:
        said = ctx.chat.max_output_tokens is not None or any(ours.get(name) is not None for name in _NAMES)
        if ctx.reservation is FREE or said or _own_limit(deployment) <= ctx.policy.default_max_output_tokens:
            return {}
        limit = ctx.policy.default_max_output_tokens
    given = [name for name in _NAMES if ctx.chat.body.get(name) is not None]
    return dict.fromkeys(given or [limit_name(ctx.chat.body, deployment, provider)], limit)


def booked(
    usage: Usage,
    ctx: RequestContext,
    attempt: Attempt,
    deployment: Deployment,
    kind: FailureKind | None,
    unseen_s: float,
) -> Usage:
    """Return what a call is booked with.

    ``kind`` is None for a good answer. ``unseen_s`` are seconds in which its provider was at work and nothing could be
    seen of it. A call given up is billed all the same: its input, and what was written until then.
    """
    if usage.total > WINDOWS * deployment.context_window * ctx.routing.n:
        return Usage(input=_input(ctx, deployment), output=_most(ctx, attempt, deployment), estimated=True)
    if kind not in _LEFT or (usage.total and not usage.estimated):
        return usage
    most = _most(ctx, attempt, deployment)
    if kind is FailureKind.TIMEOUT:  # it may as well have hung: no more than it was expected to write
        facts = ctx.facts(deployment.id)
        most = min(most, facts.output_tokens if facts is not None else 0)
    unseen = int(unseen_s * WRITTEN_PER_S)
    written = usage.output + usage.reasoning
    return Usage(input=usage.input or _input(ctx, deployment), output=min(most, written + unseen), estimated=True)


def _own_limit(deployment: Deployment) -> int:
    return deployment.max_output_tokens or deployment.context_window


def _input(ctx: RequestContext, deployment: Deployment) -> int:
    facts = ctx.facts(deployment.id)
    return ctx.routing.input_tokens if facts is None else facts.input_tokens


def _most(ctx: RequestContext, attempt: Attempt, deployment: Deployment) -> int:
    """Return the most tokens all choices of a call can have; never more than its worst case pays for."""
    n = ctx.routing.n
    asked = attempt.max_output_tokens or ctx.routing.max_output_tokens or ctx.policy.default_max_output_tokens
    paid = max(0, affordable_output(deployment, _input(ctx, deployment), attempt.worst_cost_usd, n))
    return min(asked, _own_limit(deployment), paid) * n
