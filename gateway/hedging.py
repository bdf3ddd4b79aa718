"""A second call when the first token is late: sent within a budget, the first content wins, the loser is cancelled."""

from __future__ import annotations

import asyncio
import contextlib

from gateway.attempts import AttemptLoop, Exhausted
from gateway.calls import LiveCall
from gateway.context import RequestContext
from gateway.limits import first_content_limit
from gateway.services import Services
from router_core.latency import quantile
from router_core.outcome import AttemptRole


async def open_hedged(services: Services, ctx: RequestContext, loop: AttemptLoop) -> LiveCall:
    """Return the first call that opens, the plan's own or the hedge; raises Exhausted when both fail."""
    wait_s = hedge_after(services, ctx)
    first = asyncio.create_task(loop.open())
    second: asyncio.Task[LiveCall] | None = None
    try:
        await asyncio.wait({first}, timeout=wait_s)
        if first.done() or not services.hedges.allows(ctx.policy.hedging):
            return await first
        attempt = loop.take()
        if attempt is None:
            return await first
        services.hedges.hedge(attempt.worst_cost_usd)
        second = asyncio.create_task(AttemptLoop(services, ctx, [attempt], AttemptRole.HEDGE).open())
        return await first_open({first, second})
    finally:
        await drop([task for task in (first, second) if task is not None])


async def first_open(tasks: set[asyncio.Task[LiveCall]]) -> LiveCall:
    """Return the first call that opens, taken out of ``tasks``' hands; raises the last Exhausted when none does."""
    pending = set(tasks)
    failed: Exhausted | None = None
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in sorted(done, key=lambda item: item.get_name()):
            try:
                live = task.result()
            except Exhausted as exc:
                failed = exc
                continue
            live.claimed = True
            return live
    if failed is None:
        msg = "there was nothing to wait for"
        raise ValueError(msg)
    raise failed


async def drop(tasks: list[asyncio.Task[LiveCall]]) -> None:
    """Cancel what is still under way and close what opened but was not wanted; each is booked as cancelled."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        live: LiveCall | None = None
        with contextlib.suppress(asyncio.CancelledError, Exhausted):
            live = await asyncio.shield(task) if not task.done() else task.result()
        if live is not None and not live.claimed:
            live.cancel()
            await live.aclose()


def hedge_after(services: Services, ctx: RequestContext) -> float:
    """Return seconds after which the first content counts as late: the deployment's quantile, half its limit cold."""
    rules = ctx.policy.hedging
    attempt = ctx.decision.attempts[0]
    series = services.learner.snapshot.of(attempt.deployment)
    seen = quantile(series.firsts if ctx.chat.stream else series.durations, rules.quantile)
    if seen is None:
        deployment = ctx.deployment(attempt.deployment)
        provider = ctx.registry.providers[deployment.provider]
        cold = first_content_limit(deployment, provider, series, ctx.routing, ctx.policy, services.steady())
        return max(rules.min_wait_s, cold / 2.0)
    return max(rules.min_wait_s, seen)
