"""One client request under way: what it asked, what was decided, and every call made for it so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.budgets import FREE, Reservation
from gateway.http.wire import ChatRequest
from gateway.keys import Principal
from gateway.rate_limits import Pass
from router_core.decision import Attempt, Decision, Facts
from router_core.deployment import Deployment
from router_core.eligibility import LEAST_OUTPUT_TOKENS, attempt_for
from router_core.experiment import Assignment
from router_core.outcome import AttemptOutcome
from router_core.policy import Policy
from router_core.registry import Registry
from router_core.request import Hints, RoutingRequest, StreamRecovery


@dataclass(slots=True)
class RequestContext:
    """Times are the steady clock's seconds but for ``at`` (wall clock). ``deadline`` ends the request.

    ``own_deadline`` is set when the client's hint, not the policy, made the deadline. ``upstream_s`` is time spent
    waiting
    for providers, so that the rest, taken when
    the headers are made, is the gateway's own (``overhead_s``). ``dropped`` and ``adjusted`` name parameters for the
    headers.
    ``reserved_usd`` is what ``reservation`` covers in the caller's budgets, ``open_usd`` the worst case of the calls
    that are open;
    ``passes`` are the caller's leave under its rate limits. ``experiment`` is the arm this request is in;
    ``shadowed``: once answered, it will be compared in the background.
    """

    request_id: str
    decision_id: str
    principal: Principal
    chat: ChatRequest
    hints: Hints
    routing: RoutingRequest
    decision: Decision
    registry: Registry
    policy: Policy
    started: float
    at: float
    deadline: float
    own_deadline: bool = False
    recovery: StreamRecovery = StreamRecovery.ERROR
    tags: tuple[str, ...] = ()
    calls: int = 0
    upstream_s: float = 0.0
    overhead_s: float | None = None
    spent_usd: float = 0.0
    attempts: list[AttemptOutcome] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    adjusted: list[str] = field(default_factory=list)
    fallback_reason: str | None = None
    judge: str | None = None
    verdict: Mapping[str, object] | None = None
    error_code: str | None = None
    experiment: Assignment | None = None
    shadowed: bool = False
    reservation: Reservation = FREE
    reserved_usd: float = 0.0
    open_usd: float = 0.0
    passes: list[Pass] = field(default_factory=list)

    def deployment(self, name: str) -> Deployment:
        """Return a deployment of the registry this request was decided with."""
        return self.registry.deployments[name]

    def facts(self, name: str) -> Facts | None:
        """Return the facts a candidate was judged by."""
        for candidate in self.decision.ranking:  # mostly the first one is asked for
            if candidate.deployment == name:
                return candidate.facts
        return None

    def affordable(self, attempt: Attempt) -> Attempt | None:
        """Return an attempt under what is left of the request's cost limit; None when it no longer fits."""
        limit = self.hints.max_cost_usd
        facts = None if limit is None else self.facts(attempt.deployment)
        if limit is None or facts is None:
            return attempt
        left = limit - self.spent_usd
        if self.decision.legs > 1:  # the legs run at once: each has its own part of the limit
            left = min(left, attempt.worst_cost_usd)
        least = min(LEAST_OUTPUT_TOKENS, self.routing.max_output_tokens or LEAST_OUTPUT_TOKENS)
        fitted = attempt_for(self.deployment(attempt.deployment), facts, self.routing, left)
        return fitted if fitted.max_output_tokens is None or fitted.max_output_tokens >= least else None

    def book(self, outcome: AttemptOutcome) -> None:
        """Keep a finished call."""
        self.attempts.append(outcome)
        self.spent_usd += outcome.cost_usd
