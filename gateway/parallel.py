"""Several models answer one request; one answer is chosen, or made, of theirs.

Every leg and the judge is booked to the request. A leg that fails, hangs or talks nonsense costs its place, never the
answer; a judge that fails leaves the choice to expected quality.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from gateway import chunks, verdicts
from gateway.attempts import AttemptLoop, Exhausted
from gateway.calls import LiveCall
from gateway.context import RequestContext
from gateway.hedging import drop, first_open
from gateway.services import Services
from gateway.whole import body_of, close, text_of
from router_core.consensus import medoid, vote
from router_core.outcome import AttemptRole
from router_core.ports import Event
from router_core.request import Mode


async def run_parallel(services: Services, ctx: RequestContext) -> tuple[AttemptLoop, LiveCall]:
    """Return the chosen answer of several as a call that opened, and the loop that may replace it."""
    decision = ctx.decision
    plan = decision.attempts[: decision.legs]
    rest = AttemptLoop(services, ctx, decision.attempts[decision.legs :], AttemptRole.FALLBACK)
    first = decision.mode is Mode.FIRST_SUCCESS
    stream = None if first else False
    tasks = [
        asyncio.create_task(
            AttemptLoop(services, ctx, [attempt], AttemptRole.LEG).open(stream=stream), name=f"leg-{index}"
        )
        for index, attempt in enumerate(plan)
    ]
    try:
        if first:
            return rest, await first_open(set(tasks))
        answered = await _gather(tasks, ctx)
    except Exhausted:
        if not rest.left:
            raise
        return rest, await rest.open()
    finally:
        await drop(tasks)
    live = await _choose(services, ctx, answered)
    return rest, as_stream(live) if ctx.chat.stream else live


async def _gather(tasks: Sequence[asyncio.Task[LiveCall]], ctx: RequestContext) -> list[LiveCall]:
    """Return the legs that answered: all of them, or those there at the quorum and its grace.

    Raises the first leg's failure when none answered.
    """
    rules = ctx.policy.parallel
    pending = set(tasks)
    answered: list[LiveCall] = []
    failed: Exhausted | None = None
    grace: float | None = None
    while pending:
        done, pending = await asyncio.wait(pending, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break  # the grace is over
        for task in done:
            try:
                live = task.result()
            except Exhausted as exc:
                failed = failed or exc
                continue
            live.claimed = True
            answered.append(live)
        if len(answered) >= min(rules.quorum, len(tasks)):
            grace = rules.quorum_grace_s
    if not answered:
        raise failed or Exhausted(None, "no leg answered")
    order = {attempt.deployment: index for index, attempt in enumerate(ctx.decision.attempts)}
    return sorted(answered, key=lambda live: order[live.deployment.id])


async def _choose(services: Services, ctx: RequestContext, answered: list[LiveCall]) -> LiveCall:
    """Return the winner; the others are booked as good answers that nobody saw."""
    texts = [text_of(live) for live in answered]
    weights = [_weight(ctx, live) for live in answered]
    mode = ctx.decision.mode
    winner, by = _by_weight(texts, weights, mode)
    if mode in {Mode.JUDGE, Mode.SYNTHESIZE} and len(answered) > 1:
        judged = await verdicts.ask(services, ctx, texts, weights)
        if judged is None:
            ctx.judge = "failed"
        elif judged.written is not None:
            for live in answered:
                close(ctx, live)
            ctx.verdict = _told(answered, None, "synthesis", judged.reason)
            return judged.written
        else:
            winner, by = judged.winner, "judge"
            verdicts.learn(services, ctx, [live.deployment.id for live in answered], judged)
            ctx.verdict = _told(answered, winner, by, judged.reason, judged.scores)
    ctx.verdict = ctx.verdict or _told(answered, winner, by, "")
    for index, live in enumerate(answered):
        if index != winner:
            close(ctx, live)
    return answered[winner]


def _by_weight(texts: Sequence[str], weights: Sequence[float], mode: Mode) -> tuple[int, str]:
    found = vote(texts, weights) if mode is Mode.VOTING else medoid(texts, weights)
    return found.winner, found.by


def _weight(ctx: RequestContext, live: LiveCall) -> float:
    """Return an answer's weight: expected quality; next to nothing for a refusal or an empty answer."""
    facts = ctx.facts(live.deployment.id)
    quality = facts.quality if facts is not None else 0.5
    said = chunks.read_answer(body_of(live))
    return 0.01 if said.refusal or not (said.characters or said.tool_calls) else max(0.01, quality)


def _told(
    answered: Sequence[LiveCall], winner: int | None, by: str, reason: str, scores: Sequence[float] = ()
) -> dict[str, Any]:
    return {
        "by": by,
        "winner": None if winner is None else answered[winner].deployment.id,
        "answered": [live.deployment.id for live in answered],
        "scores": list(scores),
        "reason": reason,
    }


def as_stream(live: LiveCall) -> LiveCall:
    """Turn a whole answer into a stream of one chunk per choice, an end, and usage."""
    live.held = [Event(chunk) for chunk in chunks.as_chunks(body_of(live))]
    live.events = _nothing()
    live.answer = None
    return live


async def _nothing() -> AsyncIterator[Event]:
    return
    yield
