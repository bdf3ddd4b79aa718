"""What was learned, as rows: expected quality with its interval, learned weight, and how well expectations held."""

from __future__ import annotations

from typing import Any, Final

from gateway.series_keys import JUDGED
from router_core.known import MINUTE_S, known_of
from router_core.quality import renewed
from router_core.series import ALL_TASKS
from router_core.snapshot import EMPTY_STATE
from router_core.task import TaskType

_WIDTH: Final = 1.96
"""Deviations to each side of an expectation: 95 %."""


def learning_rows(services: Any, window: str = "all") -> dict[str, Any]:
    """Return posteriors of every callable deployment and task, and calibration over a window."""
    config = services.config.current
    registry, policy = config.registry, config.policy
    snapshot = services.learner.snapshot
    minute = int(services.steady() // MINUTE_S)
    rows = []
    for deployment in registry.deployments.values():
        if not (deployment.enabled and deployment.callable):
            continue
        state = snapshot.states.get(deployment.id, EMPTY_STATE)
        for task in TaskType:
            known = known_of(deployment, state, (task.value,), registry, policy, minute)
            prior = renewed(deployment.prior(task.value)) if state.renewed else deployment.prior(task.value)
            rows.append(
                {
                    "deployment": deployment.id,
                    "provider": deployment.provider,
                    "task": task.value,
                    "prior": prior.mean,
                    "prior_weight": prior.weight,
                    "quality": known.quality,
                    "low": max(0.0, known.quality - _WIDTH * known.quality_sd),
                    "high": min(1.0, known.quality + _WIDTH * known.quality_sd),
                    "rewards": known.quality_n,
                    "renewed_at": services.learner.epochs.get((JUDGED, deployment.id)),
                    "learned": known.learned,
                    "observations": known.observations,
                    "success_rate": known.success_rate if known.observations else None,
                    "performance": known.performance,
                    "adjustment": known.adjustment,
                    "mean_output": known.mean_output,
                }
            )
    return {
        "object": "list",
        "data": rows,
        "tokens": [
            {"deployment": name, "ratio": state.tasks[ALL_TASKS].input_ratio}
            for name, state in sorted(snapshot.states.items())
            if ALL_TASKS in state.tasks
        ],
        "calibration": services.observer.calibration(window),
        "pacing": services.pacing.rows() if services.pacing is not None else [],
        "snapshot_version": snapshot.version,
    }
