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
    task = record.get("task")
    profile: Mapping[str, Any] = task if isinstance(task, Mapping) else {}
    return {
        "id": outcome.decision_id,
        "at": outcome.at,
        "task": str(outcome.task),
        "confidence": profile.get("confidence"),
        "evidence": list(profile.get("evidence") or ()),
        "secondary": None if outcome.secondary is None else str(outcome.secondary),
        "policy": outcome.policy,
        "mode": outcome.mode,
        "status": outcome.status,
        "error_code": outcome.error_code,
        "chosen": record.get("chosen"),
        "served_by": outcome.served_by,
        "rationale": record.get("rationale"),
        "margin": record.get("confidence"),
        "explored": record.get("explored"),
        "propensity": record.get("propensity"),
        "order": record.get("order"),
        "duration_ms": round(outcome.duration_s * 1000.0, 3),
        "overhead_ms": round(outcome.overhead_s * 1000.0, 3),
        "cost_usd": outcome.cost_usd,
        "key_id": outcome.key_id,
        "tags": [scrub(tag) for tag in outcome.tags],
        "ranking": candidates_of(record)[:_MAX_CANDIDATES],
        "rejections": list(record.get("rejections") or ())[:_MAX_REJECTIONS],
        "attempts": [_attempt(attempt) for attempt in outcome.attempts],
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
