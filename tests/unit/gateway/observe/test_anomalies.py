from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gateway.clock import ManualClock
from gateway.observe.anomalies import MAX_DEPLOYMENTS, MAX_SERIES, NEW_NORMAL, Anomaly, Watch
from gateway.observe.observer import Observer
from router_core.task import TaskType
from tests.fakes.outcomes import attempt

Heard = list[tuple[str, str, str | None]]


class Traffic:
    """Calls of one deployment, with knobs for what may go wrong."""

    def __init__(self, threshold: float = 10_000.0) -> None:
        self.heard: Heard = []
        self.watch = Watch(self.hear, threshold=threshold)
        self.rng = Random(11)
        self.at = 0.0

    def hear(self, anomaly: Anomaly) -> None:
        self.heard.append((anomaly.deployment, str(anomaly.signal), anomaly.ended))

    def run(self, count: int, *, failing: float = 0.01, slower: float = 1.0, dearer: float = 1.0, **more: Any) -> int:
        """Make calls until something changes; return how many that took."""
        before = len(self.heard)
        refusing = more.get("refusing", 0.01)
        for number in range(count):
            self.at += 1.0
            failed = self.rng.random() < failing
            changes: dict[str, Any] = {
                "duration_s": self.rng.lognormvariate(0.0, 0.4) * slower,
                "cost_usd": self.rng.lognormvariate(-6.0, 0.4) * dearer,
                "refusal": self.rng.random() < refusing,
            }
            self.watch.attempt(attempt("acme/m1", self.at, failure="server" if failed else more.get("kind"), **changes))
            if len(self.heard) > before:
                return number + 1
        return count


@pytest.mark.parametrize(
    ("change", "signal"),
    [
        ({"slower": 3.0}, "latency"),
        ({"dearer": 3.0}, "cost"),
        ({"failing": 0.5}, "failures"),
        ({"refusing": 0.5}, "refusals"),
    ],
)
def test_a_departure_is_found_soon_and_its_end_too(change: dict[str, float], signal: str):
    traffic = Traffic()
    assert traffic.run(1000) == 1000
    assert traffic.run(200, **change) < 80
    assert traffic.heard == [("acme/m1", signal, None)]
    row = traffic.watch.active()[0]
    assert (row["state"], row["signal"]) == ("active", signal)
    assert row["share"] > row["usual"]
    traffic.run(60, **change)
    assert traffic.watch.active()[0]["share"] > row["share"]
    assert traffic.run(500) < 150
    assert traffic.heard[-1] == ("acme/m1", signal, "recovered")
    assert traffic.watch.active() == []
    assert [each["ended"] for each in traffic.watch.rows()] == ["recovered"]
    assert traffic.watch.rows(since=traffic.at + 1) == []


def test_a_change_that_stays_becomes_the_new_normal():
    traffic = Traffic()
    traffic.run(1000)
    traffic.run(200, slower=3.0)
    assert NEW_NORMAL <= traffic.run(NEW_NORMAL + 100, slower=3.0) < NEW_NORMAL + 100
    assert traffic.heard[-1] == ("acme/m1", "latency", "new_normal")
    assert traffic.run(3000, slower=3.0) == 3000


def test_a_baseline_stands_still_while_an_anomaly_lasts():
    traffic = Traffic()
    traffic.run(1000)
    traffic.run(200, failing=0.6)
    traffic.run(1500, failing=0.6)
    assert traffic.watch.active()[0]["usual"] < 0.05


def test_nothing_is_judged_before_there_is_a_baseline():
    traffic = Traffic()
    assert traffic.run(99, failing=1.0) == 99


@pytest.mark.parametrize("kind", ["cancelled", "invalid_request", "content_filter", "context_overflow"])
def test_what_is_not_the_providers_is_not_judged(kind: str):
    traffic = Traffic()
    traffic.run(500)
    assert traffic.run(500, kind=kind) == 500
    assert traffic.watch.active() == []


def test_another_kind_of_work_is_no_anomaly():
    watch = Watch()
    rng = Random(5)
    tasks = {TaskType.GENERAL: 0.5, TaskType.LONG_CONTEXT: 20.0}
    for number in range(4000):
        often = 0.05 if number < 2000 else 0.95
        task = TaskType.LONG_CONTEXT if rng.random() < often else TaskType.GENERAL
        watch.attempt(attempt(at=float(number), task=task, duration_s=tasks[task] * rng.lognormvariate(0.0, 0.3)))
    assert watch.active() == []


def test_series_are_bounded():
    watch = Watch()
    for number in range(MAX_SERIES + 50):
        watch.attempt(attempt(f"acme/m{number}"))
    assert len(watch._deployments) == MAX_DEPLOYMENTS
    assert len(watch._tasks) == MAX_SERIES


def test_the_observer_reports_anomalies_and_alerts():
    alerts: list[tuple[str, Any]] = []
    clock = ManualClock()
    observer = Observer(now=clock.time, alert=lambda kind, row: alerts.append((kind, row["signal"])))
    for number in range(400):
        observer.attempt(attempt(at=clock.time(), failure="server" if number > 300 else None))
    assert alerts == []  # calls are booked with their request, or with the next exchange
    observer.collect()
    assert alerts == [("anomaly", "failures")]
    rows = observer.report("anomalies")["data"]
    assert [row["signal"] for row in rows] == ["failures"]
    assert "of the last calls failed" in rows[0]["text"]
    assert observer.report("anomalies", scope="k1")["data"] == []
    assert observer.report("anomalies", provider="beta")["data"] == []
    assert observer.report("anomalies", task="planning")["data"] == []
