"""What became of each request: folded into statistics, kept for a while, written to the store. Off the response path.

A finished request is queued in microseconds; a few milliseconds later it is turned into a record, few in one turn.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from gateway.backlog import Backlog
from gateway.context import RequestContext
from gateway.decisions import RecentDecisions, Recorded, Served
from gateway.stages import Steps
from router_core.compact import compact, known_row
from router_core.decision import Known
from router_core.outcome import AttemptOutcome, RequestOutcome
from router_core.ports import EventSink

_log = logging.getLogger("gateway.recorder")
_DELAY_S: Final = 0.02
_AT_ONCE: Final = 2
_DAY_S: Final = 86_400.0
_MOST_DOCUMENTS: Final = 2000
"""Kept for the store between two exchanges; a slow store takes so long that the oldest are left out."""
_MOST_KNOWN: Final = 1000
KIND: Final = "decision"


class Finished(NamedTuple):
    """A finished request: all that its record is made of."""

    ctx: RequestContext
    outcome: RequestOutcome


class Recorder:
    """Takes finished requests, tells the sink, and collects documents and ledger rows for the store.

    Of a recorded request its record is kept, not its context: that is large, and lets its prompt go this way.
    """

    def __init__(
        self,
        sink: EventSink,
        recent: RecentDecisions[Recorded],
        ledger_rows: Callable[[RequestOutcome, RequestContext], list[Mapping[str, Any]]] | None = None,
    ) -> None:
        """``ledger_rows`` turns a finished request into its ledger rows."""
        self.recent = recent
        self._sink = sink
        self._ledger_rows = ledger_rows
        self._queue: Backlog[Finished] = Backlog(
            self._record, at_once=_AT_ONCE, log=_log, fault="a finished request could not be recorded"
        )
        self._documents: deque[tuple[str, str, bytes, float | None]] = deque(maxlen=_MOST_DOCUMENTS)
        self._rows: list[Mapping[str, Any]] = []
        self._known_rows: dict[int, orjson.Fragment] = {}
        self._known: list[Known] = []

    def finish(self, ctx: RequestContext, outcome: RequestOutcome) -> None:
        """Take a finished request. Never raises, never waits."""
        self._queue.put(Finished(ctx, outcome), _DELAY_S)

    def find(self, decision_id: str) -> Recorded | None:
        """Return one of the last decisions, None when it is not among them; what is still queued is recorded first."""
        if self._queue:
            self.drain()
        return self.recent.get(decision_id)

    def drain(self) -> None:
        """Turn all that is queued into records."""
        self._queue.drain()

    def pieces(self) -> Iterator[None]:
        """Turn what is queued now into records, few between two pauses."""
        return self._queue.pieces()

    def collect(self) -> tuple[list[tuple[str, str, bytes, float | None]], list[Mapping[str, Any]]]:
        """Return documents and ledger rows since the last call."""
        self.drain()
        documents = list(self._documents)
        if len(documents) == _MOST_DOCUMENTS:
            _log.warning("the store is too slow for this traffic: records of decisions are being left out")
        self._documents.clear()
        rows, self._rows = self._rows, []
        return documents, rows

    def document(self, kind: str, name: str, data: bytes, expires: float | None) -> None:
        """Queue a document of somebody else's for the store."""
        self._documents.append((kind, name, data, expires))

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Queue ledger rows of calls that no client's request paid for."""
        self._rows.extend(rows)

    def record(self, finished: Finished) -> dict[str, Any]:
        """Return the record of a finished request as it is stored; what is known of deployments is JSON already."""
        ctx, outcome = finished
        return {
            "id": ctx.decision_id,
            "request_id": ctx.request_id,
            "key_id": outcome.key_id,
            **compact(ctx.routing, ctx.decision, self._rows_of),
            "judged_by": ctx.judge,
            "verdict": ctx.verdict,
            "experiment": experiment_record(ctx),
            "outcome": outcome_record(outcome),
        }

    def _record(self, finished: Finished) -> Steps[None]:
        record = self.record(finished)
        data = orjson.dumps(record)
        yield
        ctx, outcome = finished
        self.recent.put(ctx.decision_id, Recorded(_served(finished), data))
        self._sink.request(outcome, record, data)
        yield
        expires = outcome.at + ctx.policy.capture.decision_days * _DAY_S
        self._documents.append((KIND, ctx.decision_id, data, expires))
        if self._ledger_rows is not None:
            self._rows.extend(self._ledger_rows(outcome, ctx))

    def _rows_of(self, known: Sequence[Known]) -> list[orjson.Fragment | None]:
        """Return what is known of deployments as rows of JSON, made once: the same value serves many decisions."""
        rows = list(map(self._known_rows.get, map(id, known)))
        while not all(rows):
            at = rows.index(None)
            rows[at] = self._row_of(known[at])
        return rows

    def _row_of(self, known: Known) -> orjson.Fragment:
        """Make and keep a row; what it was made of is held as well, so that no other value can have its ``id``."""
        if len(self._known) >= _MOST_KNOWN:
            self._known_rows, self._known = {}, []
        row = self._known_rows[id(known)] = orjson.Fragment(orjson.dumps(known_row(known)))
        self._known.append(known)
        return row


def _served(finished: Finished) -> Served:
    ctx, outcome = finished
    facts = ctx.facts(outcome.served_by) if outcome.served_by is not None else None
    arm = None if ctx.experiment is None else (ctx.experiment.experiment, ctx.experiment.arm.name)
    expected = None if facts is None else facts.quality
    return Served(outcome.served_by, outcome.task, outcome.secondary, outcome.key_id, outcome.features, expected, arm)


def experiment_record(ctx: RequestContext) -> dict[str, str] | None:
    """Return which arm of which experiment a request is in, and which model it had asked for."""
    if ctx.experiment is None:
        return None
    return {"id": ctx.experiment.experiment, "arm": ctx.experiment.arm.name, "model": ctx.chat.model}


def outcome_record(outcome: RequestOutcome) -> dict[str, Any]:
    """Return what became of a request as plain JSON."""
    return {
        "status": outcome.status,
        "served_by": outcome.served_by,
        "duration_ms": round(outcome.duration_s * 1000.0, 3),
        "overhead_ms": round(outcome.overhead_s * 1000.0, 3),
        "cost_usd": outcome.cost_usd,
        "error_code": outcome.error_code,
        "tags": list(outcome.tags),
        "session": outcome.session,
        "attempts": [attempt_record(attempt) for attempt in outcome.attempts],
    }


def attempt_record(attempt: AttemptOutcome) -> dict[str, Any]:
    """Return one call as plain JSON, failure in words."""
    failure = attempt.failure
    first = attempt.time_to_first_content_s
    usage = attempt.usage
    return {
        "deployment": attempt.deployment,
        "role": attempt.role,
        "ok": attempt.ok,
        "failure": None if failure is None else failure.kind,
        "status": attempt.status,
        "message": None if failure is None else failure.message,
        "duration_ms": round(attempt.duration_s * 1000.0, 3),
        "time_to_first_content_ms": None if first is None else round(first * 1000.0, 3),
        "usage": {
            "input": usage.input,
            "cached_input": usage.cached_input,
            "cache_write": usage.cache_write,
            "output": usage.output,
            "reasoning": usage.reasoning,
            "estimated": usage.estimated,
        },
        "cost_usd": attempt.cost_usd,
        "cost_source": attempt.cost_source,
        "finish_reason": attempt.finish_reason,
        "skipped_events": attempt.skipped_events,
    }
