"""The request path, top to bottom: decide, reserve, call, relay, record.

Nothing is sent before the first content; everything is booked after the last byte, whatever happened in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from gateway import chunks
from gateway.attempts import AttemptLoop, Exhausted
from gateway.calls import LiveCall
from gateway.context import RequestContext
from gateway.hedging import open_hedged
from gateway.http.errors import ApiError
from gateway.parallel import run_parallel
from gateway.recorder import attempt_record, experiment_record
from gateway.refusals import all_failed, no_candidate
from gateway.relay import DONE, frame, frames
from gateway.reply import Reply, routing_headers, served_headers
from gateway.services import Services
from gateway.spending import admit, give_back, limit_headers, planned_usd, reserve
from gateway.streams import ClientStream, StreamFailed
from gateway.whole import close
from router_core.outcome import AttemptRole, RequestOutcome
from router_core.ports import Answer
from router_core.record import to_record
from router_core.request import Mode, StreamRecovery


async def serve(services: Services, ctx: RequestContext) -> Reply:
    """Carry out a decision; raises ApiError. The outcome is recorded in every case, a stream's after its last byte."""
    try:
        if ctx.decision.chosen is None:
            raise no_candidate(ctx.decision)  # noqa: TRY301 - one place renders and records every refusal
        await admit(services, ctx)
        await reserve(services, ctx, planned_usd(ctx))
        policy = ctx.policy.retry
        services.retry_budget = services.retry_budget.deposit(services.steady(), policy.budget_window_s)
        try:
            loop, live = await _open(services, ctx)
            if ctx.chat.stream:
                return await _streamed(services, ctx, loop, live)
        except Exhausted as exc:
            if exc.failure is None and ctx.decision.last_resort:  # its probe is under way, or was a moment ago
                raise no_candidate(ctx.decision) from exc
            raise all_failed(ctx, exc.failure, exc.reason) from exc
    except ApiError as exc:
        exc.headers = {**limit_headers(services, ctx), **routing_headers(ctx, services.steady()), **exc.headers}
        if ctx.hints.explain:
            exc.extra = {**exc.extra, "router": explain(ctx)}
        finish(services, ctx, exc.status, None, exc.code)
        raise
    except asyncio.CancelledError:
        finish(services, ctx, 499, None, "client_closed_request")
        raise
    except BaseException:
        finish(services, ctx, 500, None, "internal_error")
        raise
    return _whole(services, ctx, live)


async def _open(services: Services, ctx: RequestContext) -> tuple[AttemptLoop, LiveCall]:
    """Return the call whose answer or stream the client gets, and the loop that may replace it."""
    if ctx.decision.mode is not Mode.SINGLE and ctx.decision.legs > 1:
        return await run_parallel(services, ctx)
    loop = AttemptLoop(services, ctx, ctx.decision.attempts, AttemptRole.PRIMARY)
    if ctx.policy.hedging.enabled and loop.left > 1:
        return loop, await open_hedged(services, ctx, loop)
    return loop, await loop.open()


def _whole(services: Services, ctx: RequestContext, live: LiveCall) -> Reply:
    """Return a whole answer; what is learned from it and written down waits until it has been sent."""
    answer = live.answer
    assert answer is not None, "a call that opened without a stream has an answer"  # noqa: S101 - narrows the type
    body = answer.body
    close(ctx, live, told=False)

    def after() -> None:
        live.tell()
        finish(services, ctx, 200, live, answer=body)

    try:
        return _rendered(services, ctx, live, answer, after)
    except BaseException:
        after()
        raise


def _rendered(
    services: Services, ctx: RequestContext, live: LiveCall, answer: Answer, after: Callable[[], None]
) -> Reply:
    """Return an answer's bytes as they came, unless the model's name or the explanation changes them."""
    body, raw = answer.body, answer.raw
    model = chunks.shown_model(body.get("model"), live.deployment)
    if body.get("model") != model:
        body["model"] = model
        raw = None
    if ctx.hints.explain:
        body["router"] = explain(ctx)
        raw = None
    headers = _headers(services, ctx, live.deployment.id, model)
    headers["x-router-cost-usd"] = f"{ctx.spent_usd:.8f}"
    return Reply(200, headers, raw if raw is not None else chunks.to_json(body, str), after=after)


async def _streamed(services: Services, ctx: RequestContext, loop: AttemptLoop, live: LiveCall) -> Reply:
    """Return an open stream. A hint that bounded its first content does not bound the rest."""
    if ctx.own_deadline:
        ctx.own_deadline = False
        ctx.deadline = ctx.started + ctx.policy.timeouts.total_s
    stream = ClientStream(services, ctx, loop, live)
    held = None
    try:
        if ctx.recovery is StreamRecovery.BUFFER:
            held = await stream.buffered()
    except BaseException:
        stream.abandon()
        await stream.live.aclose()
        raise
    model = stream.relay.model if held else _first_model(live)
    headers = _headers(services, ctx, stream.live.deployment.id, model)
    return Reply(200, headers, stream=_events(services, ctx, stream, held))


def _headers(services: Services, ctx: RequestContext, deployment: str, model: str) -> dict[str, str]:
    headers = routing_headers(ctx, services.steady())
    headers |= served_headers(ctx, deployment, model)
    headers |= limit_headers(services, ctx)
    return headers


def _first_model(live: LiveCall) -> str:
    for event in live.held:
        if event.chunk is not None and event.chunk.get("model"):
            return chunks.shown_model(event.chunk["model"], live.deployment)
    return live.deployment.model


async def _events(
    services: Services, ctx: RequestContext, stream: ClientStream, held: list[bytes] | None
) -> AsyncGenerator[bytes]:
    """Yield framed events to the whole end or to an error event; booked and recorded after the last one."""
    status, code = 499, "client_closed_request"
    done = False
    try:
        try:
            if held is None:
                async with aclosing(stream.payloads()) as batches:
                    async for payloads in batches:
                        yield frames(payloads)
            else:
                for payload in held:
                    yield frame(payload)
        except StreamFailed as exc:
            status, code = 502, f"provider_{exc.failure.kind}"
            yield frame(_error_event(ctx, stream, exc.failure.message, code))
            return
        except asyncio.CancelledError:
            if not services.admission.expelled:
                raise
            stream.abandon()
            status, code = 503, "draining"
            yield frame(_error_event(ctx, stream, "the gateway is shutting down", code))
            return
        status, done = 200, True
        for payload in _endings(ctx, stream):
            yield frame(payload)
        yield DONE
    finally:
        stream.abandon()
        served = stream.live if done else None
        finish(services, ctx, status, served, None if done else code, stream=stream)
        await stream.live.aclose()


def _endings(ctx: RequestContext, stream: ClientStream) -> list[bytes]:
    """Return the last chunks: usage with its cost when asked for, the explanation when asked for."""
    relay = stream.relay
    last = relay.usage_chunk
    if last is not None:
        last = {**last, "model": relay.model, "usage": {**last["usage"], "cost": round(ctx.spent_usd, 10)}}
    if ctx.hints.explain:
        last = last or {**_skeleton(stream), "choices": []}
        last["router"] = explain(ctx)
    return [chunks.to_json(last, str)] if last is not None else []


def _skeleton(stream: ClientStream) -> dict[str, Any]:
    head = stream.relay.first or {}
    return {
        "id": head.get("id"),
        "object": "chat.completion.chunk",
        "created": head.get("created"),
        "model": stream.relay.model,
    }


def _error_event(ctx: RequestContext, stream: ClientStream, message: str, code: str) -> bytes:
    """Return the event that ends a stream which could not be finished: it can never be taken for success."""
    error = ApiError(502, message or "the provider's stream broke", code, type="upstream_error").body()
    event = {**_skeleton(stream), "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}], **error}
    if ctx.hints.explain:
        event["router"] = explain(ctx)
    return chunks.to_json(event, str)


def explain(ctx: RequestContext) -> dict[str, Any]:
    """Return the whole decision and every call made so far, for the response body."""
    return {
        "decision_id": ctx.decision_id,
        **to_record(ctx.routing, ctx.decision),
        "cost_usd": ctx.spent_usd,
        "judged_by": ctx.judge,
        "verdict": ctx.verdict,
        "experiment": experiment_record(ctx),
        "calls": [attempt_record(attempt) for attempt in ctx.attempts],
    }


def _cached(ctx: RequestContext, deployment: str) -> int:
    """Return the prompt's tokens if a deployment's last call used its provider's cache, else 0."""
    for attempt in reversed(ctx.attempts):
        if attempt.deployment == deployment:
            usage = attempt.usage
            return usage.prompt if usage.cached_input + usage.cache_write else 0
    return 0


def finish(
    services: Services,
    ctx: RequestContext,
    status: int,
    live: LiveCall | None,
    code: str | None = None,
    *,
    answer: Mapping[str, Any] | None = None,
    stream: ClientStream | None = None,
) -> None:
    """Settle, remember and record a finished request."""
    now = services.steady()
    services.budgets.settle(ctx.reservation, ctx.spent_usd)
    give_back(services, ctx)
    outcome = RequestOutcome(
        decision_id=ctx.decision_id,
        at=now,
        task=ctx.decision.profile.task,
        status=status,
        duration_s=now - ctx.started,
        attempts=tuple(ctx.attempts),
        secondary=ctx.decision.profile.secondary,
        served_by=live.deployment.id if live is not None else None,
        key_id=ctx.principal.key_id,
        tags=ctx.tags,
        session=ctx.hints.session,
        cost_usd=ctx.spent_usd,
        overhead_s=ctx.overhead_s or 0.0,
        policy=ctx.decision.policy,
        mode=str(ctx.decision.mode),
        error_code=code,
        features=ctx.routing.features,
    )
    if live is not None and ctx.attempts:
        deployment, keep = live.deployment, ctx.policy.scoring.recent_providers
        cached = _cached(ctx, deployment.id)
        services.sessions.used(
            ctx.principal.key_id, ctx.hints.session, deployment.provider, deployment.id, cached, now, keep
        )
    services.hedges.request(ctx.spent_usd)
    services.recorder.finish(ctx, outcome)
    for hook in services.after:
        hook(ctx, outcome, answer, stream)
