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
from router_core.drift import NONE, TAIL, Evidence, Level, Rate, gain, recede
from router_core.latency import bin_of, value_of
from router_core.outcome import AttemptOutcome, RequestOutcome

THRESHOLD: Final = 10_000.0
"""At most one false alarm per so many calls of a deployment and signal (``router_core.drift``)."""

RECOVERED: Final = 100.0
NEW_NORMAL: Final = 2000
NEW: Final = "new_normal"
"""Why an anomaly ended that lasted ``NEW_NORMAL`` calls: what was unusual is usual now."""
MAX_SERIES: Final = 2000
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

    evidence: Evidence = NONE
    recovery: float = 1.0
    calls_since: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=_RECENT))
    anomaly: Anomaly | None = None

    def share(self) -> float:
        return sum(self.recent) / len(self.recent) if self.recent else 0.0


class Watch:
    """Hears of every call and keeps the list of anomalies. ``on_change`` hears of each beginning and end."""

    def __init__(self, on_change: Callable[[Anomaly], None] | None = None, *, threshold: float = THRESHOLD) -> None:
        """Begin without baselines: the first hundred calls of each series make one."""
        self._on_change = on_change
        self._threshold = threshold
        self._levels: OrderedDict[tuple[str, Signal, str], Level] = OrderedDict()
        self._rates: OrderedDict[tuple[str, Signal], Rate] = OrderedDict()
        self._judges: OrderedDict[tuple[str, Signal], _Judge] = OrderedDict()
        self._ended: deque[Anomaly] = deque(maxlen=MAX_KEPT)

    def attempt(self, outcome: AttemptOutcome) -> None:
        """Judge one call. What says nothing about the provider is left out."""
        failure = outcome.failure
        if failure is not None and failure.kind in NOT_THE_PROVIDERS:
            return
        self._rate(outcome, Signal.FAILURES, hit=failure is not None)
        if failure is None:
            self._rate(outcome, Signal.REFUSALS, hit=outcome.refusal)
            self._level(outcome, Signal.LATENCY, bin_of(outcome.duration_s))
            self._level(outcome, Signal.COST, bin_of(outcome.cost_usd * _COST_SCALE))

    def request(self, outcome: RequestOutcome, record: Mapping[str, Any]) -> None:
        """Requests are not judged; their calls were."""

    def active(self) -> list[dict[str, Any]]:
        """Return the anomalies that last, the newest first."""
        found = [judge.anomaly for judge in list(self._judges.values()) if judge.anomaly]
        return [each.row() for each in sorted(found, key=lambda each: -each.since)]

    def rows(self, since: float | None = None) -> list[dict[str, Any]]:
        """Return those that last and those that ended after a wall-clock second, the newest first."""
        over = [each.row() for each in reversed(list(self._ended)) if since is None or (each.until or 0.0) >= since]
        return self.active() + over

    def _level(self, outcome: AttemptOutcome, signal: Signal, index: int) -> None:
        key = (outcome.deployment, signal, str(outcome.task))
        level = _held(self._levels, key, Level)
        judge = _held(self._judges, key[:2], _Judge)
        if level.warm:
            scale = _COST_SCALE if signal is Signal.COST else 1.0
            self._judge(
                judge,
                outcome,
                signal,
                hit=level.high(index),
                null=level.null,
                usual=TAIL,
                level=value_of(level.cut) / scale,
            )
        if judge.anomaly is None:
            self._levels[key] = self._levels.get(key, _NO_LEVEL).plus(index)

    def _rate(self, outcome: AttemptOutcome, signal: Signal, *, hit: bool) -> None:
        key = (outcome.deployment, signal)
        rate = _held(self._rates, key, Rate)
        judge = _held(self._judges, key, _Judge)
        if rate.warm:
            self._judge(judge, outcome, signal, hit=hit, null=rate.null, usual=rate.share, level=None)
        if judge.anomaly is None:
            self._rates[key] = self._rates.get(key, _NO_RATE).plus(hit=hit)

    def _judge(
        self,
        judge: _Judge,
        outcome: AttemptOutcome,
        signal: Signal,
        *,
        hit: bool,
        null: float,
        usual: float,
        level: float | None,
    ) -> None:
        judge.recent.append(hit)
        if judge.anomaly is None:
            judge.evidence = gain(judge.evidence, hit=hit, null=null)
            if judge.evidence.value >= self._threshold:
                begun = Anomaly(
                    outcome.deployment,
                    outcome.provider,
                    signal,
                    str(outcome.task),
                    outcome.at,
                    judge.share(),
                    usual,
                    level,
                )
                self._change(judge, begun)
            return
        judge.calls_since += 1
        judge.anomaly = replace(judge.anomaly, share=judge.share())
        still = min(0.95, null + 0.15)
        judge.recovery = recede(judge.recovery, hit=hit, null=still, normal=max(0.005, min(usual, null / 2.0)))
        if judge.recovery >= RECOVERED:
            self._change(judge, replace(judge.anomaly, until=outcome.at, ended="recovered"))
        elif judge.calls_since >= NEW_NORMAL:
            self._forget(outcome.deployment, signal)
            self._change(judge, replace(judge.anomaly, until=outcome.at, ended=NEW))

    def _change(self, judge: _Judge, anomaly: Anomaly) -> None:
        judge.evidence, judge.recovery, judge.calls_since = NONE, 1.0, 0
        judge.anomaly = anomaly if anomaly.until is None else None
        if anomaly.until is not None:
            self._ended.append(anomaly)
        if self._on_change is not None:
            self._on_change(anomaly)

    def _forget(self, deployment: str, signal: Signal) -> None:
        self._rates.pop((deployment, signal), None)
        for key in [held for held in self._levels if held[:2] == (deployment, signal)]:
            del self._levels[key]


def _held(table: OrderedDict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    """Return what a bounded table holds, made when missing; the one longest unused makes room."""
    found = table.get(key)
    if found is None:
        found = table[key] = make()
        if len(table) > MAX_SERIES:
            table.popitem(last=False)
    else:
        table.move_to_end(key)
    return found
