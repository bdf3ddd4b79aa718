"""The questions the API, the dashboard and the CLI ask of the sums. Each answer is rows of plain JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from gateway.observe import fold, views
from gateway.observe.aggregates import Aggregates, Fields, Series, add_into
from gateway.observe.buckets import Window, steps
from gateway.observe.views import Row

_KEPT_S: Final = 1.0
_KEPT: Final = 256


class Query(NamedTuple):
    """What to read: a window, everybody's traffic or that of one key (``scope``), one task, one provider."""

    window: Window = Window.HOUR
    scope: str = ""
    task: str | None = None
    provider: str | None = None


class Stats:
    """Reads ``Aggregates``.

    Answers are kept for a second: a dashboard that asks in a loop costs one computation per second.
    """

    def __init__(self, aggregates: Aggregates, now: Callable[[], float]) -> None:
        """Read these sums; ``now`` gives wall-clock seconds."""
        self._sums = aggregates
        self._now = now
        self._answers: dict[tuple[str, Query], tuple[float, list[Row]]] = {}

    def providers(self, query: Query) -> list[Row]:
        """Return one row per provider: the sum over its deployments, by calls."""

        def build() -> list[Row]:
            groups = self._grouped(query, lambda labels: labels[2])
            return [{"provider": name, **views.calls(sums, requests="preq")} for name, sums in groups]

        return self._once("providers", query, build)

    def deployments(self, query: Query) -> list[Row]:
        """Return one row per deployment."""

        def build() -> list[Row]:
            groups = self._grouped(query, lambda labels: (labels[3], labels[2]))
            return [{"deployment": name, "provider": owner, **views.calls(sums)} for (name, owner), sums in groups]

        return self._once("deployments", query, build)

    def tasks(self, query: Query) -> list[Row]:
        """Return one row per task: what clients saw, and which deployments answered.

        With ``provider`` the answers are that provider's, while the clients' side stays the whole task's.
        """

        def build() -> list[Row]:
            asked = self._select(fold.REQUESTS, query)
            called: dict[str, Series] = defaultdict(dict)
            for labels, sums in self._select(fold.ATTEMPTS, query).items():
                if query.provider is None or labels[2] == query.provider:
                    called[labels[4]][labels] = sums
            rows = []
            for labels, sums in sorted(asked.items(), key=lambda item: (-item[1].get("n", 0.0), item[0])):
                if query.task is not None and labels[2] != query.task:
                    continue
                calls = called.get(labels[2], {})
                whole = views.total(calls.values())
                won = {each[3]: round(held.get("won", 0.0)) for each, held in calls.items() if held.get("won")}
                rows.append(
                    {
                        "task": labels[2],
                        **views.requests(sums),
                        "tokens": views.tokens(whole),
                        "failures": views.failures(whole),
                        "quality": views.quality(whole),
                        "answered_by": dict(sorted(won.items(), key=lambda item: -item[1])),
                    }
                )
            return rows

        return self._once("tasks", query, build)

    def costs(self, query: Query) -> list[Row]:
        """Return money by provider, deployment, task, provider and task, key and tag (the last two without filter)."""

        def build() -> list[Row]:
            calls = self._filtered(query)
            rows = [_spent("total", "", views.total(calls.values()))]
            for group, name in _COST_GROUPS:
                sums = _group(calls, name)
                rows.extend(_spent(group, label, fields) for label, fields in _by_cost(sums))
            if query.task is None and query.provider is None:
                for group, kind in (("key", fold.KEYS), ("tag", fold.TAGS)):
                    named = {labels[2]: fields for labels, fields in self._select(kind, query).items()}
                    rows.extend({"group": group, "name": name, **views.bill(sums)} for name, sums in _by_cost(named))
            return rows

        return self._once("costs", query, build)

    def savings(self, query: Query) -> Row:
        """Return what was paid against "always the best model"."""

        def build() -> list[Row]:
            return [views.savings(views.total(self._select(fold.REQUESTS, query).values()))]

        return self._once("savings", query, build)[0]

    def summary(self, query: Query) -> Row:
        """Return what clients saw over all tasks, with savings."""

        def build() -> list[Row]:
            whole = views.total(self._select(fold.REQUESTS, query).values())
            return [{**views.requests(whole), "savings": views.savings(whole)}]

        return self._once("summary", query, build)[0]

    def win_rates(self, query: Query) -> list[Row]:
        """Return head-to-head results per deployment over all tasks (``task`` ``*``) and per task."""

        def build() -> list[Row]:
            rows = []
            calls = self._filtered(query)
            for labels, sums in _by_name(_group(calls, lambda labels: (labels[3], labels[2], "*"))):
                rows.append(_played(labels, sums))
            for labels, sums in _by_name(_group(calls, lambda labels: (labels[3], labels[2], labels[4]))):
                rows.append(_played(labels, sums))
            return [row for row in rows if row["rate"] is not None]

        return self._once("win_rates", query, build)

    def pairs(self, query: Query) -> list[Row]:
        """Return who beat whom how often."""

        def build() -> list[Row]:
            found = self._select(fold.PAIRS, query)
            return [
                {
                    "winner": labels[2],
                    "loser": labels[3],
                    "wins": round(sums.get("n", 0.0)),
                    "draws": round(sums.get("dr", 0.0)),
                }
                for labels, sums in sorted(found.items())
            ]

        return self._once("pairs", query, build)

    def calibration(self, query: Query) -> list[Row]:
        """Return what was expected of answers against what they were worth, by tenths of expected quality."""

        def build() -> list[Row]:
            rows = []
            for labels, sums in sorted(self._select(fold.CALIBRATION, query).items()):
                n, worth = sums.get("n", 0.0), sums.get("v", 0.0)
                low, high = views.wilson(worth, n) or (None, None)
                if n > 0.0:
                    expected = sums.get("x", 0.0) / n
                    rows.append(
                        {
                            "tenth": int(labels[2]),
                            "n": n,
                            "expected": expected,
                            "mean": worth / n,
                            "low": low,
                            "high": high,
                        }
                    )
            return rows

        return self._once("calibration", query, build)

    def timeline(self, query: Query) -> list[Row]:
        """Return calls, success, latency and cost per provider and step, oldest first; ``all`` reads the month.

        A step is three minutes of the hour, an hour of the day, a day of longer windows; ``at`` is its beginning.
        """

        def build() -> list[Row]:
            rows = []
            chosen = Window.MONTH if query.window is Window.ALL else query.window
            for at, buckets in steps(chosen.buckets(self._now(), coarse=bool(query.scope))).items():
                calls = _filter(self._sums.select(fold.ATTEMPTS, buckets, query.scope), query)
                for name, sums in _by_name(_group(calls, lambda labels: labels[2])):
                    judged = views.counted(sums)
                    latency = views.times(sums, "d", "dur", "ok")
                    rows.append(
                        {
                            "at": at,
                            "provider": name,
                            "attempts": round(sums.get("n", 0.0)),
                            "success_rate": sums.get("ok", 0.0) / judged if judged > 0.0 else None,
                            "p50_ms": latency["p50"],
                            "p95_ms": latency["p95"],
                            "cost_usd": sums.get("cost", 0.0),
                        }
                    )
            return rows

        return self._once("timeline", query, build)

    def covers(self, query: Query) -> tuple[float | None, float]:
        """Return the wall-clock seconds a window begins and ends at."""
        now = self._now()
        return query.window.begins(now, coarse=bool(query.scope)), now

    def _select(self, kind: str, query: Query) -> Series:
        buckets = query.window.buckets(self._now(), coarse=bool(query.scope))
        return self._sums.select(kind, buckets, query.scope)

    def _filtered(self, query: Query) -> Series:
        return _filter(self._select(fold.ATTEMPTS, query), query)

    def _grouped(self, query: Query, name: Callable[[Any], Any]) -> list[tuple[Any, Fields]]:
        return _by_name(_group(self._filtered(query), name))

    def _once(self, name: str, query: Query, build: Callable[[], list[Row]]) -> list[Row]:
        key = (name, query)
        now = self._now()
        held = self._answers.get(key)
        if held is not None and 0.0 <= now - held[0] < _KEPT_S:
            return held[1]
        if len(self._answers) >= _KEPT:
            self._answers.clear()
        answer = build()
        self._answers[key] = (now, answer)
        return answer


_COST_GROUPS: Final[tuple[tuple[str, Callable[[Any], Any]], ...]] = (
    ("provider", lambda labels: labels[2]),
    ("deployment", lambda labels: labels[3]),
    ("task", lambda labels: labels[4]),
    ("provider_task", lambda labels: f"{labels[2]} {labels[4]}"),
)


def _filter(series: Series, query: Query) -> Series:
    return {
        labels: sums
        for labels, sums in series.items()
        if query.task in {None, labels[4]} and query.provider in {None, labels[2]}
    }


def _group(series: Series, name: Callable[[Any], Any]) -> dict[Any, Fields]:
    groups: dict[Any, Fields] = {}
    for labels, sums in series.items():
        add_into(groups.setdefault(name(labels), {}), sums)
    return groups


def _by_name(groups: dict[Any, Fields]) -> list[tuple[Any, Fields]]:
    return sorted(groups.items())


def _by_cost(groups: dict[str, Fields]) -> list[tuple[str, Fields]]:
    return sorted(groups.items(), key=lambda item: (-item[1].get("cost", 0.0), item[0]))


def _spent(group: str, name: str, sums: Fields) -> Row:
    won, cost = sums.get("won", 0.0), sums.get("cost", 0.0)
    requests = sums.get("preq", 0.0) if group in {"provider", "provider_task"} else sums.get("req", 0.0)
    counts = {"requests": round(requests), "answered": round(won), "tokens": sum(views.tokens(sums).values())}
    money = {
        "total": cost,
        "per_request": cost / requests if requests > 0.0 else None,
        "per_success": cost / won if won > 0.0 else None,
    }
    return {"group": group, "name": name, **counts, "cost_usd": money}


def _played(labels: tuple[str, str, str], sums: Fields) -> Row:
    return {"deployment": labels[0], "provider": labels[1], "task": labels[2], **views.win_rate(sums)}
