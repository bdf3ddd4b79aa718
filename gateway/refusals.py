"""From "nobody could serve this" to the status a client understands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.context import RequestContext
from gateway.http.errors import ApiError
from gateway.recorder import attempt_record
from router_core.decision import Decision, Rejection, Rule
from router_core.outcome import AttemptOutcome, Failure, FailureKind

_HIDDEN: Final = frozenset({Rule.NOT_ALLOWED})
_OPERATORS: Final = frozenset({Rule.NO_KEY, Rule.DISABLED})
_MOST_REASONS: Final = 3
_PARAMS: Final = {
    Rule.QUALITY: "router.min_quality",
    Rule.LATENCY: "router.max_latency_ms",
    Rule.EXCLUDED: "router.exclude",
    Rule.NOT_LISTED: "router.only",
}
_CAPABLE: Final = frozenset(
    {
        Rule.CAPABILITY,
        Rule.CONTEXT_WINDOW,
        Rule.QUALITY,
        Rule.LATENCY,
        Rule.PRICE,
        Rule.EXCLUDED,
        Rule.NOT_LISTED,
        Rule.DISABLED,
        Rule.NO_KEY,
    }
)


def no_candidate(decision: Decision) -> ApiError:
    """Return the error for a decision that chose nobody; it lists each refusal the key may see."""
    shown = [item for item in decision.rejections if item.rule not in _HIDDEN]
    candidates = [{"deployment": item.deployment, "rule": str(item.rule), "detail": item.detail} for item in shown]
    waits = [item.retry_after_s for item in shown if item.retry_after_s is not None]
    error = _kind(decision.rejections, shown, min(waits) if waits else None)
    error.extra = {"candidates": candidates}
    return error


def _kind(everyone: Sequence[Rejection], shown: Sequence[Rejection], wait: float | None) -> ApiError:
    if everyone and not shown:
        return ApiError(403, "this key may not use any deployment of that model", "model_not_allowed", "model")
    waiting = [item for item in shown if item.retry_after_s is not None]
    if waiting and wait is not None:
        soonest = min(waiting, key=lambda item: item.retry_after_s or 0.0)
        if soonest.rule is Rule.RATE_LIMIT:
            return ApiError(429, f"rate limited: {soonest.detail}", "rate_limited", retry_after_s=wait)
        message = f"no deployment is available: {soonest.detail}"
        return ApiError(503, message, "provider_unavailable", retry_after_s=wait)
    rules = {item.rule for item in shown}
    if Rule.COST in rules and rules <= _CAPABLE | {Rule.COST}:
        return ApiError(400, "max_cost_usd is too low for any deployment", "max_cost_too_low", "router.max_cost_usd")
    if rules and rules <= _OPERATORS:
        return ApiError(503, "no deployment of that model has a key", "provider_unavailable", should_retry=False)
    if Rule.CONTEXT_WINDOW in rules and not rules & {Rule.CAPABILITY, Rule.QUALITY, Rule.LATENCY, Rule.PRICE}:
        message = "the request is longer than the context window of every deployment"
        return ApiError(400, message, "context_length_exceeded", "messages")
    return _incapable([item for item in shown if item.rule not in _OPERATORS])


def _incapable(shown: Sequence[Rejection]) -> ApiError:
    """Return the 400 with each reason once: an SDK shows its user the message and little else."""
    reasons = list(dict.fromkeys(item.detail for item in shown)) or ["there is none"]
    more = f" and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
    message = f"no deployment can do what this request needs: {', '.join(reasons[:_MOST_REASONS])}{more}"
    rules = {item.rule for item in shown}
    param = _PARAMS.get(shown[0].rule) if len(rules) == 1 else None
    return ApiError(400, message, "no_capable_deployment", param)


_CLIENTS_OWN: Final = frozenset(
    {FailureKind.INVALID_REQUEST, FailureKind.CONTENT_FILTER, FailureKind.CONTEXT_OVERFLOW, FailureKind.CONFLICT}
)


def all_failed(ctx: RequestContext, failure: Failure | None, reason: str) -> ApiError:
    """Return the error for a request whose every attempt failed.

    It lists the attempts and, where the fault was the request's own, speaks with the provider's words.
    """
    error = _by_failure(ctx, failure, reason)
    error.extra = {**error.extra, "attempts": [_shown(attempt) for attempt in ctx.attempts]}
    return error


def _by_failure(ctx: RequestContext, failure: Failure | None, reason: str) -> ApiError:
    if failure is None:
        return ApiError(503, "no deployment is available", "provider_unavailable", retry_after_s=1.0)
    if failure.kind is FailureKind.CANCELLED and ctx.own_deadline:
        message = "the request's max_latency_ms ran out"
        return ApiError(408, message, "deadline_exceeded", "router.max_latency_ms", should_retry=False)
    kinds = [attempt.failure.kind for attempt in ctx.attempts if attempt.failure is not None]
    if not kinds and not failure.sent and failure.kind in {FailureKind.RATE_LIMITED, FailureKind.OVERLOADED}:
        return ApiError(503, f"no deployment has room: {failure.message}", "overloaded", retry_after_s=1.0)
    if failure.kind in _CLIENTS_OWN:
        return _clients_own(failure)
    if failure.kind is FailureKind.NOT_FOUND and set(kinds) == {FailureKind.NOT_FOUND}:
        return ApiError(404, "the provider does not know this model", "model_not_found", "model", should_retry=False)
    retry = False if reason == "retry budget used up" else None
    if kinds and all(kind in {FailureKind.RATE_LIMITED, FailureKind.BILLING} for kind in kinds):
        return _limited(ctx, failure, retry)
    if kinds and all(kind is FailureKind.TIMEOUT for kind in kinds):
        return ApiError(504, "no provider answered in time", "provider_timeout", should_retry=retry)
    return _providers(ctx, failure, kinds, retry)


def _providers(ctx: RequestContext, failure: Failure, kinds: Sequence[FailureKind], retry: bool | None) -> ApiError:  # noqa: FBT001 - passed on
    """Return the error for faults of the providers; the longest wait that one of them asked for is passed on."""
    wait = max((item.failure.retry_after_s or 0.0 for item in ctx.attempts if item.failure), default=0.0)
    if ctx.decision.last_resort:
        wait = max(wait, ctx.policy.breaker.last_resort_after_s)
    if kinds and all(kind in {FailureKind.OVERLOADED, FailureKind.RATE_LIMITED} for kind in kinds):
        message = f"every provider is overloaded; the last one: {failure.message or failure.kind}"
        return ApiError(503, message, "provider_overloaded", retry_after_s=wait or 1.0, should_retry=retry)
    if wait > 0.0 and failure.status == 503:
        return ApiError(503, "the provider is unavailable", "provider_unavailable", retry_after_s=wait)
    message = f"every attempt failed; the last one: {failure.message or failure.kind}"
    return ApiError(502, message, _code(failure), retry_after_s=wait or None, should_retry=retry)


def _code(failure: Failure) -> str:
    if failure.kind is FailureKind.CONNECT:
        return "provider_unavailable"
    return f"provider_{failure.kind}"


def _clients_own(failure: Failure) -> ApiError:
    status = failure.status if failure.status in {400, 409, 413, 422} else 400
    code = failure.code or str(failure.kind)
    if failure.kind is FailureKind.CONTEXT_OVERFLOW:
        code = "context_length_exceeded"
    message = failure.message or "the provider refused the request"
    return ApiError(status, message, code, failure.param, failure.type or "invalid_request_error", should_retry=False)


def _limited(ctx: RequestContext, failure: Failure, retry: bool | None) -> ApiError:  # noqa: FBT001 - passed on
    quota = [item.failure for item in ctx.attempts if item.failure and item.failure.kind is FailureKind.BILLING]
    if quota and all(item.failure is None or item.failure.kind is FailureKind.BILLING for item in ctx.attempts):
        if failure.status != 429:
            return ApiError(502, "the provider's account cannot pay", "provider_billing", should_retry=False)
        message = failure.message or "the provider's quota is used up"
        return ApiError(429, message, failure.code or "insufficient_quota", should_retry=False)
    waits = [item.failure.retry_after_s for item in ctx.attempts if item.failure and item.failure.retry_after_s]
    wait = min(waits) if waits else 1.0
    return ApiError(429, "every provider is rate limiting", "rate_limited", retry_after_s=wait, should_retry=retry)


def _shown(attempt: AttemptOutcome) -> dict[str, Any]:
    """Return one failed call for the client: deployment, kind, status, milliseconds."""
    record = attempt_record(attempt)
    return {name: record[name] for name in ("deployment", "failure", "status", "duration_ms")}
