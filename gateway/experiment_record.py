"""An experiment as JSON: what an operator wishes, what the store keeps, what the API shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final, TypeVar

import orjson

from router_core.errors import ConfigError
from router_core.experiment import (
    NAME_CHARS,
    Arm,
    ArmSums,
    Experiment,
    ExperimentState,
    Guardrails,
    Metric,
    Report,
)
from router_core.sequential import Moments, interval
from router_core.task import TaskType

T = TypeVar("T")
_WISHES: Final = (
    "name", "arms", "task", "tag", "route", "metric", "hypothesis", "min_samples", "ends_at", "guardrails",
)  # fmt: skip
_ARM: Final = ("name", "deployment", "policy", "share")
_SHOWN: Final = (
    "id", "name", "state", "task", "tag", "route", "metric", "hypothesis", "min_samples", "ends_at", "created_at",
    "reason",
)  # fmt: skip
_HYPOTHESIS_CHARS: Final = 500
_LONGEST_S: Final = 10 * 366 * 86_400.0


def of_wishes(wishes: Mapping[str, Any], experiment_id: str, now: float) -> Experiment:
    """Return a draft from an operator's JSON; raises ConfigError whose message begins with the field's name."""
    _known("", wishes, _WISHES)
    values: dict[str, Any] = {}
    for name, most in (("name", NAME_CHARS), ("tag", NAME_CHARS), ("route", 256), ("hypothesis", _HYPOTHESIS_CHARS)):
        if wishes.get(name) is not None:
            values[name] = _text(name, wishes[name], most)
    if "name" not in values:
        msg = "name: missing"
        raise ConfigError(msg)
    for name, choices in (("task", TaskType), ("metric", Metric)):
        if wishes.get(name) is not None:
            values[name] = _choice(name, wishes[name], [each.value for each in choices])
    if "metric" in values:
        values["metric"] = Metric(values["metric"])
    if wishes.get("min_samples") is not None:
        values["min_samples"] = int(_number("min_samples", wishes["min_samples"], 20, 10_000_000, whole=True))
    if wishes.get("ends_at") is not None:
        values["ends_at"] = _number("ends_at", wishes["ends_at"], 0.0, 1e12)
        if not now < values["ends_at"] < now + _LONGEST_S:
            msg = "ends_at: must be Unix seconds of the next ten years"
            raise ConfigError(msg)
    if wishes.get("guardrails") is not None:
        values["guardrails"] = _guardrails(wishes["guardrails"])
    values["arms"] = _arms(wishes.get("arms"))
    return _made("arms", lambda: Experiment(id=experiment_id, created_at=now, **values))


def _arms(value: Any) -> tuple[Arm, ...]:
    if not isinstance(value, list) or not 2 <= len(value) <= 8:
        msg = "arms: must be a list of 2 to 8 arms, the control first"
        raise ConfigError(msg)
    return tuple(_arm(f"arms[{place}]", each) for place, each in enumerate(value))


def _arm(where: str, value: Any) -> Arm:
    if not isinstance(value, Mapping):
        msg = f"{where}: must be an object with a name and a deployment or a policy"
        raise ConfigError(msg)
    _known(where, value, _ARM)
    words = {
        name: _text(f"{where}.{name}", value[name], 256 if name == "deployment" else NAME_CHARS)
        for name in ("name", "deployment", "policy")
        if value.get(name) is not None
    }
    if "name" not in words:
        msg = f"{where}.name: missing"
        raise ConfigError(msg)
    if "|" in words["name"]:
        msg = f"{where}.name: must not contain '|'"
        raise ConfigError(msg)
    share = _number(f"{where}.share", value.get("share", 1.0), 1e-6, 1e6)
    return _made(where, lambda: Arm(share=share, **words))


def _guardrails(value: Any) -> Guardrails:
    if not isinstance(value, Mapping):
        msg = "guardrails: must be an object"
        raise ConfigError(msg)
    _known("guardrails", value, tuple(spec.name for spec in fields(Guardrails)))
    limits = {
        name: None if limit is None else _number(f"guardrails.{name}", limit, 0.0, 1000.0)
        for name, limit in value.items()
    }
    return _made("guardrails", lambda: Guardrails(**limits))


def _made(where: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except ConfigError as exc:
        msg = f"{where}: {exc}"
        raise ConfigError(msg) from exc


def _known(where: str, value: Mapping[str, Any], allowed: Sequence[str]) -> None:
    for name in value:
        if name not in allowed:
            shown = "".join(char for char in str(name)[:64] if char.isprintable())
            msg = f"{where + '.' if where else ''}{shown}: unknown; known: {', '.join(allowed)}"
            raise ConfigError(msg)


def _text(name: str, value: Any, most: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        msg = f"{name}: must be a printable text of 1 to {most} characters"
        raise ConfigError(msg)
    return value


def _choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in allowed:
        msg = f"{name}: must be one of {', '.join(allowed)}"
        raise ConfigError(msg)
    return value


def _number(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> float:
    good = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and low <= value <= high
    if not good:
        kind = "a whole number" if whole else "a number"
        msg = f"{name}: must be {kind} within {low:g} and {high:g}"
        raise ConfigError(msg)
    return float(value)


def to_json(experiment: Experiment) -> bytes:
    """Return the stored form."""
    return orjson.dumps(asdict(experiment))


def from_json(data: bytes) -> Experiment | None:
    """Return a stored experiment; None for what cannot be read. Fields of a newer version are ignored."""
    try:
        row = orjson.loads(data)
        known = {spec.name: row[spec.name] for spec in fields(Experiment) if spec.name in row}
        known["arms"] = tuple(
            Arm(**{spec.name: arm[spec.name] for spec in fields(Arm) if spec.name in arm}) for arm in row["arms"]
        )
        rails = row.get("guardrails") or {}
        known["guardrails"] = Guardrails(**{s.name: rails[s.name] for s in fields(Guardrails) if s.name in rails})
        known["state"] = ExperimentState(row["state"])
        known["metric"] = Metric(row.get("metric", Metric.REWARD))
        return Experiment(**known)
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError):
        return None


def shown(experiment: Experiment, sums: Mapping[str, ArmSums], report: Report) -> dict[str, Any]:
    """Return an experiment for people: its arms with what was measured, and what may be said of it."""
    total = sum(arm.share for arm in experiment.arms)
    return {
        **{name: getattr(experiment, name) for name in ("id", "name", "state", "task", "tag", "route", "metric")},
        **{
            name: getattr(experiment, name) for name in ("hypothesis", "min_samples", "ends_at", "created_at", "reason")
        },
        "guardrails": asdict(experiment.guardrails),
        "arms": [_arm_row(arm, arm.share / total, sums[arm.name]) for arm in experiment.arms],
        "result": {
            "verdict": verdict(experiment, report),
            "winner": report.winner,
            "enough": report.enough,
            "breach": report.breach,
            "comparisons": [
                {
                    "arm": each.arm,
                    "difference": each.difference,
                    "low": _finite(each.low),
                    "high": _finite(each.high),
                    "decided": each.decided,
                }
                for each in report.comparisons
            ],
        },
    }


def _arm_row(arm: Arm, share: float, sums: ArmSums) -> dict[str, Any]:
    return {
        "name": arm.name,
        "deployment": arm.deployment,
        "policy": arm.policy,
        "share": share,
        "n": int(sums.success.n),
        "reward": _measured(sums.reward, unit=True),
        "success": _measured(sums.success, unit=True),
        "cost_usd": _measured(sums.cost, unit=False),
        "latency_ms": _measured(sums.latency, unit=False, factor=1000.0),
    }


def _measured(found: Moments, *, unit: bool, factor: float = 1.0) -> dict[str, Any] | None:
    if not found.n:
        return None
    mean, low, high = interval(found, unit=unit)
    low, high = max(0.0, low), min(1.0, high) if unit else high
    bounds = (None, None) if math.isinf(high) or found.n < 2 else (low * factor, high * factor)
    return {"n": int(found.n), "mean": mean * factor, "low": bounds[0], "high": bounds[1]}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def verdict(experiment: Experiment, report: Report) -> str:
    """Return in one sentence what may be said now."""
    if report.breach is not None:
        return f"harm: {report.breach}"
    if report.winner is not None:
        return f"{report.winner} is better in {experiment.metric}"
    if not report.enough:
        return f"too few samples of {experiment.metric} in some arm (at least {experiment.min_samples} each)"
    return f"no difference in {experiment.metric} can be told yet"
