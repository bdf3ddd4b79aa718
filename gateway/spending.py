"""A request's money and leave: reserved in its caller's budgets and limits before a call, given back after it."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.budgets import FREE, Refusal
from gateway.context import RequestContext
from gateway.http.errors import ApiError
from gateway.rate_limits import Pass, TooMany
from gateway.services import Services
from router_core.decision import Attempt
from router_core.deployment import Deployment


def planned_usd(ctx: RequestContext) -> float:
    """Return what the first calls of a decision can cost at most: all legs, else the dearest of plan and fallbacks."""
    attempts = ctx.decision.attempts
    if ctx.decision.legs > 1:
        return sum(attempt.worst_cost_usd for attempt in attempts[: ctx.decision.legs])
    return max([attempt.worst_cost_usd for attempt in attempts], default=0.0)


async def reserve(services: Services, ctx: RequestContext, worst_usd: float) -> None:
    """Set a request's worst case aside; raises ApiError when a budget does not allow it."""
    found = await services.budgets.reserve(ctx.principal, worst_usd)
    if isinstance(found, Refusal):
        raise refused(found)
    ctx.reservation, ctx.reserved_usd = found, worst_usd


async def covers(services: Services, ctx: RequestContext, attempt: Attempt) -> bool:
    """Claim one more call's worst case on top of what was spent and what is open; False when it may not be made.

    A claim ends when the call is booked, or by ``unclaim`` when it is not made after all.
    """
    ctx.open_usd += attempt.worst_cost_usd  # before anything is awaited: another call of this request may ask meanwhile
    if ctx.reservation is FREE:
        return True
    extra = ctx.spent_usd + ctx.open_usd - ctx.reserved_usd
    if extra < _DUST_USD:
        return True
    ctx.reserved_usd += extra
    refusal: Refusal | None = None
    try:
        refusal = await services.budgets.extend(ctx.reservation, extra)
    except BaseException:
        ctx.reserved_usd -= extra
        unclaim(ctx, attempt)
        raise
    if refusal is not None:
        ctx.reserved_usd -= extra
        unclaim(ctx, attempt)
    return refusal is None


def unclaim(ctx: RequestContext, attempt: Attempt) -> None:
    """Give up a claim: the call is not made."""
    ctx.open_usd = max(0.0, ctx.open_usd - attempt.worst_cost_usd)


def refused(refusal: Refusal) -> ApiError:
    """Return a budget's refusal as the client sees it: what is left, and when it renews."""
    extra = {"left_usd": refusal.left_usd, "renews_at": refusal.renews_at}
    again = None if refusal.status != 402 else False
    return ApiError(
        refusal.status,
        refusal.message,
        refusal.code,
        retry_after_s=refusal.retry_after_s,
        should_retry=again,
        extra={name: value for name, value in extra.items() if value is not None},
    )


async def admit(services: Services, ctx: RequestContext) -> None:
    """Ask for leave under the caller's own limits; raises ApiError 429."""
    if ctx.principal.limits.unlimited:
        return
    found = await services.rate_limits.admit(ctx.principal, _tokens(ctx))
    if isinstance(found, TooMany):
        what = "requests open at once" if found.what == "in_flight" else f"{found.what} per minute"
        message = f"the key's limit of {found.limit} {what} is reached"
        raise ApiError(429, message, "rate_limit_exceeded", retry_after_s=found.retry_after_s)
    ctx.passes.append(found)


async def may_call(services: Services, ctx: RequestContext, deployment: Deployment) -> Sequence[Pass] | None:
    """Ask for leave under what a deployment and its provider allow; None when a limit is reached.

    The passes are for one call: given back when it ends, with the tokens it used.
    """
    provider = ctx.registry.providers[deployment.provider]
    if deployment.limits.unlimited and provider.limits.unlimited:
        return ()
    taken: list[Pass] = []
    for subject, limits in (
        (f"deployment:{deployment.id}", deployment.limits),
        (f"provider:{provider.id}", provider.limits),
    ):
        if limits.unlimited:
            continue
        found = await services.rate_limits.ask(subject, limits, _tokens(ctx))
        if isinstance(found, TooMany):
            return_passes(services, taken)  # the call is not made, so it holds no place and uses no tokens
            return None
        taken.append(found)
    return taken


def return_passes(services: Services, passes: Sequence[Pass], tokens: int = 0) -> None:
    """Return the passes of a call that ended, or was not made after all, with the tokens it used."""
    for given in passes:
        services.rate_limits.done(given, float(tokens))


def give_back(services: Services, ctx: RequestContext) -> None:
    """Return the caller's own pass with the tokens of all calls made for it."""
    if ctx.passes:
        return_passes(services, ctx.passes, sum(attempt.usage.total for attempt in ctx.attempts))


def limit_headers(services: Services, ctx: RequestContext) -> dict[str, str]:
    """Return the x-ratelimit-* headers of a caller with limits."""
    return {} if ctx.principal.limits.unlimited else services.rate_limits.headers(ctx.principal)


def _tokens(ctx: RequestContext) -> float:
    """Return the tokens a call is expected to use: input estimate, and output by what is known of the chosen one."""
    facts = ctx.facts(ctx.decision.chosen or "")
    output = facts.output_tokens if facts is not None else 0
    return float(ctx.routing.input_tokens + output)


_DUST_USD = 1e-12
"""Less than any price: what is left when sums of floats are taken apart in another order."""
