"""Logs: one line per request, no prompt text, no key; written by a thread, so that a full pipe delays nobody.

Lines are JSON, or for a terminal structlog's console form. Everything passes ``scrub``.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Final, TextIO

import orjson

from gateway.secrets import scrub, scrub_known
from router_core.outcome import AttemptOutcome, RequestOutcome

MAX_WAITING: Final = 10_000
_STOP_S: Final = 2.0
_GATHER_S: Final = 0.05
"""Each waking of the writing thread takes the interpreter from the requests; so it wakes for many lines."""
_MOST_AT_ONCE: Final = 200
REQUESTS: Final = "gateway.request"
_OWN_NAME: Final = re.compile(r"req_[0-9a-f]{24}\Z")
"""What the gateway names a request that came without a name; no key looks like that."""


class _Handler(QueueHandler):
    """Hands records to the writing thread as they are; drops and counts what finds the queue full."""

    def __init__(self, waiting: queue.SimpleQueue[Any]) -> None:
        super().__init__(waiting)
        self._waiting = waiting
        self.lost = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Leave formatting to the thread."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a record, never waiting; a simple queue costs a tenth of a bounded one, so the bound is looked at."""
        if self._waiting.qsize() < MAX_WAITING:
            self._waiting.put_nowait(record)
        else:
            self.lost += 1


class _Lines(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes many records at once."""

    def write(self, records: list[logging.LogRecord]) -> None:
        """Write the records' lines with one call; one that cannot be formatted is reported, and lost alone."""
        lines: list[str] = []
        for record in records:
            try:
                lines.append(self.format(record) + self.terminator)
            except Exception:  # noqa: BLE001 - as logging's own handlers do
                self.handleError(record)
        try:
            self.stream.write("".join(lines))
            self.flush()
        except (OSError, ValueError):
            self.handleError(records[-1])


class _Writer(QueueListener):
    """Writes in a daemon thread, what has gathered at once; stopping waits for a stuck pipe only so long."""

    def __init__(self, waiting: queue.SimpleQueue[Any], lines: _Lines) -> None:
        super().__init__(waiting, lines)
        self._waiting = waiting
        self._lines = lines

    def _monitor(self) -> None:
        ended = False
        while not ended:
            records = [self._waiting.get()]
            with contextlib.suppress(queue.Empty):
                while len(records) < _MOST_AT_ONCE:
                    records.append(self._waiting.get_nowait())
            ended = self._sentinel in records  # type: ignore[attr-defined]
            known = [record for record in records if isinstance(record, logging.LogRecord)]
            if known:
                self._lines.write(known)
            if not ended:
                time.sleep(_GATHER_S)

    def stop(self) -> None:
        """Write what waits, for at most ``_STOP_S`` seconds."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(self._sentinel)  # type: ignore[attr-defined]
            thread.join(_STOP_S)


class LineFormatter(logging.Formatter):
    """One record as one line: JSON, or ``console`` for people.

    Most lines are requests' ones. Looking through all of one for what might be a key takes as long as everything else
    about it; their few texts from outside were looked through one by one (``request_fields``).
    """

    def __init__(self, *, console: bool = False, colors: bool = False) -> None:
        """Choose the form."""
        super().__init__()
        self._console = _console(colors=colors) if console else None

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, scrubbed."""
        event: dict[str, Any] = {
            "timestamp": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = "".join(traceback.format_exception(*record.exc_info))
        if self._console is None:
            line = orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
            return scrub_known(line) if record.name == REQUESTS else scrub(line)
        return scrub(str(self._console(None, record.levelname.lower(), event)))


def _timestamp(at: float) -> str:
    """Write a wall-clock second as ISO 8601 with milliseconds, cut off as ``datetime`` does."""
    second, microseconds = divmod(round(at * 1e6), 1_000_000)
    return f"{_second(second)}.{microseconds // 1000:03d}+00:00"


@lru_cache(2)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _console(*, colors: bool) -> Callable[[None, str, dict[str, Any]], str]:
    import structlog  # noqa: PLC0415 - a server's lines are JSON

    return structlog.dev.ConsoleRenderer(colors=colors)


class Logs:
    """The process's logging: ``start`` takes it over, ``stop`` writes what waits and gives it back."""

    def __init__(self, *, level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
        """Write to ``stream`` (standard error); ``form`` is console, json, or auto: console on a terminal."""
        out = stream if stream is not None else sys.stderr
        console = form == "console" or (form == "auto" and out.isatty())
        waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._handler = _Handler(waiting)
        writer = _Lines(out)
        writer.setFormatter(LineFormatter(console=console, colors=console and out.isatty()))
        self._listener = _Writer(waiting, writer)
        self._level = level.upper()
        self._before: tuple[int, list[logging.Handler]] | None = None

    @property
    def lost(self) -> int:
        """How many lines were dropped because they could not be written fast enough."""
        return self._handler.lost

    def start(self) -> None:
        """Replace the root logger's handlers."""
        root = logging.getLogger()
        skip_what_no_line_shows()
        self._before = (root.level, root.handlers[:])
        root.handlers[:] = [self._handler]
        root.setLevel(self._level)
        self._listener.start()

    def stop(self) -> None:
        """Write what waits and put the former handlers back."""
        self._listener.stop()
        if self._before is not None:
            root = logging.getLogger()
            level, root.handlers[:] = self._before
            root.setLevel(level)
            self._before = None


def skip_what_no_line_shows() -> None:
    """Keep records from collecting caller, thread and process (https://docs.python.org/3/howto/logging.html#optimization).

    Looking for the caller alone is a quarter of what a record costs.
    """
    for name in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, name, None if name == "_srcfile" else False)


class RequestLog:
    """A listener that writes one line per finished request, to the logger ``gateway.request``."""

    def __init__(self) -> None:
        """Write through the process's logging."""
        self._log = logging.getLogger(REQUESTS)

    def attempt(self, outcome: AttemptOutcome) -> None:
        """Single calls have no line of their own; they stand in their request's."""

    def request(self, outcome: RequestOutcome, record: Mapping[str, Any]) -> None:
        """Write the line; a failed request is a warning."""
        level = logging.INFO if outcome.ok or outcome.status == 499 else logging.WARNING
        if self._log.isEnabledFor(level):
            self._log.log(level, "request", extra={"fields": request_fields(outcome, record)})


def request_fields(outcome: RequestOutcome, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a request's line says, texts from outside scrubbed; times in milliseconds, money in USD."""
    request_id = record.get("request_id")
    if request_id is not None and not _OWN_NAME.match(request_id):
        request_id = scrub(request_id)
    fields: dict[str, Any] = {
        "decision_id": outcome.decision_id,
        "request_id": request_id,
        "key_id": _name(outcome.key_id),
        "task": str(outcome.task),
        "policy": _name(outcome.policy),
        "mode": outcome.mode,
        "status": outcome.status,
        "served_by": outcome.served_by and _name(outcome.served_by),
        "duration_ms": round(outcome.duration_s * 1000.0, 1),
        "overhead_ms": round(outcome.overhead_s * 1000.0, 2),
        "cost_usd": round(outcome.cost_usd, 8),
        "attempts": [
            {
                "deployment": _name(each.deployment),
                "role": str(each.role),
                "result": "ok" if each.failure is None else str(each.failure.kind),
                "status": each.status,
                "duration_ms": round(each.duration_s * 1000.0, 1),
            }
            for each in outcome.attempts
        ],
    }
    if outcome.error_code is not None:
        fields["error_code"] = _name(outcome.error_code)
    if outcome.tags:
        fields["tags"] = list(map(scrub, outcome.tags))
    return fields


@lru_cache(4096)
def _name(text: str) -> str:
    """Return a name scrubbed; the same few come again and again."""
    return scrub(text)
