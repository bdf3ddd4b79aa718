"""From sums to the rows people and programs read: rates, percentiles, intervals, money. Pure.

Times in milliseconds, money in USD, shares in [0, 1]; None where nothing was observed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.observe.aggregates import Fields, add_into
from gateway.observe.fold import NOT_THE_PROVIDERS
from router_core.latency import quantile

Row = dict[str, Any]

_Z: Final = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""


def wilson(successes: float, n: float) -> tuple[float, float] | None:
    """Return the 95 % interval of a share (Wilson, 1927), None without observations.

    ``successes`` may be a sum of values in [0, 1]: such a mean varies at most as much as a coin's, so the interval is
    then on the safe side. Both numbers may be fractional.
    """
    if n <= 0.0:
        return None
    share = min(1.0, max(0.0, successes / n))
    spread = _Z * _Z / n
    centre = (share + spread / 2.0) / (1.0 + spread)
    half = _Z * math.sqrt(share * (1.0 - share) / n + spread / (4.0 * n)) / (1.0 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def bins(fields: Mapping[str, float], letter: str) -> dict[int, float]:
    """Return the sketch kept under one letter."""
    return {int(name[1:]): value for name, value in fields.items() if name[0] == letter and name[1:].isdigit()}


def times(fields: Mapping[str, float], letter: str, total: str, count: str) -> Row:
    """Return average and percentiles in milliseconds of one sketch."""
    n = fields.get(count, 0.0)
    sketch = bins(fields, letter)
    return {
        "n": round(n),
        "avg": _ms(fields.get(total, 0.0) / n) if n > 0.0 else None,
        "p50": _ms(quantile(sketch, 0.50)),
        "p95": _ms(quantile(sketch, 0.95)),
        "p99": _ms(quantile(sketch, 0.99)),
    }


def failures(fields: Mapping[str, float]) -> dict[str, int]:
    """Return failures by kind, most frequent first, cancellations left out."""
    found = {name[2:]: round(value) for name, value in fields.items() if name.startswith("f:") and value > 0.0}
    found.pop("cancelled", None)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def tokens(fields: Mapping[str, float]) -> dict[str, int]:
    """Return tokens by kind."""
    names = {"input": "in", "cached_input": "cin", "cache_write": "cw", "output": "out", "reasoning": "rea"}
    return {shown: round(fields.get(name, 0.0)) for shown, name in names.items()}


def counted(fields: Mapping[str, float]) -> float:
    """Return the calls that say something about the provider: all but cancelled ones and the client's own faults."""
    return fields.get("n", 0.0) - sum(fields.get(f"f:{kind}", 0.0) for kind in NOT_THE_PROVIDERS)


def calls(fields: Mapping[str, float], *, requests: str = "req") -> Row:
    """Return the whole row of a deployment, provider or task from its attempts' sums.

    ``success_rate`` is over calls that say something about the provider (see ``counted``); ``cost_usd.per_request``
    over client requests that called it, ``per_success`` over requests it answered.
    """
    good = fields.get("ok", 0.0)
    judged = counted(fields)
    cost = fields.get("cost", 0.0)
    asked, won = fields.get(requests, 0.0), fields.get("won", 0.0)
    return {
        "requests": round(asked),
        "answered": round(won),
        "attempts": round(fields.get("n", 0.0)),
        "successes": round(good),
        "success_rate": good / judged if judged > 0.0 else None,
        "failures": failures(fields),
        "cancelled": round(fields.get("f:cancelled", 0.0)),
        "latency_ms": times(fields, "d", "dur", "ok"),
        "first_content_ms": times(fields, "t", "ts", "tn"),
        "tokens": tokens(fields),
        "estimated_usage": round(fields.get("est", 0.0)),
        "cost_usd": {
            "total": cost,
            "per_request": cost / asked if asked > 0.0 else None,
            "per_success": cost / won if won > 0.0 else None,
        },
        "tool_calls": round(fields.get("tools", 0.0)),
        "refusals": round(fields.get("refusal", 0.0)),
        "length_cuts": round(fields.get("cut", 0.0)),
        "roles": {name[5:]: round(value) for name, value in fields.items() if name.startswith("role:")},
        "quality": quality(fields),
        "win_rate": win_rate(fields),
    }


def quality(fields: Mapping[str, float]) -> Row:
    """Return the mean reward with its 95 % interval; ``n`` is the sum of the rewards' weights."""
    n = fields.get("q", 0.0)
    mean = fields.get("qv", 0.0)
    interval = wilson(mean, n)
    low, high = interval if interval is not None else (None, None)
    return {"mean": mean / n if n > 0.0 else None, "n": n, "low": low, "high": high}


def win_rate(fields: Mapping[str, float]) -> Row:
    """Return the share of head-to-head comparisons won, a draw counting half, with its 95 % interval."""
    wins, losses, draws = (fields.get(name, 0.0) for name in ("w", "l", "dr"))
    n = wins + losses + draws
    interval = wilson(wins + draws / 2.0, n)
    low, high = interval if interval is not None else (None, None)
    return {
        "rate": (wins + draws / 2.0) / n if n > 0.0 else None,
        "wins": round(wins),
        "losses": round(losses),
        "draws": round(draws),
        "low": low,
        "high": high,
    }


def requests(fields: Mapping[str, float]) -> Row:
    """Return what clients saw, from requests' sums."""
    n, good, cost = fields.get("n", 0.0), fields.get("ok", 0.0), fields.get("cost", 0.0)
    left = fields.get("s499", 0.0)
    return {
        "requests": round(n),
        "answered": round(good),
        "success_rate": good / (n - left) if n - left > 0.0 else None,
        "statuses": _statuses(fields),
        "latency_ms": times(fields, "d", "dur", "ok"),
        "overhead_ms": times(fields, "o", "ov", "ovn"),
        "upstream_calls": round(fields.get("calls", 0.0)),
        "fell_back": round(fields.get("fb", 0.0)),
        "cost_usd": {
            "total": cost,
            "per_request": cost / n if n > 0.0 else None,
            "per_success": cost / good if good > 0.0 else None,
        },
        "policies": {name[2:]: round(value) for name, value in fields.items() if name.startswith("p:")},
        "modes": {name[2:]: round(value) for name, value in fields.items() if name.startswith("m:")},
    }


def savings(fields: Mapping[str, float]) -> Row:
    """Return what was paid against "always the best model", over the requests where both are known."""
    base, paid = fields.get("base", 0.0), fields.get("based", 0.0)
    return {
        "baseline_usd": base,
        "paid_usd": paid,
        "saved_usd": base - paid,
        "saved_share": (base - paid) / base if base > 0.0 else None,
    }


def bill(fields: Mapping[str, float]) -> Row:
    """Return one line of a bill: a key's or a tag's."""
    n, cost = fields.get("n", 0.0), fields.get("cost", 0.0)
    return {
        "requests": round(n),
        "answered": round(fields.get("ok", 0.0)),
        "tokens": round(fields.get("tokens", 0.0)),
        "cost_usd": {"total": cost, "per_request": cost / n if n > 0.0 else None},
    }


def total(many: Iterable[Mapping[str, float]]) -> Fields:
    """Return all sums added up."""
    whole: Fields = {}
    for fields in many:
        add_into(whole, fields)
    return whole


def _statuses(fields: Mapping[str, float]) -> dict[str, int]:
    found = sorted((name[1:], value) for name, value in fields.items() if name[0] == "s" and name[1:].isdigit())
    return {f"{name}xx" if len(name) == 1 else name: round(value) for name, value in found}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000.0, 3)
