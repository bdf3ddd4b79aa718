"""A request's money: reserved in its caller's budgets before a call, more before a dearer or a further one."""

from __future__ import annotations

from gateway.budgets import FREE, Refusal
from gateway.context import RequestContext
from gateway.http.errors import ApiError
from gateway.services import Services
from router_core.decision import Attempt


def planned_usd(ctx: RequestContext) -> float:
    """Return what the first calls of a decision can cost at most: all legs, else the dearest of plan and fallbacks."""
    attempts = ctx.decision.attempts
    if ctx.decision.legs > 1:
        return sum(attempt.worst_cost_usd for attempt in attempts[: ctx.decision.legs])
    return max((attempt.worst_cost_usd for attempt in attempts), default=0.0)


async def reserve(services: Services, ctx: RequestContext, worst_usd: float) -> None:
    """Set a request's worst case aside; raises ApiError when a budget does not allow it."""
    found = await services.budgets.reserve(ctx.principal, worst_usd)
    if isinstance(found, Refusal):
        raise refused(found)
    ctx.reservation, ctx.reserved_usd = found, worst_usd


async def covers(services: Services, ctx: RequestContext, attempt: Attempt) -> bool:
    """Make sure that the reservation covers one more call on top of what was spent; False when it may not be made."""
    if ctx.reservation is FREE:
        return True
    extra = ctx.spent_usd + attempt.worst_cost_usd - ctx.reserved_usd
    if extra <= 0.0:
        return True
    if await services.budgets.extend(ctx.reservation, extra) is not None:
        return False
    ctx.reserved_usd += extra
    return True


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
