"""From one outcome to what it adds: the field names of every series, in one place.

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

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from gateway.observe.aggregates import Booking
from router_core.latency import BINS, bin_of
from router_core.outcome import AttemptOutcome, AttemptRole, FailureKind, RequestOutcome, Usage

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

_DURATION: Final = tuple(f"d{index}" for index in range(BINS))
_FIRST: Final = tuple(f"t{index}" for index in range(BINS))
_OVERHEAD: Final = tuple(f"o{index}" for index in range(BINS))


def of_attempt(outcome: AttemptOutcome, more: tuple[str, ...] = ()) -> Booking:
    """Return what one call adds to the series of its deployment and task; ``more`` is counted with it."""
    usage = outcome.usage
    counts = ["n", *more]
    sums: dict[str, float] = {}
    if outcome.role is not AttemptRole.PRIMARY:
        counts.append(f"role:{outcome.role}")
    if outcome.cost_usd:
        sums["cost"] = outcome.cost_usd
    if usage.total:
        _tokens(usage, sums)
    if outcome.failure is not None:
        counts.append(f"f:{outcome.failure.kind}")
        return Booking(tuple(counts), sums)
    counts += ("ok", _DURATION[bin_of(outcome.duration_s)])
    sums["dur"] = outcome.duration_s
    if outcome.stream and outcome.time_to_first_content_s is not None:
        counts += ("tn", _FIRST[bin_of(outcome.time_to_first_content_s)])
        sums["ts"] = outcome.time_to_first_content_s
    if usage.estimated:
        counts.append("est")
    if outcome.tool_calls:
        sums["tools"] = float(outcome.tool_calls)
    if outcome.refusal:
        counts.append("refusal")
    if outcome.finish_reason == "length":
        counts.append("cut")
    return Booking(tuple(counts), sums)


def _tokens(usage: Usage, sums: dict[str, float]) -> None:
    sums["in"] = float(usage.input)
    sums["out"] = float(usage.output)
    if usage.cached_input:
        sums["cin"] = float(usage.cached_input)
    if usage.cache_write:
        sums["cw"] = float(usage.cache_write)
    if usage.reasoning:
        sums["rea"] = float(usage.reasoning)


def of_request(outcome: RequestOutcome, baseline_usd: float | None) -> Booking:
    """Return what one client request adds to the series of its task."""
    counts = [*_always(outcome.status, outcome.policy, outcome.mode), _OVERHEAD[bin_of(outcome.overhead_s)]]
    sums = {"calls": float(len(outcome.attempts)), "cost": outcome.cost_usd, "ov": outcome.overhead_s}
    if outcome.ok:
        counts += ("ok", _DURATION[bin_of(outcome.duration_s)])
        sums["dur"] = outcome.duration_s
    if AttemptRole.FALLBACK in [attempt.role for attempt in outcome.attempts]:
        counts.append("fb")
    if baseline_usd is not None:
        sums["base"] = baseline_usd
        sums["based"] = outcome.cost_usd
    return Booking(tuple(counts), sums)


@lru_cache(1024)
def _always(status: int, policy: str, mode: str) -> tuple[str, ...]:
    """Return what every request counts: itself, and what it was like."""
    return "n", f"s{status_class(status)}", f"p:{policy}", f"m:{mode}", "ovn"


def of_bill(outcome: RequestOutcome) -> Booking:
    """Return what one client request adds to the bill of its key and of each of its tags."""
    tokens = sum([attempt.usage.total for attempt in outcome.attempts])
    return Booking(("n",), {"ok": float(outcome.ok), "cost": outcome.cost_usd, "tokens": float(tokens)})


def callers(attempts: Iterable[AttemptOutcome], served_by: str | None) -> dict[str, tuple[str, ...]]:
    """Return per deployment what one client request counts: that it was called, first of its provider, or answered."""
    found: dict[str, tuple[str, ...]] = {}
    providers: set[str] = set()
    for attempt in attempts:
        if attempt.deployment in found:
            continue
        counts: tuple[str, ...] = ("req",)
        if attempt.provider not in providers:
            providers.add(attempt.provider)
            counts += ("preq",)
        if attempt.deployment == served_by:
            counts += ("won",)
        found[attempt.deployment] = counts
    return found


def baseline(candidates: Mapping[str, Any] | None, outcome: RequestOutcome) -> float | None:
    """Estimate what this request had cost at "always the best model", in USD; None when that cannot be said.

    The best model is the eligible candidate of the highest expected quality (the dearer one of equals). Its expected
    cost is scaled by how much more or less than expected the answering deployment really cost, since that mostly tells
    how long the answer became; the factor is kept within 0.1 and 10. ``candidates`` are columns as in a stored record.
    """
    if not outcome.ok or not candidates:
        return None
    names: Sequence[str] = candidates["deployment"]
    costs: Sequence[float] = candidates["facts"]["expected_cost_usd"]
    qualities: Sequence[float] = candidates["facts"]["quality"]
    highest = max(qualities)
    expected, before = max([(costs[at], -at) for at, quality in enumerate(qualities) if quality == highest])
    if names[-before] == outcome.served_by:
        return outcome.cost_usd
    planned = costs[names.index(outcome.served_by)] if outcome.served_by in names else 0.0
    if planned <= 0.0:
        return expected
    actual = sum(attempt.cost_usd for attempt in outcome.attempts if attempt.deployment == outcome.served_by)
    return expected * min(10.0, max(0.1, actual / planned))


def status_class(status: int) -> str:
    """Return ``2`` to ``5`` for a status, ``499`` for a client that left."""
    return "499" if status == 499 else str(status // 100)
