"""Who departs from its own baseline: latency, cost, failures and refusals of each deployment, judged call by call.

Detectors stay with their worker (the order of calls matters to them); each worker sees its share of traffic. Latency
and cost of an answer are compared with the deployment's own values *for the same task*, so a change in what clients ask
for is no anomaly of the provider. A baseline stands still while an anomaly lasts; after ``NEW_NORMAL`` further calls
the new level becomes the baseline and the anomaly ends as such.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from gateway.observe.fold import NOT_THE_PROVIDERS
from router_core.drift import NONE, TAIL, Evidence, Level, Rate, gain, recede, strength
from router_core.latency import bin_of, value_of
from router_core.outcome import AttemptOutcome, RequestOutcome

THRESHOLD: Final = 10_000.0
"""At most one false alarm per so many calls of a deployment and signal (``router_core.drift``)."""

RECOVERED: Final = 100.0
NEW_NORMAL: Final = 2000
NEW: Final = "new_normal"
"""Why an anomaly ended that lasted ``NEW_NORMAL`` calls: what was unusual is usual now."""
MAX_DEPLOYMENTS: Final = 500
MAX_SERIES: Final = 1000
"""Deployments, and pairs of a deployment and a task, that are watched; the one longest unused makes room."""
MAX_KEPT: Final = 200
_RECENT: Final = 50
_COST_SCALE: Final = 1000.0
"""Costs are binned in thousandths of a dollar, so that 0.0000001 to 3.6 USD fall into the bins of ``latency``."""

_NO_LEVEL: Final = Level()
_NO_RATE: Final = Rate()


class Signal(StrEnum):
    """What is watched."""

    LATENCY = "latency"
    COST = "cost"
    FAILURES = "failures"
    REFUSALS = "refusals"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One departure. Times in wall-clock seconds; ``share`` of the last calls were hits, where ``usual`` is normal.

    ``level`` is the value above which a call counts as a hit (seconds or USD), None for failures and refusals.
    ``ended`` is why it is over: ``recovered`` or ``new_normal``.
    """

    deployment: str
    provider: str
    signal: Signal
    task: str
    since: float
    share: float
    usual: float
    level: float | None = None
    until: float | None = None
    ended: str | None = None

    def row(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "deployment": self.deployment,
            "provider": self.provider,
            "signal": str(self.signal),
            "task": self.task,
            "state": "active" if self.until is None else "ended",
            "since": self.since,
            "until": self.until,
            "ended": self.ended,
            "share": round(self.share, 4),
            "usual": round(self.usual, 4),
            "level": self.level,
            "text": self.sentence(),
        }

    def sentence(self) -> str:
        """Return the finding in one sentence."""
        share, usual = f"{self.share:.0%}", f"{self.usual:.0%}"
        match self.signal:
            case Signal.LATENCY:
                return f"{share} of the last answers took longer than {self.level or 0.0:.2f} s; usual: {usual}"
            case Signal.COST:
                return f"{share} of the last answers cost more than {self.level or 0.0:.6f} USD; usual: {usual}"
            case Signal.FAILURES:
                return f"{share} of the last calls failed; usual: {usual}"
            case Signal.REFUSALS:
                return f"{share} of the last answers were refusals; usual: {usual}"


@dataclass(slots=True)
class _Judge:
    """The evidence of one deployment and signal, over all of its tasks."""

    signal: Signal
    evidence: Evidence = NONE
    recovery: float = 1.0
    calls_since: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=_RECENT))
    anomaly: Anomaly | None = None

    def share(self) -> float:
        return sum(self.recent) / len(self.recent) if self.recent else 0.0

    def now(self, anomaly: Anomaly) -> Anomaly:
        """Return an anomaly with the share of hits as it is now."""
        return replace(anomaly, share=self.share())


class _Share:
    """One event of a deployment: its judge, the baseline it is judged by, and what the next baseline will take in."""

    __slots__ = ("hits", "judge", "n", "usual")

    def __init__(self, signal: Signal) -> None:
        self.judge = _Judge(signal)
        self.forget()

    def forget(self) -> None:
        self.usual, self.hits, self.n = _NO_RATE, 0, 0

    def add(self, *, hit: bool) -> None:
        self.hits += hit
        self.n += 1
        if self.n >= self.usual.wants:
            self.usual = self.usual.plus(self.hits, self.n)
            self.hits = self.n = 0


class _Usual:
    """One quantity of a deployment and task: its baseline, and the bins that the next one will take in."""

    __slots__ = ("bins", "level")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.level = _NO_LEVEL
        self.bins: list[int] = []

    def add(self, index: int) -> None:
        self.bins.append(index)
        if len(self.bins) >= self.level.wants:
            self.level = self.level.plus(self.bins)
            self.bins = []


class _Deployment:
    """What is watched of one deployment, whatever the task."""

    __slots__ = ("cost", "failures", "latency", "refusals")

    def __init__(self) -> None:
        self.failures = _Share(Signal.FAILURES)
        self.refusals = _Share(Signal.REFUSALS)
        self.latency = _Judge(Signal.LATENCY)
        self.cost = _Judge(Signal.COST)

    def judges(self) -> tuple[_Judge, ...]:
        return (self.failures.judge, self.refusals.judge, self.latency, self.cost)


class _Task:
    """What a deployment's answers to one task usually take and cost."""

    __slots__ = ("cost", "latency")

    def __init__(self) -> None:
        self.latency = _Usual()
        self.cost = _Usual()


class Watch:
    """Hears of every call and keeps the list of anomalies. ``on_change`` hears of each beginning and end."""

    def __init__(self, on_change: Callable[[Anomaly], None] | None = None, *, threshold: float = THRESHOLD) -> None:
        """Begin without baselines: the first hundred calls of each series make one."""
        self._on_change = on_change
        self._threshold = threshold
        self._deployments: OrderedDict[str, _Deployment] = OrderedDict()
        self._tasks: OrderedDict[tuple[str, str], _Task] = OrderedDict()
        self._ended: deque[Anomaly] = deque(maxlen=MAX_KEPT)

    def attempt(self, outcome: AttemptOutcome) -> None:
        """Judge one call. What says nothing about the provider is left out."""
        failure = outcome.failure
        if failure is not None and failure.kind in NOT_THE_PROVIDERS:
            return
        deployment: _Deployment = _held(self._deployments, outcome.deployment, _Deployment, MAX_DEPLOYMENTS)
        self._rate(deployment.failures, outcome, hit=failure is not None)
        if failure is None:
            self._rate(deployment.refusals, outcome, hit=outcome.refusal)
            task: _Task = _held(self._tasks, (outcome.deployment, outcome.task), _Task, MAX_SERIES)
            self._level(deployment.latency, task.latency, outcome, bin_of(outcome.duration_s))
            self._level(deployment.cost, task.cost, outcome, bin_of(outcome.cost_usd * _COST_SCALE))

    def request(self, outcome: RequestOutcome, record: Mapping[str, Any]) -> None:
        """Requests are not judged; their calls were."""

    def active(self) -> list[dict[str, Any]]:
        """Return the anomalies that last, the newest first."""
        watched = list(self._deployments.values())
        lasting = [judge.now(held) for each in watched for judge in each.judges() if (held := judge.anomaly)]
        return [each.row() for each in sorted(lasting, key=lambda each: -each.since)]

    def rows(self, since: float | None = None) -> list[dict[str, Any]]:
        """Return those that last and those that ended after a wall-clock second, the newest first."""
        over = [each.row() for each in reversed(list(self._ended)) if since is None or (each.until or 0.0) >= since]
        return self.active() + over

    def _level(self, judge: _Judge, usual: _Usual, outcome: AttemptOutcome, index: int) -> None:
        level = usual.level
        if level.warm:
            self._judge(judge, outcome, hit=level.high(index), null=level.null, usual=TAIL, cut=level.cut)
        if judge.anomaly is None:
            usual.add(index)

    def _rate(self, share: _Share, outcome: AttemptOutcome, *, hit: bool) -> None:
        judge, usual = share.judge, share.usual
        if usual.warm:
            self._judge(judge, outcome, hit=hit, null=usual.null, usual=usual.share)
        if judge.anomaly is None:
            share.add(hit=hit)

    def _judge(
        self, judge: _Judge, outcome: AttemptOutcome, *, hit: bool, null: float, usual: float, cut: int | None = None
    ) -> None:
        judge.recent.append(hit)
        if judge.anomaly is None:
            judge.evidence = gain(judge.evidence, hit=hit, null=null)
            if strength(judge.evidence) >= self._threshold:
                self._change(judge, _begun(judge, outcome, usual, cut))
            return
        judge.calls_since += 1
        still = min(0.95, null + 0.15)
        judge.recovery = recede(judge.recovery, hit=hit, null=still, normal=max(0.005, min(usual, null / 2.0)))
        if judge.recovery >= RECOVERED:
            self._change(judge, replace(judge.now(judge.anomaly), until=outcome.at, ended="recovered"))
        elif judge.calls_since >= NEW_NORMAL:
            self._forget(outcome.deployment, judge.signal)
            self._change(judge, replace(judge.now(judge.anomaly), until=outcome.at, ended=NEW))

    def _change(self, judge: _Judge, anomaly: Anomaly) -> None:
        judge.evidence, judge.recovery, judge.calls_since = NONE, 1.0, 0
        judge.anomaly = anomaly if anomaly.until is None else None
        if anomaly.until is not None:
            self._ended.append(anomaly)
        if self._on_change is not None:
            self._on_change(anomaly)

    def _forget(self, name: str, signal: Signal) -> None:
        deployment = self._deployments[name]
        for share in (deployment.failures, deployment.refusals):
            if share.judge.signal is signal:
                share.forget()
        for (whose, _), task in self._tasks.items():
            if whose == name and signal is Signal.LATENCY:
                task.latency.forget()
            elif whose == name and signal is Signal.COST:
                task.cost.forget()


def _begun(judge: _Judge, outcome: AttemptOutcome, usual: float, cut: int | None) -> Anomaly:
    scale = _COST_SCALE if judge.signal is Signal.COST else 1.0
    return Anomaly(
        outcome.deployment,
        outcome.provider,
        judge.signal,
        str(outcome.task),
        outcome.at,
        judge.share(),
        usual,
        None if cut is None else value_of(cut) / scale,
    )


def _held(table: OrderedDict[Any, Any], key: Any, make: Callable[[], Any], most: int) -> Any:
    """Return what a bounded table holds, made when missing; the one longest unused makes room."""
    found = table.get(key)
    if found is None:
        found = table[key] = make()
        if len(table) > most:
            table.popitem(last=False)
    else:
        table.move_to_end(key)
    return found
