"""Several calls at once: hedging a late first token, and the parallel modes."""

from __future__ import annotations

from gateway.attempts import AttemptLoop
from gateway.calls import LiveCall
from gateway.context import RequestContext
from gateway.http.errors import ApiError
from gateway.services import Services


async def open_hedged(services: Services, ctx: RequestContext, loop: AttemptLoop) -> LiveCall:
    """Return the first call that opens."""
    del services, ctx
    return await loop.open()


async def run_parallel(services: Services, ctx: RequestContext) -> tuple[AttemptLoop, LiveCall]:
    """Return the chosen answer of several."""
    del services
    raise ApiError(400, f"mode {ctx.decision.mode} is not supported yet", "not_supported", "router.mode")
