"""Outcomes as the pipeline makes them, in one line, and a stretch of made-up traffic with known numbers."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from router_core.outcome import AttemptOutcome, AttemptRole, Failure, FailureKind, RequestOutcome, Usage
from router_core.task import TaskType


def attempt(deployment: str = "acme/m1", at: float = 0.0, **changes: Any) -> AttemptOutcome:
    kind = changes.pop("failure", None)
    values: dict[str, Any] = {
        "provider": deployment.partition("/")[0],
        "task": TaskType.ANALYSIS,
        "duration_s": 1.0,
        "usage": Usage(100, 0, 0, 50) if kind is None else Usage(),
        "cost_usd": 0.002 if kind is None else 0.0,
        "failure": None if kind is None else Failure(FailureKind(kind), "it failed"),
        **changes,
    }
    return AttemptOutcome(deployment, at=at, **values)


def request(*attempts: AttemptOutcome, number: int = 1, **changes: Any) -> RequestOutcome:
    last = attempts[-1]
    values: dict[str, Any] = {
        "task": last.task,
        "status": 200 if last.ok else 502,
        "duration_s": sum(each.duration_s for each in attempts),
        "served_by": last.deployment if last.ok else None,
        "cost_usd": sum(each.cost_usd for each in attempts),
        "overhead_s": 0.002,
        **changes,
    }
    return RequestOutcome(f"d-{number}", at=last.at, attempts=attempts, **values)


def candidates(*each: tuple[str, float, float]) -> dict[str, Any]:
    """Return what a baseline asks of candidates: of each its deployment, expected quality and expected cost in USD."""
    deployments, qualities, costs = zip(*each, strict=True)
    return {"deployment": deployments, "facts": {"quality": qualities, "expected_cost_usd": costs}}


def traffic(count: int, *, start: float, seconds: float, seed: int = 7) -> Iterator[RequestOutcome]:
    """Yield requests to three providers over some seconds; the second fails now and then and is fallen back from."""
    rng = Random(seed)
    tasks = (TaskType.CODE_GENERATION, TaskType.ANALYSIS, TaskType.GENERAL)
    for number in range(count):
        at = start + seconds * number / count
        task = rng.choice(tasks)
        first = rng.choice(("acme/large", "beta/medium", "gamma/small"))
        duration = rng.lognormvariate(0.0, 0.5)
        broken = first.startswith("beta") and rng.random() < 0.2
        calls = [attempt(first, at, task=task, duration_s=duration, failure="server" if broken else None)]
        if broken:
            calls.append(attempt("gamma/small", at, task=task, duration_s=duration, role=AttemptRole.FALLBACK))
        yield request(*calls, number=number)
