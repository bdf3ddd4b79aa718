"""Several models answer one request; one answer is chosen, or made, of theirs.

Every leg and the judge is booked to the request, a whole answer as soon as it is there. A leg that fails, hangs or
talks nonsense costs its place, never the answer; a judge that fails leaves the choice to expected quality.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from gateway import chunks, verdicts
from gateway.attempts import AttemptLoop, Exhausted
from gateway.calls import LiveCall
from gateway.context import RequestContext
from gateway.hedging import drop, race
from gateway.services import Services
from gateway.whole import body_of, close, text_of
from router_core.consensus import medoid, vote
from router_core.decision import Attempt
from router_core.outcome import AttemptRole, Failure, FailureKind
from router_core.ports import Event
from router_core.request import Mode
from router_core.verify import verify


async def run_parallel(services: Services, ctx: RequestContext) -> tuple[AttemptLoop, LiveCall]:
    """Return the chosen answer of several as a call that opened, and the loop that may replace it.

    Raises Exhausted when neither a leg nor a fallback answers.
    """
    decision = ctx.decision
    rest = AttemptLoop(services, ctx, decision.attempts[decision.legs :], AttemptRole.FALLBACK)
    try:
        if decision.mode is Mode.FIRST_SUCCESS:
            live = await race(_start(services, ctx, decision.attempts[: decision.legs], stream=None))
            ctx.verdict = told(ctx, [live], 0, "first", "the first to answer")
            return rest, live
        answered = await _panel(services, ctx)
    except Exhausted:
        if not rest.left:
            raise
        return rest, await rest.open()
    live = await _choose(services, ctx, answered)
    return rest, as_stream(live) if ctx.chat.stream else live


def _start(
    services: Services, ctx: RequestContext, plan: Sequence[Attempt], *, stream: bool | None
) -> list[asyncio.Task[LiveCall]]:
    return [
        asyncio.create_task(_leg(services, ctx, attempt, stream=stream), name=f"leg-{index}")
        for index, attempt in enumerate(plan)
    ]


async def _leg(services: Services, ctx: RequestContext, attempt: Attempt, *, stream: bool | None) -> LiveCall:
    """Make one leg's call; a whole answer is paid for, so it is booked whatever becomes of it."""
    live = await AttemptLoop(services, ctx, [attempt], AttemptRole.LEG).open(stream=stream)
    if live.answer is not None:
        close(ctx, live)
    return live


async def _panel(services: Services, ctx: RequestContext) -> list[LiveCall]:
    """Return the answers there are; raises Exhausted when there is none.

    Adaptive: the first is asked alone, the others only when its answer gives reason to doubt.
    """
    plan = list(ctx.decision.attempts[: ctx.decision.legs])
    answered: list[LiveCall] = []
    if ctx.policy.parallel.adaptive:
        try:
            answered.append(await _leg(services, ctx, plan.pop(0), stream=False))
        except Exhausted:
            pass
        else:
            if not doubtful(ctx, answered[0]):
                return answered
    tasks = _start(services, ctx, plan, stream=False)
    try:
        await _gather(tasks, ctx, answered)
    finally:
        await drop(tasks)
    order = {attempt.deployment: index for index, attempt in enumerate(ctx.decision.attempts)}
    return sorted(answered, key=lambda live: order[live.deployment.id])


def doubtful(ctx: RequestContext, live: LiveCall) -> bool:
    """Say whether a single answer gives reason to ask the others.

    A check that failed (empty, refused, cut, form) does, checks that held do not; where nothing could be checked the
    decision's own confidence decides.
    """
    choice = (body_of(live).get("choices") or [{}])[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return True
    checks = verify(ctx.chat.body, message, choice.get("finish_reason"))
    if checks:
        return not all(check.held for check in checks)
    return ctx.decision.confidence < ctx.policy.parallel.adaptive_confidence


async def _gather(tasks: Sequence[asyncio.Task[LiveCall]], ctx: RequestContext, answered: list[LiveCall]) -> None:
    """Add the legs that answered: all of them, or those there at the quorum and its grace.

    Raises the first leg's failure when none answered.
    """
    rules, clock = ctx.policy.parallel, asyncio.get_running_loop()
    pending = set(tasks)
    failed: Exhausted | None = None
    quorum = min(rules.quorum, len(tasks) + len(answered))
    until: float | None = None
    while pending:
        left = None if until is None else max(0.0, until - clock.time())
        done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break  # the grace is over
        for task in sorted(done, key=lambda item: item.get_name()):
            try:
                answered.append(task.result())
            except Exhausted as exc:
                failed = failed or exc
        if until is None and len(answered) >= quorum:
            until = clock.time() + rules.quorum_grace_s
    if not answered:
        raise failed or Exhausted(None, "no leg answered")


async def _choose(services: Services, ctx: RequestContext, answered: list[LiveCall]) -> LiveCall:
    """Return the winner, or the answer that was written from all."""
    texts = [text_of(live) for live in answered]
    weights = [_weight(ctx, live) for live in answered]
    mode = ctx.decision.mode
    if len(answered) == 1:
        reason = "no doubt about it" if ctx.policy.parallel.adaptive else "the only one that answered"
        ctx.verdict = told(ctx, answered, 0, "alone", reason)
        return answered[0]
    if mode in {Mode.JUDGE, Mode.SYNTHESIZE}:
        judged = await verdicts.ask(services, ctx, texts, weights)
        if judged is None:
            ctx.judge = "none" if ctx.decision.judge is None else "failed"
        elif judged.written is not None:
            ctx.verdict = told(ctx, answered, None, "synthesis", judged.reason)
            return judged.written
        else:
            verdicts.learn(services, ctx, [live.deployment.id for live in answered], judged)
            ctx.verdict = told(ctx, answered, judged.winner, "judge", judged.reason, judged.scores)
            return answered[judged.winner]
    winner, by, reason = _by_weight(texts, weights, mode)
    ctx.verdict = told(ctx, answered, winner, by, reason)
    return answered[winner]


def _by_weight(texts: Sequence[str], weights: Sequence[float], mode: Mode) -> tuple[int, str, str]:
    """Return (winner, how, why)."""
    found = vote(texts, weights) if mode is Mode.VOTING else medoid(texts, weights)
    what = "said the same" if found.by == "majority" else "stands behind the answer most like the others"
    return found.winner, found.by, f"{found.agreement:.0%} of the expected quality {what}"


def _weight(ctx: RequestContext, live: LiveCall) -> float:
    """Return an answer's weight: expected quality; next to nothing for a refusal or an empty answer."""
    facts = ctx.facts(live.deployment.id)
    quality = facts.quality if facts is not None else 0.5
    said = chunks.read_answer(body_of(live))
    return 0.01 if said.refusal or not (said.characters or said.tool_calls) else max(0.01, quality)


def told(
    ctx: RequestContext,
    answered: Sequence[LiveCall],
    winner: int | None,
    by: str,
    reason: str,
    scores: Sequence[float] = (),
) -> dict[str, Any]:
    """Return who answered, who was chosen and how, and why the others were not: for explain and the record."""
    names = [live.deployment.id for live in answered]
    chosen = None if winner is None else names[winner]
    lost = {name: "not chosen" for name in names if chosen is not None and name != chosen}
    failures = {each.deployment: each.failure for each in ctx.attempts if each.role is AttemptRole.LEG and each.failure}
    for attempt in ctx.decision.attempts[: ctx.decision.legs]:
        if attempt.deployment not in names:
            failure = failures.get(attempt.deployment)
            lost[attempt.deployment] = "not asked" if failure is None else _why(failure)
    return {
        "by": by,
        "winner": chosen,
        "answered": names,
        "lost": [{"deployment": name, "reason": why} for name, why in lost.items()],
        "scores": list(scores),
        "reason": reason,
    }


def _why(failure: Failure) -> str:
    return "too late" if failure.kind is FailureKind.CANCELLED else f"failed: {failure.kind}"


def as_stream(live: LiveCall) -> LiveCall:
    """Turn a whole answer into a stream of one chunk per choice, an end, and usage."""
    live.held = [Event(chunk) for chunk in chunks.as_chunks(body_of(live))]
    live.events = _nothing()
    live.answer = None
    return live


async def _nothing() -> AsyncIterator[Event]:
    return
    yield
