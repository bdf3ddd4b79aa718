"""One decision as people look at it: the record, and what became of it. No prompt text, and nothing secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.secrets import scrub
from router_core.outcome import AttemptOutcome, RequestOutcome

_MAX_CANDIDATES: Final = 40
_MAX_REJECTIONS: Final = 80


def candidates_of(record: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the scored candidates of a decision record, best first; empty when it has none."""
    found = record.get("candidates")
    return found if isinstance(found, list) else ()


def summarise(outcome: RequestOutcome, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the dashboard shows of one request; money in USD, times in milliseconds."""
    return {
        "id": outcome.decision_id,
        "at": outcome.at,
        "task": str(outcome.task),
        "secondary": None if outcome.secondary is None else str(outcome.secondary),
        "policy": outcome.policy,
        "mode": outcome.mode,
        "status": outcome.status,
        "error_code": outcome.error_code,
        "served_by": outcome.served_by,
        "duration_ms": round(outcome.duration_s * 1000.0, 3),
        "overhead_ms": round(outcome.overhead_s * 1000.0, 3),
        "cost_usd": outcome.cost_usd,
        "key_id": outcome.key_id,
        "tags": [scrub(tag) for tag in outcome.tags],
        "attempts": [_attempt(attempt) for attempt in outcome.attempts],
        **_decided(record),
    }


def of_stored(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the same from a record as the store keeps it, None when it is not of this shape."""
    outcome, task = record.get("outcome"), record.get("task")
    if not isinstance(outcome, Mapping) or not isinstance(task, Mapping):
        return None
    return {
        "id": record.get("id"),
        "at": record.get("at"),
        "task": task.get("task"),
        "secondary": task.get("secondary"),
        "policy": record.get("policy"),
        "mode": record.get("mode"),
        "status": outcome.get("status"),
        "error_code": outcome.get("error_code"),
        "served_by": outcome.get("served_by"),
        "duration_ms": outcome.get("duration_ms"),
        "overhead_ms": outcome.get("overhead_ms"),
        "cost_usd": outcome.get("cost_usd"),
        "key_id": record.get("key_id"),
        "tags": [scrub(str(tag)) for tag in outcome.get("tags") or ()],
        "attempts": [_stored_attempt(each) for each in outcome.get("attempts") or () if isinstance(each, Mapping)],
        **_decided(record),
    }


def _decided(record: Mapping[str, Any]) -> dict[str, Any]:
    task = record.get("task")
    profile: Mapping[str, Any] = task if isinstance(task, Mapping) else {}
    return {
        "confidence": profile.get("confidence"),
        "evidence": list(profile.get("evidence") or ()),
        "chosen": record.get("chosen"),
        "rationale": record.get("rationale"),
        "margin": record.get("confidence"),
        "explored": record.get("explored"),
        "propensity": record.get("propensity"),
        "order": record.get("order"),
        "judged_by": record.get("judged_by"),
        "ranking": candidates_of(record)[:_MAX_CANDIDATES],
        "rejections": list(record.get("rejections") or ())[:_MAX_REJECTIONS],
    }


def _stored_attempt(each: Mapping[str, Any]) -> dict[str, Any]:
    usage = each.get("usage")
    tokens: Mapping[str, Any] = usage if isinstance(usage, Mapping) else {}
    message = each.get("message")
    return {
        "deployment": each.get("deployment"),
        "role": each.get("role"),
        "ok": each.get("ok"),
        "failure": each.get("failure"),
        "message": None if message is None else scrub(str(message))[:300],
        "status": each.get("status"),
        "duration_ms": each.get("duration_ms"),
        "first_content_ms": each.get("time_to_first_content_ms"),
        "prompt_tokens": sum(int(tokens.get(kind) or 0) for kind in ("input", "cached_input", "cache_write")),
        "completion_tokens": sum(int(tokens.get(kind) or 0) for kind in ("output", "reasoning")),
        "cost_usd": each.get("cost_usd"),
    }


def _attempt(attempt: AttemptOutcome) -> dict[str, Any]:
    first = attempt.time_to_first_content_s
    return {
        "deployment": attempt.deployment,
        "role": str(attempt.role),
        "ok": attempt.ok,
        "failure": None if attempt.failure is None else str(attempt.failure.kind),
        "message": None if attempt.failure is None else scrub(attempt.failure.message)[:300],
        "status": attempt.status,
        "duration_ms": round(attempt.duration_s * 1000.0, 3),
        "first_content_ms": None if first is None else round(first * 1000.0, 3),
        "prompt_tokens": attempt.usage.prompt,
        "completion_tokens": attempt.usage.completion,
        "cost_usd": attempt.cost_usd,
    }
