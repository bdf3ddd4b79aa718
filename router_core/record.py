"""A decision as plain data, and the decision again from that data.

The record carries the request without its text, the facts of every candidate, every refusal, the random draws and the
versions. ``recompute`` repeats eligibility, scoring and planning from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from router_core.compact import expanded
from router_core.decision import Decision, Facts, Known, Rejection, Rule, ScoredCandidate
from router_core.deployment import Capability
from router_core.policy import Policy, Weights
from router_core.registry import Registry
from router_core.request import Hints, Mode, RoutingRequest, StreamRecovery
from router_core.router import ask
from router_core.settle import settle
from router_core.task import TaskProfile, TaskType


def to_record(request: RoutingRequest, decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON-ready data, the request it was made for included."""
    return {
        "request": request_record(request),
        "task": _values(decision.profile),
        "policy": decision.policy,
        "weights": _values(decision.weights),
        "mode": decision.mode,
        "order": decision.order,
        "chosen": decision.chosen,
        "fallbacks": list(decision.fallbacks),
        "legs": decision.legs,
        "judge": decision.judge,
        "confidence": decision.confidence,
        "propensity": decision.propensity,
        "explored": decision.explored,
        "last_resort": decision.last_resort,
        "rationale": decision.rationale,
        "expected_cost_usd": decision.attempts[0].expected_cost_usd if decision.attempts else 0.0,
        "candidates": [candidate_record(candidate) for candidate in decision.ranking],
        "rejections": [rejection_record(item) for item in decision.rejections],
        "attempts": [attempt._asdict() for attempt in decision.attempts],
        "at": decision.at,
        "draws": list(decision.draws),
        "policy_version": decision.policy_version,
        "registry_version": decision.registry_version,
        "snapshot_version": decision.snapshot_version,
    }


def candidate_record(candidate: ScoredCandidate) -> dict[str, Any]:
    """Return one candidate: its seven terms, adjustment, score, and the facts behind them."""
    return {
        "deployment": candidate.deployment,
        "score": candidate.score,
        "shown_score": candidate.shown_score,
        "terms": candidate.terms._asdict(),
        "adjustment": candidate.adjustment,
        "facts": facts_record(candidate.facts),
    }


def facts_record(facts: Facts) -> dict[str, Any]:
    """Return a candidate's facts; what is known of it stands under ``known``."""
    return {**facts._asdict(), "known": known_record(facts.known)}


def known_record(known: Known) -> dict[str, Any]:
    """Return what is known of a deployment as a mapping."""
    return _values(known)


def rejection_record(item: Rejection) -> dict[str, Any]:
    """Return one refusal: rule, sentence, when waiting helps, and the facts it was judged by where it had any."""
    plain: dict[str, Any] = {"deployment": item.deployment, "rule": item.rule, "detail": item.detail}
    if item.retry_after_s is not None:
        plain["retry_after_s"] = item.retry_after_s
    if item.facts is not None:
        plain["facts"] = facts_record(item.facts)
    return plain


def request_record(request: RoutingRequest) -> dict[str, Any]:
    """Return the request without its text and without its features."""
    plain = {name: getattr(request, name) for name in _REQUEST_FIELDS}
    plain["profile"] = _values(request.profile)
    plain["hints"] = _values(request.hints)
    for name in ("needs", "allowed_models", "allowed_tasks"):
        if plain[name] is not None:
            plain[name] = sorted(plain[name])
    return plain


def request_of(plain: Mapping[str, Any]) -> RoutingRequest:
    """Rebuild the request from ``request_record``."""
    values = dict(plain)
    profile = dict(values.pop("profile"))
    hints: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.pop("hints").items()
    }
    for name, kind in (("task", TaskType), ("mode", Mode), ("stream_recovery", StreamRecovery)):
        if hints.get(name) is not None:
            hints[name] = kind(hints[name])
    return RoutingRequest(
        TaskProfile(
            TaskType(profile["task"]),
            profile["confidence"],
            TaskType(profile["runner_up"]) if profile["runner_up"] else None,
            TaskType(profile["secondary"]) if profile["secondary"] else None,
            tuple(profile["evidence"]),
        ),
        Hints(**hints),
        needs=frozenset(Capability(need) for need in values.pop("needs")),
        allowed_models=_frozen(values.pop("allowed_models")),
        allowed_tasks=_frozen(values.pop("allowed_tasks")),
        recent_providers=tuple(values.pop("recent_providers")),
        **values,
    )


def recompute(record: Mapping[str, Any], registry: Registry, policy: Policy) -> Decision:
    """Decide again from a record in either form, under the registry and policy it names (or others, to compare)."""
    record = expanded(record)
    request = request_of(record["request"])
    first, second = record["draws"]
    question = ask(request, registry, policy, record["at"], (first, second), record["snapshot_version"])
    judged = [item for item in (*record["candidates"], *record["rejections"]) if "facts" in item]
    # By name: one that was refused and yet tried as a last resort stands in both lists.
    facts = {item["deployment"]: _facts_of(item["facts"]) for item in judged}
    refused = [
        Rejection(item["deployment"], Rule(item["rule"]), item["detail"])
        for item in record["rejections"]
        if "facts" not in item
    ]
    # In the registry's order, as ``decide`` gathered them: ties and refusals then come out alike.
    known = [facts[name] for name in question.pool if name in facts]
    return settle(question, known, refused)


def _facts_of(plain: Mapping[str, Any]) -> Facts:
    return Facts(**{**plain, "known": Known(**plain["known"])})


def _frozen(value: list[str] | None) -> frozenset[str] | None:
    return None if value is None else frozenset(value)


def _values(value: TaskProfile | Hints | Known | Weights) -> dict[str, Any]:
    """Return a flat dataclass as a mapping; its enums are strings already."""
    return {name: getattr(value, name) for name in _FIELDS[type(value)]}


_FIELDS: Final = {kind: tuple(spec.name for spec in fields(kind)) for kind in (TaskProfile, Hints, Known, Weights)}
_REQUEST_FIELDS: Final = tuple(spec.name for spec in fields(RoutingRequest) if spec.name != "features")
