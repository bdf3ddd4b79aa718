"""The attempt loop: call, judge, and again, next or stop. One loop, one judge (``retry_policy.next_step``)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gateway import chunks
from gateway.calls import OWN_DEADLINE, LiveCall
from gateway.context import RequestContext
from gateway.rate_limits import Pass
from gateway.services import Services
from gateway.spending import covers, may_call, return_passes, unclaim
from router_core.decision import Attempt, Rule
from router_core.eligibility import LEAST_OUTPUT_TOKENS, attempt_for
from router_core.errors import AttemptFailed, RouterError
from router_core.outcome import AttemptRole, Failure, FailureKind
from router_core.retry_policy import Again, Next, Situation, Stop, next_step

_BOUNDED_ALREADY = frozenset({AttemptRole.JUDGE, AttemptRole.SHADOW})
"""Calls with a body of their own: whoever makes them keeps to the limit."""
_SPARE_FACTOR = 1.5
"""One call in twenty needs longer than the 95th percentile."""
_SPARE_MORE_S = 0.25
"""The call that is given up is no quicker than its timer, and the next one may have to dial."""
Overrides = Callable[[str], Mapping[str, Any]]


class Exhausted(RouterError):
    """No attempt is left; ``failure`` is the last one's, None when nobody could even be called."""

    def __init__(self, failure: Failure | None, reason: str) -> None:
        """Keep what the caller explains the end with."""
        super().__init__(reason)
        self.failure = failure
        self.reason = reason


class AttemptLoop:
    """Works through a plan until a call opens.

    Kept for a whole request or leg, so that its bounds hold across recovery.
    """

    def __init__(self, services: Services, ctx: RequestContext, plan: Sequence[Attempt], role: AttemptRole) -> None:
        """Take a plan; ``role`` is the first call's, later ones are retries and fallbacks."""
        self._services = services
        self._ctx = ctx
        self._queue = deque(plan)
        self._role = role
        self._calls = 0
        self._last: Failure | None = None
        self._deferred: set[str] = set()
        self._resorts: set[str] = set()
        self._looked = False

    @property
    def left(self) -> int:
        """How many deployments of the plan have not been tried."""
        return len(self._queue)

    @property
    def calls(self) -> int:
        """How many calls were made."""
        return self._calls

    @property
    def upcoming(self) -> Attempt | None:
        """The next deployment of the plan."""
        return self._queue[0] if self._queue else None

    def take(self) -> Attempt | None:
        """Take the next deployment out of the plan, for somebody else to call."""
        return self._queue.popleft() if self._queue else None

    def again(self, attempt: Attempt) -> None:
        """Put a deployment back at the end of the plan."""
        self._queue.append(attempt)

    async def replace(self, attempt: Attempt, failure: Failure, *, again: bool) -> LiveCall:
        """Return a call in the place of one that broke after it had opened; raises Exhausted.

        The next deployment goes on at once. Where none is left, and with ``again``, the same one may begin once more.
        """
        self._note(failure)
        tries = sum(1 for made in self._ctx.attempts if made.deployment == attempt.deployment)
        step = next_step(failure, self._situation(attempt, tries, 0.0), self._ctx.policy, self._jitter())
        if again and isinstance(step, Stop):
            failure = chunks.before_content(failure)
            step = next_step(failure, self._situation(attempt, tries, 0.0), self._ctx.policy, self._jitter())
        if isinstance(step, Stop):
            raise Exhausted(failure, step.reason)
        self._ctx.fallback_reason = str(failure.kind)
        if isinstance(step, Again):
            await self._wait(step, failure)
            self._queue.appendleft(attempt)
        return await self.open()

    async def open(self, *, overrides: Overrides | None = None, stream: bool | None = None) -> LiveCall:
        """Return the first call that opens; raises Exhausted. ``overrides`` gives body changes per deployment."""
        above = 0
        while True:
            attempt = self._next(above)
            if attempt is None:
                raise Exhausted(self._last, "no fallback left")
            above, live = await self._work(attempt, overrides or _nothing, stream=stream)
            if live is not None:
                return live

    def _next(self, above_window: int) -> Attempt | None:
        """Return the next deployment that may be called now and fits what is left of the cost limit."""
        ctx = self._ctx
        while self._others_ready():
            attempt = self._queue.popleft()
            if above_window and ctx.deployment(attempt.deployment).context_window <= above_window:
                continue
            fitted = attempt if self._role in _BOUNDED_ALREADY else ctx.affordable(attempt)
            if fitted is not None:
                return fitted
        return None

    async def _work(
        self, attempt: Attempt, overrides: Overrides, *, stream: bool | None
    ) -> tuple[int, LiveCall | None]:
        """Call one deployment, once or more; returns (window the next must exceed, the open call if any)."""
        tries, waited, force = 0, 0.0, self._resorted(attempt)
        without: set[str] = set()
        while True:
            if not await covers(self._services, self._ctx, attempt):
                return 0, None
            live = None
            try:
                live = await self._permitted(attempt, tries, force=force)
            finally:
                if live is None:
                    unclaim(self._ctx, attempt)
            if live is None:
                return 0, None
            tries += 1
            self._calls += 1
            try:
                changes = {**overrides(attempt.deployment), **dict.fromkeys(without)}
                await live.open(changes, stream=stream, spare_s=self._spare_s(stream=stream))
            except AttemptFailed as exc:
                failure = exc.failure
            else:
                return 0, live
            self._note(failure)
            step = next_step(failure, self._situation(attempt, tries, waited), self._ctx.policy, self._jitter())
            if isinstance(step, Stop):
                raise Exhausted(failure, step.reason)
            if isinstance(step, Next):
                self._ctx.fallback_reason = str(failure.kind)
                return step.above_window or 0, None
            if step.without is not None:
                without.add(step.without)
                self._services.quirks.add((attempt.deployment, step.without))
            waited += await self._wait(step, failure)
            force = True

    async def _permitted(self, attempt: Attempt, tries: int, *, force: bool) -> LiveCall | None:
        """Return a call that has room, and that rate limits and circuits allow; None when it may not be made."""
        services, ctx = self._services, self._ctx
        if not await self._room(attempt, tries):
            return None
        live: LiveCall | None = None
        passes: Sequence[Pass] | None = None
        try:
            passes = await may_call(services, ctx, ctx.deployment(attempt.deployment))
            if passes is None:
                ctx.fallback_reason = "rate_limit"
                self._last = self._last or Failure(
                    FailureKind.RATE_LIMITED, "its own rate limit is reached", sent=False
                )
            else:
                live = self._grant(attempt, tries, force=force)
        finally:
            if live is None:
                services.concurrency.leave(attempt.deployment)
                return_passes(services, passes or ())
        if live is not None:
            live.passes = passes or ()
        return live

    async def _room(self, attempt: Attempt, tries: int) -> bool:
        """Take a place among a deployment's open calls: at once, later when others stand ready, or in its queue."""
        services, ctx, name = self._services, self._ctx, attempt.deployment
        if services.concurrency.enter(name, services.steady()):
            return True
        if self._queue and not tries and name not in self._deferred:
            ctx.fallback_reason = "busy"
            self._deferred.add(name)
            self._queue.append(attempt)
            return False
        wait_s = min(ctx.policy.admission.queue_wait_s, max(0.0, ctx.deadline - services.steady()) / 4.0)
        if await services.concurrency.wait(name, wait_s):
            return True
        self._last = self._last or Failure(FailureKind.OVERLOADED, "it has as many calls as it bears", sent=False)
        return False

    def _resorted(self, attempt: Attempt) -> bool:
        """Say whether an attempt is a last resort: its circuit is open, and nobody else is left."""
        return self._ctx.decision.last_resort or attempt.deployment in self._resorts

    def _others_ready(self) -> bool:
        """Say whether the plan holds another deployment.

        When it is at its end, those come in, once, that only an open circuit had kept out and that may be probed now:
        what was well a moment ago may be gone, and what was broken may be well again.
        """
        if not self._queue and not self._looked and self._role is AttemptRole.PRIMARY:
            self._looked = True
            if self._ctx.policy.breaker.last_resort:
                self._queue.extend(self._last_resorts())
                self._resorts = {attempt.deployment for attempt in self._queue}
        return bool(self._queue)

    def _last_resorts(self) -> Iterator[Attempt]:
        ctx, limit = self._ctx, self._ctx.hints.max_cost_usd
        left = None if limit is None else limit - ctx.spent_usd
        shut = [item for item in ctx.decision.rejections if item.rule is Rule.BREAKER and item.facts is not None]
        for item in sorted(shut, key=lambda item: item.retry_after_s or 0.0):
            planned = any(attempt.deployment == item.deployment for attempt in ctx.decision.attempts)
            if planned or item.facts is None or not self._services.learner.resorts(item.deployment, ctx.policy):
                continue
            attempt = attempt_for(ctx.deployment(item.deployment), item.facts, ctx.routing, left)
            if attempt.max_output_tokens is None or attempt.max_output_tokens >= LEAST_OUTPUT_TOKENS:
                yield attempt

    def _spare_s(self, *, stream: bool | None) -> float:
        """Return seconds to leave for the plan's next deployment: more than it mostly needs, at most half of all."""
        upcoming, ctx = self.upcoming, self._ctx
        if upcoming is None:
            return 0.0
        half = max(0.0, ctx.deadline - self._services.steady()) / 2.0
        facts = ctx.facts(upcoming.deployment)
        streamed = ctx.chat.stream if stream is None else stream
        need = 0.0 if facts is None else facts.known.first_p95_s if streamed else facts.known.latency_p95_s
        return min(half, _SPARE_FACTOR * need + _SPARE_MORE_S) if need else half

    def _grant(self, attempt: Attempt, tries: int, *, force: bool) -> LiveCall | None:
        ctx, services = self._ctx, self._services
        if ctx.calls >= ctx.policy.retry.max_upstream_calls:
            raise Exhausted(self._last, "upstream calls used up")
        deployment = ctx.deployment(attempt.deployment)
        if not tries and force and not services.learner.resorts(deployment.id, ctx.policy):
            return None
        allowed, lease = services.learner.grant(deployment, ctx.policy, force=force)
        if not allowed:
            return None
        role = self._role
        if tries:
            role = AttemptRole.RETRY
        elif self._calls and self._role is AttemptRole.PRIMARY:
            role = AttemptRole.FALLBACK
        return LiveCall(services, ctx, attempt, role, lease)

    def _situation(self, attempt: Attempt, tries: int, waited: float) -> Situation:
        ctx, services = self._ctx, self._services
        now, retry = services.steady(), ctx.policy.retry
        return Situation(
            calls=self._calls,
            tries_here=tries,
            remaining_s=ctx.deadline - now,
            fallback_ready=self._others_ready(),
            budget_ok=services.retry_budget.allows(now, retry.budget_window_s, retry.budget_ratio, retry.budget_floor),
            waited_s=waited,
            window=ctx.deployment(attempt.deployment).context_window,
        )

    async def _wait(self, step: Again, failure: Failure) -> float:
        services, retry = self._services, self._ctx.policy.retry
        limited = failure.kind is FailureKind.RATE_LIMITED
        if step.without is None and not limited:
            now = services.steady()
            spent = services.retry_budget.withdraw(now, retry.budget_window_s, retry.budget_ratio, retry.budget_floor)
            services.retry_budget = spent or services.retry_budget
        if step.wait_s > 0.0:
            await asyncio.sleep(step.wait_s)
        self._ctx.upstream_s += step.wait_s
        return step.wait_s if limited else 0.0

    def _note(self, failure: Failure) -> None:
        self._last = failure
        if failure.kind is FailureKind.CANCELLED and failure.message == OWN_DEADLINE:
            raise Exhausted(failure, "deadline")

    def _jitter(self) -> float:
        return self._services.rng.random()


def _nothing(deployment: str) -> Mapping[str, Any]:
    """Return no changes."""
    del deployment
    return {}
