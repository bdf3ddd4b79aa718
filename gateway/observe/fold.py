"""From one outcome to the increments it adds: the field names of every series, in one place.

Attempts (kind ``a``; scope, provider, deployment, task):
``n`` calls, ``ok``, ``f:KIND`` failures, ``role:ROLE``; of good answers ``dur`` seconds and ``dBIN``; of good streams
``tn``, ``ts`` seconds to first content and ``tBIN``; ``in cin cw out rea`` tokens, ``est`` answers of estimated usage,
``cost`` USD, ``tools`` calls of tools, ``refusal``, ``cut`` by length; ``req`` requests that called it, ``preq`` the
same counted once per provider, ``won`` requests it answered; ``q qv`` rewards: weight and weighted value;
``w l dr`` head-to-head wins, losses, draws.

Requests (kind ``r``; scope, task): ``n``, ``ok``, ``sCLASS``, ``dur`` and ``dBIN`` of good ones, ``ovn``, ``ov`` and
``oBIN`` seconds spent in the gateway, ``cost``, ``calls``, ``fb`` requests that fell back, ``base`` and ``based`` (see
``baseline``), ``p:POLICY``, ``m:MODE``.

Bills (kind ``k``; scope, key id, and ``g``; scope, tag): ``n ok cost tokens``.
Pairs (kind ``v``; scope, winner, loser): ``n`` wins, ``dr`` draws.
Calibration (kind ``c``; scope, tenth of expected quality): ``n`` weight, ``x`` expected, ``v`` rewarded, both weighted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any, Final

from router_core.latency import BINS, bin_of
from router_core.outcome import AttemptOutcome, AttemptRole, FailureKind, RequestOutcome

ATTEMPTS: Final = "a"
REQUESTS: Final = "r"
KEYS: Final = "k"
TAGS: Final = "g"
PAIRS: Final = "v"
CALIBRATION: Final = "c"

NOT_THE_PROVIDERS: Final = frozenset(
    {
        FailureKind.CANCELLED,
        FailureKind.INVALID_REQUEST,
        FailureKind.CONTEXT_OVERFLOW,
        FailureKind.CONTENT_FILTER,
    }
)
"""Kinds that say nothing about a provider: the client left, or its own request was at fault."""

_BEST: Final = itemgetter("quality", "expected_cost_usd")
_DURATION: Final = tuple(f"d{index}" for index in range(BINS))
_FIRST: Final = tuple(f"t{index}" for index in range(BINS))
_OVERHEAD: Final = tuple(f"o{index}" for index in range(BINS))


def of_attempt(outcome: AttemptOutcome) -> dict[str, float]:
    """Return what one call adds to the series of its deployment and task."""
    usage = outcome.usage
    fields: dict[str, float] = {"n": 1.0}
    if outcome.role is not AttemptRole.PRIMARY:
        fields[f"role:{outcome.role}"] = 1.0
    if outcome.cost_usd:
        fields["cost"] = outcome.cost_usd
    if usage.total:
        fields["in"] = float(usage.input)
        fields["out"] = float(usage.output)
        for name, count in (("cin", usage.cached_input), ("cw", usage.cache_write), ("rea", usage.reasoning)):
            if count:
                fields[name] = float(count)
    if outcome.failure is not None:
        fields[f"f:{outcome.failure.kind}"] = 1.0
        return fields
    fields["ok"] = 1.0
    fields["dur"] = outcome.duration_s
    fields[_DURATION[bin_of(outcome.duration_s)]] = 1.0
    if outcome.stream and outcome.time_to_first_content_s is not None:
        fields["tn"] = 1.0
        fields["ts"] = outcome.time_to_first_content_s
        fields[_FIRST[bin_of(outcome.time_to_first_content_s)]] = 1.0
    if usage.estimated:
        fields["est"] = 1.0
    if outcome.tool_calls:
        fields["tools"] = float(outcome.tool_calls)
    if outcome.refusal:
        fields["refusal"] = 1.0
    if outcome.finish_reason == "length":
        fields["cut"] = 1.0
    return fields


def of_request(outcome: RequestOutcome, baseline_usd: float | None) -> dict[str, float]:
    """Return what one client request adds to the series of its task."""
    fields = {
        "n": 1.0,
        f"s{status_class(outcome.status)}": 1.0,
        "calls": float(len(outcome.attempts)),
        "cost": outcome.cost_usd,
        f"p:{outcome.policy}": 1.0,
        f"m:{outcome.mode}": 1.0,
        "ovn": 1.0,
        "ov": outcome.overhead_s,
        _OVERHEAD[bin_of(outcome.overhead_s)]: 1.0,
    }
    if outcome.ok:
        fields["ok"] = 1.0
        fields["dur"] = outcome.duration_s
        fields[_DURATION[bin_of(outcome.duration_s)]] = 1.0
    if any(attempt.role is AttemptRole.FALLBACK for attempt in outcome.attempts):
        fields["fb"] = 1.0
    if baseline_usd is not None:
        fields["base"] = baseline_usd
        fields["based"] = outcome.cost_usd
    return fields


def of_bill(outcome: RequestOutcome) -> dict[str, float]:
    """Return what one client request adds to the bill of its key and of each of its tags."""
    tokens = sum(attempt.usage.total for attempt in outcome.attempts)
    return {"n": 1.0, "ok": float(outcome.ok), "cost": outcome.cost_usd, "tokens": float(tokens)}


def callers(attempts: Iterable[AttemptOutcome], served_by: str | None) -> dict[str, dict[str, float]]:
    """Return per deployment what one client request adds: that it was called, first of its provider, or answered."""
    found: dict[str, dict[str, float]] = {}
    providers: set[str] = set()
    for attempt in attempts:
        if attempt.deployment in found:
            continue
        fields = {"req": 1.0}
        if attempt.provider not in providers:
            providers.add(attempt.provider)
            fields["preq"] = 1.0
        if attempt.deployment == served_by:
            fields["won"] = 1.0
        found[attempt.deployment] = fields
    return found


def baseline(candidates: Iterable[Mapping[str, Any]], outcome: RequestOutcome) -> float | None:
    """Estimate what this request had cost at "always the best model", in USD; None when that cannot be said.

    The best model is the eligible candidate of the highest expected quality (the dearer one of equals). Its expected
    cost is scaled by how much more or less than expected the answering deployment really cost, since that mostly tells
    how long the answer became; the factor is kept within 0.1 and 10.
    """
    facts = [candidate["facts"] for candidate in candidates]
    if not outcome.ok or not facts:
        return None
    best = max(facts, key=_BEST)
    if best["deployment"] == outcome.served_by:
        return outcome.cost_usd
    expected: float = best["expected_cost_usd"]
    planned = next((fact["expected_cost_usd"] for fact in facts if fact["deployment"] == outcome.served_by), 0.0)
    if planned <= 0.0:
        return expected
    actual = sum(attempt.cost_usd for attempt in outcome.attempts if attempt.deployment == outcome.served_by)
    return expected * min(10.0, max(0.1, actual / planned))


def status_class(status: int) -> str:
    """Return ``2`` to ``5`` for a status, ``499`` for a client that left."""
    return "499" if status == 499 else str(status // 100)
