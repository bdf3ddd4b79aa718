"""The one sink of the gateway: what happened goes in here, and every reader's numbers come out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

import orjson

from gateway.clock import SYSTEM
from gateway.http.live import Live
from gateway.observe import fold
from gateway.observe.aggregates import Aggregates, Booking
from gateway.observe.anomalies import Anomaly, Watch
from gateway.observe.buckets import Window
from gateway.observe.exposition import SumsCollector, render
from gateway.observe.feed import Event, Feed
from gateway.observe.stats import Query, Stats
from gateway.observe.summary import of_stored, summarise
from gateway.observe.views import Row
from router_core.compact import expanded
from router_core.outcome import AttemptOutcome, RequestOutcome, Reward
from router_core.task import TaskType

T = TypeVar("T")
_PRUNE_EVERY_S: Final = 60.0
_NOTHING: Final[dict[str, float]] = {}

REPORTS: Final = ("providers", "deployments", "tasks", "costs", "win-rates", "anomalies", "timeline")


class Listener(Protocol):
    """Something else that hears of every outcome: the log, traces, the detectors. Must not block or raise."""

    def attempt(self, outcome: AttemptOutcome) -> None:
        """Hear of one finished call."""
        ...

    def request(self, outcome: RequestOutcome, record: Mapping[str, Any]) -> None:
        """Hear of one finished request."""
        ...


class Observer:
    """Books outcomes, keeps the last decisions, and tells listeners. One per worker.

    ``boot`` names this start of the gateway, the same in all of its workers and in nobody else: ``SECONDS.NAME``.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = SYSTEM.time,
        boot: str = "",
        listeners: Iterable[Listener] = (),
        kept_decisions: int = 200,
        alert: Callable[[str, Mapping[str, Any]], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        """Begin empty. ``now`` gives wall-clock seconds, better such that never jump.

        ``alert`` hears of anomalies (``Webhook.tell``), ``on_error`` of listeners that raised.
        """
        self._now = now
        self.sums = Aggregates(boot or f"{int(now())}.{secrets.token_hex(4)}")
        self.stats = Stats(self.sums, now)
        self.feed: Feed[tuple[RequestOutcome, bytes]] = Feed(kept_decisions)
        self.listener_errors = 0
        self.watch = Watch(self._anomaly)
        self.on_anomaly: Callable[[Anomaly], None] | None = None
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stats")
        self._listeners = (self.watch, *listeners)
        self._alert = alert
        self._on_error = on_error
        self._providers: dict[str, str] = {}
        self._pruned_at = now()
        self._attempts: dict[int, AttemptOutcome] = {}

    def attempt(self, outcome: AttemptOutcome) -> None:
        """Take one finished call. It is booked with its request, or before anything of the observer is read."""
        self._attempts[id(outcome)] = outcome

    def _book_attempts(self) -> None:
        """Book the calls whose request has not ended yet, for everybody."""
        attempts, self._attempts = self._attempts, {}
        for outcome in attempts.values():
            self.sums.add(_labels(outcome, ""), outcome.at, fold.of_attempt(outcome))
            self._tell_of(outcome)

    def _book_with_request(self, attempt: AttemptOutcome, key_id: str, counts: tuple[str, ...]) -> None:
        """Book a call for its request's key, for everybody too unless that was done; ``counts`` are the request's."""
        labels = _labels(attempt, key_id)
        if self._attempts.pop(id(attempt), None) is not None:
            self.sums.add(labels, attempt.at, fold.of_attempt(attempt, counts), everybody=True)
            self._tell_of(attempt)
            return
        if key_id:
            self.sums.add(labels, attempt.at, fold.of_attempt(attempt))
        if counts:
            self.sums.add(labels, attempt.at, Booking(counts, _NOTHING), everybody=True)

    def _tell_of(self, outcome: AttemptOutcome) -> None:
        self._providers[outcome.deployment] = outcome.provider
        for listener in self._listeners:
            self._guard(listener.attempt, outcome)

    def request(self, outcome: RequestOutcome, record: Mapping[str, Any], data: bytes | None = None) -> None:
        """Book one finished request: for everybody, for its key and for its tags; keep its record; tell watchers.

        The record, in its stored form, is kept as JSON (``data``, made here when not given): one thing to hold and to
        let go, not hundreds.
        """
        at, key_id = outcome.at, outcome.key_id
        booking = fold.of_request(outcome, fold.baseline(record.get("candidates"), outcome))
        bill = fold.of_bill(outcome)
        self.sums.add((fold.REQUESTS, key_id, str(outcome.task)), at, booking, everybody=True)
        for tag in outcome.tags:
            self.sums.add((fold.TAGS, key_id, tag), at, bill, everybody=True)
        if key_id:
            self.sums.add((fold.KEYS, key_id, key_id), at, bill, everybody=True)
        counted = fold.callers(outcome.attempts, outcome.served_by)
        for attempt in outcome.attempts:
            self._book_with_request(attempt, key_id, counted.pop(attempt.deployment, ()))
        kept = orjson.dumps(record) if data is None else data
        self.feed.keep(outcome.decision_id, (outcome, kept))
        if self.feed.watched:
            self.feed.tell(Event("decision", _summary(outcome, kept)))
        for listener in self._listeners:
            self._guard(listener.request, outcome, record)

    def decisions(self, limit: int = 50, stored: Iterable[bytes] = ()) -> list[Row]:
        """Return the last decisions and what became of them, the newest first: own ones, and the store's records."""
        rows = {row["id"]: row for data in stored if (row := _read(data)) is not None}
        rows.update((outcome.decision_id, _summary(outcome, data)) for outcome, data in self.feed.last(limit))
        return sorted(rows.values(), key=lambda row: -float(row["at"] or 0.0))[:limit]

    def decision(self, decision_id: str) -> Row | None:
        """Return one of the last decisions, None when it is not among them."""
        found = self.feed.find(decision_id)
        return None if found is None else _summary(*found)

    def reward(self, reward: Reward, expected: float | None = None) -> None:
        """Book one judged answer; ``expected`` in [0, 1] is the quality its decision had expected of it."""
        labels = (fold.ATTEMPTS, "", self._provider(reward.deployment), reward.deployment, str(reward.task))
        self.sums.add(labels, reward.at, Booking((), {"q": reward.weight, "qv": reward.weight * reward.value}))
        if expected is not None:
            tenth = str(min(9, int(expected * 10.0)))
            sums = {"n": reward.weight, "x": reward.weight * expected, "v": reward.weight * reward.value}
            self.sums.add((fold.CALIBRATION, "", tenth), reward.at, Booking((), sums))

    def head_to_head(
        self, winner: str, loser: str, task: TaskType, *, draw: bool = False, at: float | None = None
    ) -> None:
        """Book one comparison of two answers to the same prompt; of a draw the order means nothing."""
        when = self._now() if at is None else at
        for deployment, field in ((winner, "dr" if draw else "w"), (loser, "dr" if draw else "l")):
            labels = (fold.ATTEMPTS, "", self._provider(deployment), deployment, str(task))
            self.sums.add(labels, when, Booking((field,), _NOTHING))
        first, second = sorted((winner, loser)) if draw else (winner, loser)
        self.sums.add((fold.PAIRS, "", first, second), when, Booking(("dr" if draw else "n",), _NOTHING))

    def collect(self) -> dict[str, dict[str, float]]:
        """Return what was booked since the last call, for the store: series name -> field -> increment."""
        self._book_attempts()
        now = self._now()
        if now - self._pruned_at >= _PRUNE_EVERY_S or now < self._pruned_at:
            self._pruned_at = now
            self.sums.prune(now)
        return self.sums.collect()

    def apply(self, sums: Mapping[str, Mapping[str, float]]) -> None:
        """Take over the store's totals of changed series."""
        self.sums.apply(sums, self._now())

    @property
    def windows(self) -> tuple[str, ...]:
        """The names of the windows a report may cover."""
        return tuple(window.value for window in Window)

    def report(
        self,
        name: str,
        *,
        window: str = "hour",
        scope: str = "",
        task: str | None = None,
        provider: str | None = None,
    ) -> dict[str, Any]:
        """Answer one of ``REPORTS`` as plain JSON. Raises KeyError for another name, ValueError for another window."""
        self._settle()
        return self._report(name, Query(Window(window), scope, task, provider))

    async def answer(self, name: str, *, window: str, **asked: Any) -> dict[str, Any]:
        """Answer as ``report`` does, from a thread: adding up a busy month must not hold up requests."""
        query = Query(Window(window), **asked)
        self._settle()
        return await self._aside(lambda: self._report(name, query))

    async def scrape(self, live: Live) -> bytes:
        """Return one scrape of Prometheus text, made in the same thread."""
        self._settle()
        return await self._aside(lambda: self._exposition(live))

    def exposition(self, live: Live) -> bytes:
        """Return one scrape of Prometheus text."""
        self._settle()
        return self._exposition(live)

    def calibration(self, window: str = "all") -> list[Row]:
        """Return expected against judged quality, by tenths."""
        self._settle()
        return self.stats.calibration(Query(Window(window)))

    def _settle(self) -> None:
        self._book_attempts()
        self.sums.settle()

    def close(self) -> None:
        """End the thread that answers."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    async def _aside(self, make: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, make)

    def _exposition(self, live: Live) -> bytes:
        own = {"observer_errors": float(self.listener_errors)}
        return render(SumsCollector(self.sums.since_boot, live, anomalies=self.watch.active(), own=own))

    def _report(self, name: str, query: Query) -> dict[str, Any]:
        read: Mapping[str, Callable[[Query], list[Row]]] = {
            "providers": self.stats.providers,
            "deployments": self.stats.deployments,
            "tasks": self.stats.tasks,
            "costs": self.stats.costs,
            "win-rates": self.stats.win_rates,
            "anomalies": self._anomalies,
            "timeline": self.stats.timeline,
        }
        if name not in read:
            raise KeyError(name)
        begins, ends = self.stats.covers(query)
        answer: dict[str, Any] = {"object": "list", "window": str(query.window), "from": begins, "to": ends}
        if name == "costs":
            answer["savings"] = self.stats.savings(query)
        if name == "win-rates" and not query.scope:
            answer["pairs"] = self.stats.pairs(query)
        if name == "providers":
            answer["summary"] = self.stats.summary(query)
        answer["data"] = read[name](query)
        return answer

    def _anomalies(self, query: Query) -> list[Row]:
        """Anomalies are the operator's: one key's traffic says nothing of them."""
        if query.scope:
            return []
        rows = self.watch.rows(self.stats.covers(query)[0])
        return [row for row in rows if query.task in {None, row["task"]} and query.provider in {None, row["provider"]}]

    def _anomaly(self, anomaly: Anomaly) -> None:
        row = anomaly.row()
        self.feed.tell(Event("anomaly", row))
        if self.on_anomaly is not None:
            self._guard(self.on_anomaly, anomaly)
        if self._alert is not None:
            self._alert("anomaly", row)

    def _provider(self, deployment: str) -> str:
        return self._providers.get(deployment) or deployment.partition("/")[0]

    def _guard(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as exc:  # noqa: BLE001 - watching must never fail what is watched
            self.listener_errors += 1
            if self._on_error is not None:
                self._on_error(exc)


def _read(data: bytes) -> Row | None:
    try:
        return of_stored(expanded(orjson.loads(data)))
    except (AttributeError, KeyError, TypeError, ValueError):  # a strange document is no reason to show none
        return None


def _summary(outcome: RequestOutcome, data: bytes) -> Row:
    return summarise(outcome, expanded(orjson.loads(data)))


def _labels(outcome: AttemptOutcome, scope: str) -> tuple[str, ...]:
    return (fold.ATTEMPTS, scope, outcome.provider, outcome.deployment, str(outcome.task))
