"""A decision's record as it is stored, and the whole record from that.

The whole record (``record.to_record``) repeats forty-five names for every candidate. Stored, candidates and refusals
are columns: each name stands once beside the values of all of them, so that a document can be read whatever fields the
version that wrote it had. Left out is what follows from the rest: the request's profile where it is the decision's,
hints that have their defaults, the clamped score, names and providers a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

from router_core.decision import Attempt, Decision, Facts, Known, Rejection, ScoredCandidate, Terms
from router_core.policy import Weights
from router_core.request import Hints, RoutingRequest
from router_core.task import TaskProfile

KnownRows = Callable[[Sequence[Known]], Sequence[Any]]


def _names(kind: type[Hints | Known | Weights]) -> tuple[str, ...]:
    return tuple(spec.name for spec in fields(kind))


_KNOWN: Final = _names(Known)[2:]
"""What stands in the row of a deployment: all but its name and its provider."""
known_row: Final[Callable[[Known], tuple[Any, ...]]] = attrgetter(*_KNOWN)
_HINTS: Final = _names(Hints)
_hints: Final[Callable[[Hints], tuple[Any, ...]]] = attrgetter(*_HINTS)
_WEIGHTS: Final = _names(Weights)
_weights: Final[Callable[[Weights], tuple[Any, ...]]] = attrgetter(*_WEIGHTS)
_NO_HINTS: Final = Hints()
_PLAIN_HINTS: Final = _hints(_NO_HINTS)


def known_rows(known: Sequence[Known]) -> Sequence[Any]:
    """Return what is known of deployments as rows."""
    return [known_row(each) for each in known]


def compact(request: RoutingRequest, decision: Decision, rows: KnownRows = known_rows) -> dict[str, Any]:
    """Return a decision as JSON-ready data of a third of the size; ``expanded`` makes the whole record of it.

    ``rows`` may write what is known of deployments its own way (it is the same for many decisions in a row).
    """
    profile, attempts = decision.profile, _columns(Attempt._fields, decision.attempts)
    return {
        "request": _request(request, profile),
        "task": _profile(profile),
        "policy": decision.policy,
        "weights": dict(zip(_WEIGHTS, _weights(decision.weights), strict=True)),
        "mode": decision.mode,
        "order": decision.order,
        "chosen": decision.chosen,
        "fallbacks": attempts["deployment"][1:] if attempts else (),
        "legs": decision.legs,
        "judge": decision.judge,
        "confidence": decision.confidence,
        "propensity": decision.propensity,
        "explored": decision.explored,
        "last_resort": decision.last_resort,
        "rationale": decision.rationale,
        "expected_cost_usd": attempts["expected_cost_usd"][0] if attempts else 0.0,
        "candidates": _candidates(decision.ranking, rows),
        "rejections": _rejections(decision.rejections, rows),
        "attempts": attempts,
        "at": decision.at,
        "draws": decision.draws,
        "policy_version": decision.policy_version,
        "registry_version": decision.registry_version,
        "snapshot_version": decision.snapshot_version,
    }


def _columns(names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Return rows as columns by name; none for no rows."""
    return dict(zip(names, zip(*rows, strict=True), strict=False))


def _request(request: RoutingRequest, profile: TaskProfile) -> dict[str, Any]:
    models, tasks = request.allowed_models, request.allowed_tasks
    plain = {
        "hints": {} if request.hints == _NO_HINTS else _given(request.hints),
        "model": request.model,
        "input_tokens": request.input_tokens,
        "max_output_tokens": request.max_output_tokens,
        "needs": sorted(request.needs),
        "stream": request.stream,
        "n": request.n,
        "allowed_models": None if models is None else sorted(models),
        "allowed_tasks": None if tasks is None else sorted(tasks),
        "recent_providers": request.recent_providers,
        "warm_tokens": request.warm_tokens,
        "warm_deployment": request.warm_deployment,
        "cost_factors": request.cost_factors,
    }
    if request.profile is not profile:
        plain["profile"] = _profile(request.profile)
    return plain


def _profile(profile: TaskProfile) -> dict[str, Any]:
    return {
        "task": profile.task,
        "confidence": profile.confidence,
        "runner_up": profile.runner_up,
        "secondary": profile.secondary,
        "evidence": profile.evidence,
    }


def _given(hints: Hints) -> dict[str, Any]:
    given = zip(_HINTS, _hints(hints), _PLAIN_HINTS, strict=True)
    return {name: value for name, value, usual in given if value != usual}


def _candidates(ranking: Sequence[ScoredCandidate], rows: KnownRows) -> dict[str, Any]:
    if not ranking:
        return {}
    deployments, terms, adjustments, scores, facts = zip(*ranking, strict=True)
    return {
        "deployment": deployments,
        "score": scores,
        "terms": _columns(Terms._fields, terms),
        "adjustment": adjustments,
        "facts": _facts(facts, rows),
    }


def _facts(facts: Sequence[Facts], rows: KnownRows) -> dict[str, Any]:
    columns = _columns(Facts._fields, facts)
    del columns["deployment"]  # stands beside the facts
    columns["known"] = {"fields": _KNOWN, "rows": rows(columns["known"])}
    return columns


def _rejections(rejections: Sequence[Rejection], rows: KnownRows) -> dict[str, Any]:
    """Return refusals as columns; ``judged`` are the positions of those that were judged by facts."""
    columns = _columns(Rejection._fields, rejections)
    facts = columns.pop("facts", ())
    judged = [at for at, each in enumerate(facts) if each is not None]
    if judged:
        columns["judged"] = judged
        columns["facts"] = _facts([facts[at] for at in judged], rows)
    return columns


def expanded(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole record from its stored form, after JSON or before; what is whole already comes back as it is.

    Raises KeyError, TypeError or ValueError for a document that is neither.
    """
    candidates = document.get("candidates")
    if not isinstance(candidates, dict):
        return dict(document)
    request = dict(document["request"])
    profile, hints = request.pop("profile", document["task"]), request.pop("hints")
    return {
        **document,
        "request": {"profile": profile, "hints": {**dict(zip(_HINTS, _PLAIN_HINTS, strict=True)), **hints}, **request},
        "candidates": _all_candidates(candidates) if candidates else [],
        "rejections": _all_rejections(document["rejections"]),
        "attempts": _rows(document["attempts"]),
    }


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _all_candidates(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    names, scores = columns["deployment"], columns["score"]
    return _rows(
        {
            "deployment": names,
            "score": scores,
            "shown_score": [min(100.0, max(0.0, score)) for score in scores],
            **columns,
            "terms": _rows(columns["terms"]),
            "facts": _all_facts(columns["facts"], names),
        }
    )


def _all_facts(columns: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    known, providers = columns["known"], columns["provider"]
    whole = [
        {"deployment": name, "provider": provider, **dict(zip(known["fields"], row, strict=True))}
        for name, provider, row in zip(names, providers, known["rows"], strict=True)
    ]
    return _rows({"deployment": names, **columns, "known": whole})


def _all_rejections(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    plain = {name: column for name, column in columns.items() if name not in {"judged", "facts"}}
    rejections = _rows(plain)
    for each in rejections:
        if each["retry_after_s"] is None:
            del each["retry_after_s"]
    judged = [rejections[at] for at in columns.get("judged", ())]
    if judged:
        names = [each["deployment"] for each in judged]
        for each, facts in zip(judged, _all_facts(columns["facts"], names), strict=True):
            each["facts"] = facts
    return rejections
