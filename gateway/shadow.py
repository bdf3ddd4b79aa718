"""Background comparisons: a sampled share of answers is set against a second deployment's, judged blind.

The client has its answer before anything begins, and never sees the other. What it costs is the operator's: bounded per
day for all workers together, booked under a key of its own, never to the client's budget.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from gateway import ledger, verdicts
from gateway.attempts import AttemptLoop, Exhausted
from gateway.context import RequestContext
from gateway.keys import Principal
from gateway.services import Services
from gateway.spending import give_back
from gateway.streams import ClientStream
from gateway.whole import close, said, text_of
from router_core.decision import Attempt, ScoredCandidate
from router_core.outcome import AttemptRole, RequestOutcome
from router_core.planner import choose_judge
from router_core.policy import Policy
from router_core.request import Hints, Mode
from router_core.router import decide

_log = logging.getLogger("gateway.shadow")
KEY: Final = "shadow"
"""The key id and tag under which comparisons are booked."""
KIND: Final = "shadow"
_OWNER: Final = Principal(KEY, KEY, capture=False)
_MOST: Final = 4
_AFTER_S: Final = 0.05
_DAY_S: Final = 86_400.0
_VERDICTS: Final = 2


class Shadow:
    """Picks answers, compares them, keeps to the day's budget. At most four comparisons run at a time."""

    def __init__(self, services: Services) -> None:
        """Begin with nothing spent; the store knows what was spent today before a restart."""
        self._services = services
        self._tasks: set[asyncio.Task[None]] = set()
        self._spent: dict[str, float] = {}
        self._pending: dict[str, float] = {}
        self._reserved = 0.0
        self.compared = 0
        self.skipped = 0

    def wants(self, policy: Policy, principal: Principal, mode: Mode, n: int) -> bool:
        """Draw whether a request will be compared; never while draining, nor for a key that opted out of capture."""
        share = policy.shadow.share
        if share <= 0.0 or mode is not Mode.SINGLE or n > 1 or not principal.capture:
            return False
        services = self._services
        return services.ready and not services.admission.draining and services.rng.random() < share

    def finished(
        self,
        ctx: RequestContext,
        outcome: RequestOutcome,
        answer: Mapping[str, Any] | None,
        stream: ClientStream | None,
    ) -> None:
        """Begin a comparison in the background when this answer was sampled and there is room for it."""
        if not ctx.shadowed or not outcome.ok:
            return
        text = said(answer) if answer is not None else _streamed(stream, outcome)
        if not text or len(self._tasks) >= _MOST or self._services.admission.draining:
            self.skipped += 1
            return
        task = asyncio.create_task(self._run(ctx, outcome, text), name="shadow")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel what is under way; each call is booked as far as it came."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- the day's budget ----

    @property
    def spent_today_usd(self) -> float:
        """What comparisons have cost today (UTC), in USD, by all workers."""
        day = self._today()
        return self._spent.get(day, 0.0) + self._pending.get(day, 0.0)

    def collect(self) -> dict[str, dict[str, float]]:
        """Return what was spent since the last call: day -> USD."""
        pending, self._pending = self._pending, {}
        for day, usd in pending.items():
            self._spent[day] = self._spent.get(day, 0.0) + usd
        return {day: {"usd": usd} for day, usd in pending.items()}

    def apply(self, sums: Mapping[str, Mapping[str, float]]) -> None:
        """Take over the totals of all workers."""
        today = self._today()
        self._spent = {day: usd for day, usd in self._spent.items() if day == today}
        self._spent.update({day: fields.get("usd", 0.0) for day, fields in sums.items() if day == today})

    def _today(self) -> str:
        return datetime.fromtimestamp(self._services.steady(), UTC).strftime("%Y-%m-%d")

    # ---- one comparison ----

    async def _run(self, ctx: RequestContext, outcome: RequestOutcome, text: str) -> None:
        await asyncio.sleep(_AFTER_S)
        try:
            found = self._plan(ctx, str(outcome.served_by))
            if found is None:
                self.skipped += 1
                return
            shadow, worst = found
            self._reserved += worst
            try:
                await self._compare(ctx, shadow, str(outcome.served_by), text)
            finally:
                self._reserved -= worst
                self._book(ctx, shadow)
        except Exception:  # noqa: BLE001 - a comparison may fail in any way; nobody waits for it
            _log.exception("a background comparison failed")

    def _plan(self, ctx: RequestContext, served: str) -> tuple[RequestContext, float] | None:
        """Return the comparison as a request of its own, and its worst cost.

        None when nobody else may answer, nobody is left to judge, or today's budget does not reach.
        """
        services, rules = self._services, ctx.policy.shadow
        candidates = self._candidates(ctx)
        mine = next((item for item in candidates if item.deployment == served), None)
        reachable = set(rules.deployments) or {item.deployment for item in ctx.decision.ranking}
        rivals = [item for item in candidates if item.deployment in reachable and item.deployment != served]
        if mine is None or not rivals:
            return None
        rival = services.rng.choice(rivals)
        listed = ctx.policy.parallel.judges or ctx.registry.judges
        allowed = [item for item in candidates if item.deployment in {*reachable, *listed}]
        judge = choose_judge([mine, rival], allowed, listed)
        if judge is None:
            return None
        judging = next(item for item in candidates if item.deployment == judge)
        worst = rival.facts.worst_cost_usd + _VERDICTS * judging.facts.worst_cost_usd
        left = rules.max_usd_per_day - self.spent_today_usd - self._reserved
        if worst > left:
            return None
        return self._as_request(ctx, rival, judge, left), worst

    def _candidates(self, ctx: RequestContext) -> tuple[ScoredCandidate, ...]:
        """Return everyone who could serve this prompt now, within what the request and its key allow."""
        services, hints = self._services, ctx.hints
        asked = replace(
            ctx.routing,
            model="auto",
            stream=False,
            hints=Hints(only=hints.only, exclude=hints.exclude),
            warm_tokens={},
        )
        snapshot = services.learner.snapshot
        return decide(asked, snapshot, ctx.registry, ctx.policy, services.steady(), services.rng).ranking

    def _as_request(self, ctx: RequestContext, rival: ScoredCandidate, judge: str, left_usd: float) -> RequestContext:
        services = self._services
        now, facts = services.steady(), rival.facts
        attempt = Attempt(rival.deployment, None, facts.expected_cost_usd, facts.worst_cost_usd)
        decision = ctx.decision._replace(
            attempts=(attempt,),
            chosen=rival.deployment,
            mode=Mode.JUDGE,
            judge=judge,
            legs=1,
            last_resort=False,
        )
        return RequestContext(
            request_id=ctx.request_id,
            decision_id=ctx.decision_id,
            principal=_OWNER,
            chat=ctx.chat,
            hints=Hints(max_cost_usd=left_usd),
            routing=replace(ctx.routing, stream=False),
            decision=decision,
            registry=ctx.registry,
            policy=ctx.policy,
            started=now,
            at=now,
            deadline=now + ctx.policy.timeouts.total_s,
            tags=(KEY,),
        )

    async def _compare(self, ctx: RequestContext, shadow: RequestContext, served: str, text: str) -> None:
        services, rival = self._services, str(shadow.decision.chosen)
        try:
            live = await AttemptLoop(services, shadow, shadow.decision.attempts, AttemptRole.SHADOW).open(stream=False)
        except Exhausted:
            return
        close(shadow, live)
        theirs = text_of(live)
        if not theirs:
            return
        judged = await verdicts.ask(services, shadow, [text, theirs], [0.5, 0.5])
        if judged is None:
            return
        self.compared += 1
        verdicts.learn(services, shadow, [served, rival], judged)
        if ctx.experiment is not None and services.experiments is not None:
            services.experiments.rewarded((ctx.experiment.experiment, ctx.experiment.arm.name), judged.scores[0])
        told = {
            "decision_id": ctx.decision_id,
            "at": services.steady(),
            "task": ctx.decision.profile.task,
            "served": served,
            "rival": rival,
            "judge": shadow.decision.judge,
            "scores": judged.scores,
        }
        expires = services.steady() + ctx.policy.capture.decision_days * _DAY_S
        services.recorder.document(KIND, ctx.decision_id, orjson.dumps(told), expires)

    def _book(self, ctx: RequestContext, shadow: RequestContext) -> None:
        """Write the ledger's rows, behind those of the request that was compared, and count the money."""
        services = self._services
        give_back(services, shadow)
        if not shadow.attempts:
            return
        day = self._today()
        self._pending[day] = self._pending.get(day, 0.0) + shadow.spent_usd
        outcome = RequestOutcome(
            decision_id=ctx.decision_id,
            at=services.steady(),
            task=ctx.decision.profile.task,
            status=200,
            duration_s=services.steady() - shadow.started,
            attempts=tuple(shadow.attempts),
            key_id=KEY,
            tags=(KEY,),
            cost_usd=shadow.spent_usd,
            mode=KEY,
        )
        rows = ledger.rows(outcome, request_id=ctx.request_id, price_version=ctx.registry.version)
        services.recorder.rows([{**row, "attempt": row["attempt"] + len(ctx.attempts)} for row in rows])


def _streamed(stream: ClientStream | None, outcome: RequestOutcome) -> str:
    """Return what a stream said; nothing when several calls wrote it, or when it was more than text."""
    if stream is None or any(attempt.role is AttemptRole.CONTINUATION for attempt in outcome.attempts):
        return ""
    return stream.relay.text if stream.relay.plain else ""
