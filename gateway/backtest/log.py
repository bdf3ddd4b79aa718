"""The gateway's own log under another policy: decision records, re-scored, with off-policy estimates.

A line is a decision record as ``GET /v1/decisions/{id}`` returns it, or as it is stored, with a ``reward`` in [0, 1] or
a list of ``feedback`` beside it. Who was eligible is taken as logged; the new policy's weights and scales choose among
them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from gateway.backtest.offpolicy import Logged, effective, estimate
from gateway.config.loader import load
from gateway.config.problems import ConfigInvalid
from gateway.config.settings import Settings
from gateway.forward.catalog import facts as catalog_facts
from router_core.choosing import rank
from router_core.compact import expanded
from router_core.decision import Facts, Known, ScoredCandidate
from router_core.outcome import Feedback
from router_core.policy import Policy
from router_core.record import request_of
from router_core.reward import feedback_score
from router_core.scoring import score

FEW: Final = 50


class LogError(Exception):
    """The log or the policy cannot be used; the message says why."""


def compare(log: Path, policy_file: Path, config_dir: Path | None = None, *, seed: int = 0) -> dict[str, Any]:
    """Return how the policy of ``policy_file`` would have done on the decisions of ``log``. Raises LogError."""
    return compare_records(read_log(log), read_policy(policy_file, config_dir), seed=seed)


def compare_records(records: Iterator[Mapping[str, Any]], policy: Policy, *, seed: int = 0) -> dict[str, Any]:
    """Return estimates for a compiled policy; raises LogError when no record has a reward."""
    logged: list[Logged] = []
    total = 0
    for record in records:
        total += 1
        found = replayed(record, policy)
        if found is not None:
            logged.append(found)
    if not logged:
        msg = f"none of {total} decisions has a reward: nothing can be estimated"
        raise LogError(msg)
    agreement = sum(each.agrees for each in logged) / len(logged)
    behind = effective(logged)
    warnings = []
    if behind < FEW:
        warnings.append(
            f"only {behind:.0f} effective decisions support the weighted estimates: more exploration, or a policy "
            "nearer to the live one, would narrow them"
        )
    return {
        "decisions": total,
        "judged": len(logged),
        "agreement": agreement,
        "effective": behind,
        "estimates": estimate(logged, seed),
        "warnings": warnings,
    }


def replayed(record: Mapping[str, Any], policy: Policy) -> Logged | None:
    """Return one decision as the policy would have taken it; None without a reward or a scored choice.

    Raises LogError for a record that is not one of a decision.
    """
    value = reward_of(record)
    if value is None or record.get("order", "scored") != "scored" or not record.get("candidates"):
        return None
    try:
        record = expanded(record)
        request = request_of(record["request"])
        name = record["policy"] if record["policy"] in policy.policies else policy.default_policy
        weights = policy.policies[name]
        candidates = [_facts(item["facts"]) for item in record["candidates"]]
        scored = score(candidates, request, weights, policy.scoring)
        best: ScoredCandidate = rank(scored)[0]
        served = record.get("served_by") or (record.get("outcome") or {}).get("served_by") or record["chosen"]
        if served != record["chosen"]:
            return None  # a fallback answered: its reward says nothing of the choice
        chosen = next(item for item in scored if item.deployment == record["chosen"])
        booked = (record.get("outcome") or {}).get("cost_usd")
        return Logged(
            value,
            float(record["propensity"]),
            best.deployment == record["chosen"],
            min(1.0, max(0.0, best.facts.quality)),
            float(booked if booked is not None else chosen.facts.expected_cost_usd),
            best.facts.expected_cost_usd,
        )
    except (KeyError, TypeError, ValueError, StopIteration) as exc:
        msg = f"decision {record.get('id', '?')}: not a decision record ({exc})"
        raise LogError(msg) from exc


def reward_of(record: Mapping[str, Any]) -> float | None:
    """Return a record's reward in [0, 1]: its own, else the mean score of its feedback, else None."""
    if record.get("reward") is not None:
        own = record["reward"]
        return float(own["value"] if isinstance(own, Mapping) else own)
    votes = record.get("feedback")
    votes = [votes] if isinstance(votes, Mapping) else votes or []
    scores = [found for vote in votes if (found := _vote(vote)) is not None]
    return sum(scores) / len(scores) if scores else None


def _vote(vote: Mapping[str, Any]) -> float | None:
    names = ("score", "rating", "outcome", "pr_merged", "pr_reverted", "label", "correction")
    given = {name: vote[name] for name in names if vote.get(name) is not None}
    return feedback_score(Feedback("", 0.0, **given)) if given else None


def _facts(plain: Mapping[str, Any]) -> Facts:
    return Facts(**{**plain, "known": Known(**plain["known"])})


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file of JSON lines; a record under ``decision`` is merged with what stands beside it."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
                inner = row.pop("decision", None)
                yield {**inner, **row} if isinstance(inner, dict) else row
            except (orjson.JSONDecodeError, AttributeError, TypeError) as exc:
                msg = f"{path}:{number}: not a JSON object"
                raise LogError(msg) from exc


def read_policy(policy_file: Path, config_dir: Path | None) -> Policy:
    """Compile a policy.yaml as the server would, beside the models.yaml of ``config_dir``. Raises LogError."""
    try:
        settings = Settings.from_env(os.environ, {} if config_dir is None else {"config_dir": config_dir})
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(settings.config_dir / "models.yaml", Path(folder) / "models.yaml")
            shutil.copy(policy_file, Path(folder) / "policy.yaml")
            return load(Path(folder), os.environ, catalog_facts).policy
    except ConfigInvalid as exc:
        raise LogError(str(exc)) from exc
