"""The background task that trades what this worker learned for what all others did; nothing else talks to the store.

One cycle, at most every ``interval_s``:

1. pull. A store whose memory was lost (``epoch`` changed) is given back what this worker had seen of it, once, and then
   this worker's own latest batches, so that nothing is lost and nothing counts twice.
2. push what an earlier cycle could not deliver. Only when nothing is held back are pulled totals handed to ``apply``:
   they are whole, and would otherwise hide what this worker has not delivered yet.
3. collect what is new, and push it. A batch stays in the outbox, unchanged and under the same id, until the store has
   said yes; while it waits, later increments gather in one batch behind it, so the buffer is bounded by the number of
   series, and by ``max_documents``, ``max_document_bytes`` and ``max_rows``.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.state.values import add_sums, expired, join_maxima
from gateway.store_errors import StoreError
from router_core.ports import Batch, LearningStore, Pull

_log = logging.getLogger("gateway.state")

INTERVAL_S = 0.25
REMEMBERED_BATCHES = 20
_FORGET_EVERY_S = 60.0


@dataclass(slots=True)
class Counters:
    """What the exchange did since the start; shown in stats and metrics."""

    pushed: int = 0
    pulled: int = 0
    failures: int = 0
    restored: int = 0
    dropped_documents: int = 0
    dropped_rows: int = 0
    learner_errors: int = 0


@dataclass(slots=True)
class _Gathered:
    """Parts that wait to become a batch."""

    sums: dict[str, dict[str, float]] = field(default_factory=dict)
    maxima: dict[str, float] = field(default_factory=dict)
    documents: dict[tuple[str, str], tuple[bytes, float | None]] = field(default_factory=dict)
    ledger: deque[Mapping[str, Any]] = field(default_factory=deque)
    document_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.sums or self.maxima or self.documents or self.ledger)


class Exchanger:
    """Pushes and pulls in the background; ``collect`` and ``apply`` run on the event loop, which must never wait long.

    ``collect()`` gives what is new since it was last called, in pieces (their ids do not matter); requests are served
    between two of them. Each of ``apply`` takes whole totals of the changed series, everything this worker ever gave
    from ``collect`` included: for each of them the receiver keeps the total plus what it has gathered since.
    """

    def __init__(
        self,
        store: LearningStore,
        *,
        collect: Callable[[], Iterable[Batch]],
        apply: Sequence[Callable[[Pull], None]],
        worker: str = "",
        interval_s: float = INTERVAL_S,
        max_documents: int = 5_000,
        max_document_bytes: int = 64 * 1024 * 1024,
        max_rows: int = 50_000,
    ) -> None:
        self.store = store
        self.worker = worker or uuid.uuid4().hex[:12]
        self.counters = Counters()
        self.last_error = ""
        self.degraded = False
        self._collect = collect
        self._apply = apply
        self._interval_s = interval_s
        self._max_documents = max_documents
        self._max_document_bytes = max_document_bytes
        self._max_rows = max_rows
        self._gathered = _Gathered()
        self._outbox: Batch | None = None
        self._sequence = 0
        self._delivered: deque[Batch] = deque(maxlen=REMEMBERED_BATCHES)
        self._cursor = ""
        self._epoch = ""
        self._seen_sums: dict[str, dict[str, float]] = {}
        self._seen_maxima: dict[str, float] = {}
        self._seen_marks: dict[str, int] = {}
        self._forget_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    def start(self) -> None:
        """Begin exchanging; call once, on the running loop."""
        self._task = asyncio.create_task(self._run(), name="state-exchange")

    async def stop(self, *, flush_s: float = 2.0) -> None:
        """End the task and deliver what is left, for at most ``flush_s`` seconds."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.flush(), flush_s)

    async def flush(self) -> bool:
        """Run one cycle now; returns whether everything was delivered."""
        return await self.cycle()

    async def _run(self) -> None:
        while True:
            await self.cycle()
            await asyncio.sleep(self._interval_s)

    async def cycle(self) -> bool:
        """Run one exchange; a store that is away only marks this worker degraded. Returns whether all was delivered."""
        async with self._turn:
            await self._gather()
            try:
                await self._exchange()
            except StoreError as exc:
                self._failed(str(exc) or type(exc).__name__)
                return False
            except Exception as exc:  # noqa: BLE001 - nothing may end the exchange
                _log.exception("state exchange")
                self._failed(type(exc).__name__)
                return False
            if self.degraded:
                _log.warning("the state store answers again; what was held back is delivered")
            self.degraded, self.last_error = False, ""
            return True

    def _failed(self, why: str) -> None:
        self.counters.failures += 1
        if not self.degraded:
            _log.warning("the state store is away, going on alone: %s", why)
        self.degraded, self.last_error = True, why

    async def _exchange(self) -> None:
        pull = await self.store.pull(self._cursor)
        if self._epoch and pull.epoch != self._epoch:
            await self._restore()
            pull = await self.store.pull("")
        if self._outbox is not None:
            await self._deliver()
            pull = await self.store.pull(self._cursor)
        await self._take(pull)
        if self._gathered:
            self._outbox = self._seal()
            await self._deliver()

    async def _take(self, pull: Pull) -> None:
        self._cursor, self._epoch = pull.cursor, pull.epoch
        if not (pull.sums or pull.maxima or pull.marks):
            return
        self._seen_sums.update({key: dict(fields) for key, fields in pull.sums.items()})
        self._seen_maxima.update(pull.maxima)
        self._seen_marks.update(pull.marks)
        self._forget_expired()
        self.counters.pulled += 1
        totals = self._with_gathered(pull)
        for apply in self._apply:
            await asyncio.sleep(0)
            try:
                apply(totals)
            except Exception:  # noqa: BLE001 - a broken learner must not keep others from hearing what this worker learned
                self.counters.learner_errors += 1
                _log.exception("state exchange: applying")

    def _forget_expired(self) -> None:
        now = time.time()
        if now >= self._forget_at:
            self._forget_at = now + _FORGET_EVERY_S
            for key in [held for held in self._seen_sums if expired(held, now)]:
                del self._seen_sums[key]

    def _with_gathered(self, pull: Pull) -> Pull:
        """Return the pull with what was collected here and not delivered yet: the totals do not hold it."""
        waiting = self._gathered
        mine = {key: waiting.sums[key] for key in pull.sums if key in waiting.sums}
        if not mine:
            return pull
        sums = {key: dict(fields) for key, fields in pull.sums.items()}
        add_sums(sums, mine)
        return dataclasses.replace(pull, sums=sums)

    async def _gather(self) -> None:
        try:
            for piece in self._collect():
                self._add(piece)
                await asyncio.sleep(0)
        except Exception:  # noqa: BLE001 - a broken learner must not end the exchange
            self.counters.learner_errors += 1
            _log.exception("state exchange: collecting")

    def _add(self, piece: Batch) -> None:
        waiting = self._gathered
        add_sums(waiting.sums, piece.sums)
        join_maxima(waiting.maxima, piece.maxima)
        for kind, document_id, data, expires in piece.documents:
            before = waiting.documents.pop((kind, document_id), None)
            waiting.documents[kind, document_id] = (data, expires)
            waiting.document_bytes += len(data) - (0 if before is None else len(before[0]))
        waiting.ledger.extend(piece.ledger)
        while len(waiting.documents) > self._max_documents or waiting.document_bytes > self._max_document_bytes:
            data, _ = waiting.documents.pop(next(iter(waiting.documents)))
            waiting.document_bytes -= len(data)
            self.counters.dropped_documents += 1
        while len(waiting.ledger) > self._max_rows:
            waiting.ledger.popleft()
            self.counters.dropped_rows += 1

    def _seal(self) -> Batch:
        waiting, self._gathered = self._gathered, _Gathered()
        self._sequence += 1
        documents = [(kind, name, data, expires) for (kind, name), (data, expires) in waiting.documents.items()]
        return Batch(f"{self.worker}:{self._sequence}", waiting.sums, waiting.maxima, documents, tuple(waiting.ledger))

    async def _deliver(self) -> None:
        if self._outbox is None:
            return
        await self.store.push(self._outbox)
        self.counters.pushed += 1
        self._delivered.append(Batch(self._outbox.id, self._outbox.sums, self._outbox.maxima))
        self._outbox = None

    async def _restore(self) -> None:
        """Give an emptied store back what was in it: the first worker its whole memory, everyone their last batches.

        ``marks`` say what a memory contains, so a batch that is in it is not counted again.
        """
        # One name for all: an emptied memory has no marks, so whoever is first fills it, and nobody after. Named by the
        # memory's epoch it could happen twice: the first to look finds no epoch yet, the next one finds a new one.
        whole = Batch("restore:1", self._seen_sums, self._seen_maxima, marks=self._seen_marks)
        await self.store.push(whole)
        for batch in self._delivered:
            await self.store.push(batch)
        self.counters.restored += 1
        _log.warning("the state store had lost its memory; it was restored from this worker's")

    @property
    def waiting(self) -> Sequence[int]:
        """How much is held back: (series, documents, ledger rows)."""
        held, outbox = self._gathered, self._outbox
        return (
            len(held.sums) + (len(outbox.sums) if outbox else 0),
            len(held.documents) + (len(outbox.documents) if outbox else 0),
            len(held.ledger) + (len(outbox.ledger) if outbox else 0),
        )
