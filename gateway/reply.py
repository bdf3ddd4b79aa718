"""What goes back to the client: status, headers, and a body or a stream of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from gateway.context import RequestContext
from router_core.outcome import AttemptOutcome


@dataclass(slots=True)
class Reply:
    """``body`` is a whole answer; ``stream`` yields framed events and must be closed by whoever iterates it.

    ``after`` must be called when the body has been sent, or could not be: it books what no client waits for.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: AsyncGenerator[bytes] | None = None
    after: Callable[[], None] | None = None


def routing_headers(ctx: RequestContext, now: float) -> dict[str, str]:
    """Return the x-router-* headers as far as the request got. Values come from the registry or are numbers."""
    decision = ctx.decision
    if ctx.overhead_s is None:
        ctx.overhead_s = max(0.0, now - ctx.started - ctx.upstream_s)
    headers = {
        "x-request-id": ctx.request_id,
        "x-router-decision-id": ctx.decision_id,
        "x-router-task": str(decision.profile.task),
        "x-router-task-confidence": f"{decision.profile.confidence:.3f}",
        "x-router-policy": decision.policy,
        "x-router-mode": str(decision.mode),
        "x-router-attempts": str(ctx.calls),
        "x-router-overhead-ms": f"{ctx.overhead_s * 1000.0:.2f}",
    }
    if ctx.fallback_reason is not None:
        headers["x-router-fallback-reason"] = ctx.fallback_reason
    if ctx.dropped:
        headers["x-router-dropped-params"] = ",".join(ctx.dropped)
    if ctx.adjusted:
        headers["x-router-adjusted-params"] = ",".join(ctx.adjusted)
    if ctx.judge is not None:
        headers["x-router-judge"] = ctx.judge
    if ctx.experiment is not None:
        headers["x-router-experiment"] = ctx.experiment.experiment
        headers["x-router-arm"] = quote(ctx.experiment.arm.name, safe=" ()+,:;=@/.-_")
    return headers


def served_headers(ctx: RequestContext, deployment: str, model: str) -> dict[str, str]:
    """Return who answered, and with which score it had been chosen."""
    headers = {"x-router-model": model, "x-router-provider": ctx.deployment(deployment).provider}
    headers["x-router-deployment"] = deployment
    for candidate in ctx.decision.ranking:
        if candidate.deployment == deployment:
            headers["x-router-score"] = f"{candidate.shown_score:.2f}"
            break
    return headers


def last_served(attempts: list[AttemptOutcome]) -> str | None:
    """Return the deployment of the last good call that a client could have seen."""
    for attempt in reversed(attempts):
        if attempt.ok:
            return attempt.deployment
    return None
