"""A second call when the first token is late: sent within a budget, the first content wins, the loser is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from gateway import chunks
from gateway.attempts import AttemptLoop, Exhausted
from gateway.calls import LiveCall
from gateway.context import RequestContext
from gateway.limits import first_content_limit
from gateway.services import Services
from gateway.whole import close
from router_core.decision import Attempt
from router_core.latency import quantile
from router_core.outcome import AttemptRole


async def open_hedged(services: Services, ctx: RequestContext, loop: AttemptLoop) -> LiveCall:
    """Return the first call that opens, the plan's own or the hedge; raises Exhausted when both fail."""
    wait_s = hedge_after(services, ctx)
    tasks = [asyncio.create_task(loop.open(), name="call-0")]
    try:
        await asyncio.wait(tasks, timeout=wait_s)
        attempt = None if tasks[0].done() else _hedge(services, ctx, loop)
        if attempt is not None:
            services.hedges.hedge(attempt.worst_cost_usd)
            second = AttemptLoop(services, ctx, [attempt], AttemptRole.HEDGE)
            tasks.append(asyncio.create_task(second.open(), name="call-1"))
    except BaseException:
        await drop(tasks)
        raise
    return await race(tasks)


def _hedge(services: Services, ctx: RequestContext, loop: AttemptLoop) -> Attempt | None:
    """Take the next deployment out of the plan when a second call is allowed and both fit into the cost limit."""
    if not services.hedges.allows(ctx.policy.hedging):
        return None
    attempt, limit = loop.upcoming, ctx.hints.max_cost_usd
    if attempt is None:
        return None
    under_way = ctx.decision.attempts[0].worst_cost_usd
    if limit is not None and ctx.spent_usd + under_way + attempt.worst_cost_usd > limit:
        return None
    return loop.take()


async def race(tasks: Sequence[asyncio.Task[LiveCall]]) -> LiveCall:
    """Return the first call that opens; the others are cancelled, closed and booked before it is returned.

    Raises the first Exhausted when none opens.
    """
    winner: asyncio.Task[LiveCall] | None = None
    try:
        winner = await _first_open(tasks)
        await drop([task for task in tasks if task is not winner])
    except BaseException:  # the client left, here or while the losers were sent away: then the winner is none
        await drop(tasks)
        raise
    return winner.result()


async def _first_open(tasks: Sequence[asyncio.Task[LiveCall]]) -> asyncio.Task[LiveCall]:
    pending = set(tasks)
    failed: Exhausted | None = None
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in sorted(done, key=lambda item: item.get_name()):
            problem = task.exception()
            if problem is None:
                return task
            if not isinstance(problem, Exhausted):
                raise problem
            failed = failed or problem
    if failed is None:
        msg = "there was nothing to wait for"
        raise ValueError(msg)
    raise failed


async def drop(tasks: Sequence[asyncio.Task[LiveCall]]) -> None:
    """Send away calls that nobody wants any more.

    What is under way is cancelled and books itself; a stream that opened is closed and booked as cancelled, with what
    it had said; a whole answer is paid for and booked as one.
    """
    for task in tasks:
        task.cancel()
    try:
        waiting = [task for task in tasks if not task.done()]
        if waiting:
            await asyncio.wait(waiting)
    finally:
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is None:
                await _send_away(task.result())


async def _send_away(live: LiveCall) -> None:
    if live.answer is not None:
        close(live.ctx, live)
        return
    said = sum(chunks.characters(event.chunk) for event in live.held if event.chunk is not None)
    live.cancel(chunks.estimate_usage(live.ctx.routing.input_tokens, said))
    with contextlib.suppress(OSError):
        await live.aclose()


def hedge_after(services: Services, ctx: RequestContext) -> float:
    """Return seconds after which the first content counts as late: the deployment's quantile, half its limit cold."""
    rules = ctx.policy.hedging
    attempt = ctx.decision.attempts[0]
    series = services.learner.view.of(attempt.deployment)
    seen = quantile(series.firsts if ctx.chat.stream else series.durations, rules.quantile)
    if seen is None:
        deployment = ctx.deployment(attempt.deployment)
        provider = ctx.registry.providers[deployment.provider]
        cold = first_content_limit(deployment, provider, series, ctx.routing, ctx.policy, services.steady())
        return max(rules.min_wait_s, cold / 2.0)
    return max(rules.min_wait_s, seen)
