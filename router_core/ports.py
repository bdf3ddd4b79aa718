"""What the core asks of the outside: a forwarder, a store, a sink. One method where one is enough."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from router_core.budget import LeaseRequest, LeaseState
from router_core.deployment import Deployment, Provider
from router_core.limits import BucketRequest, BucketState
from router_core.outcome import AttemptOutcome, RequestOutcome, Usage


@dataclass(slots=True)
class Call:
    """One call to make, not to be changed: the client's body stays as it came, the rest says what to change in it.

    ``body`` is the client's parsed request without our own fields and must not be mutated. ``overrides`` replace its
    top-level values (None removes one); the model is set from the deployment by the forwarder. ``deadline`` is
    the clock's monotonic second at which everything must have ended. ``connect_s`` bounds the connection alone,
    ``stall_s`` the silence within a whole answer once it has begun (None: unbounded).
    """

    deployment: Deployment
    provider: Provider
    body: Mapping[str, Any]
    stream: bool
    deadline: float
    connect_s: float = 5.0
    overrides: Mapping[str, Any] = field(default_factory=dict)
    request_id: str = ""
    drop_params: bool = False
    event_bytes: int = 16 * 1024 * 1024
    body_bytes: int = 64 * 1024 * 1024
    stall_s: float | None = None


@dataclass(slots=True)
class Event:
    """One event of a stream in OpenAI's chunk shape.

    ``chunk`` is the parsed object; ``raw`` its JSON bytes as they came, None once it was changed or was translated.
    ``comment`` marks keep-alives (no chunk). ``malformed`` marks an event that was not JSON; its bytes are dropped.
    ``done`` marks ``[DONE]``.
    """

    chunk: dict[str, Any] | None = None
    raw: bytes | None = None
    comment: bool = False
    malformed: bool = False
    done: bool = False


@dataclass(slots=True)
class Answer:
    """A whole answer in OpenAI's shape; ``raw`` are its bytes as they came (None: translated)."""

    body: dict[str, Any]
    raw: bytes | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    dropped_params: tuple[str, ...] = ()


@runtime_checkable
class Stream(Protocol):
    """An open stream. Iterating raises AttemptFailed when it breaks; ``aclose`` closes the upstream socket at once."""

    status: int
    headers: Mapping[str, str]
    dropped_params: tuple[str, ...]

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events until the upstream ends."""
        ...

    async def aclose(self) -> None:
        """Close the upstream connection; safe to call twice."""
        ...


class Forwarder(Protocol):
    """Carries one call to its provider."""

    async def send(self, call: Call) -> Answer | Stream:
        """Return an answer, or an open stream when ``call.stream``; raises AttemptFailed. Cancelling closes it."""
        ...


class EventSink(Protocol):
    """Hears of every finished attempt and request, after the last byte. Must not block or raise."""

    def attempt(self, outcome: AttemptOutcome) -> None:
        """Hear of one finished call."""
        ...

    def request(self, outcome: RequestOutcome, record: Mapping[str, Any], data: bytes) -> None:
        """Hear of one finished request; ``record`` is its record as it is stored (``compact``), ``data`` its JSON."""
        ...


Sums = Mapping[str, Mapping[str, float]]
"""Series key -> field -> increment. Increments are forward-decayed (``decay.py``), so adding is merging."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one worker learned since its last exchange; pushing the same ``id`` twice counts once.

    ``id`` is ``worker:sequence``. ``sums`` are added, ``maxima`` joined by maximum, ``documents`` are (kind, id, JSON
    bytes, expiry in wall-clock seconds or None), last write wins. ``marks`` (worker -> sequence) are the batches a
    restored memory already contains; only a worker that hands a lost memory back to an emptied store fills them in.
    """

    id: str
    sums: Sums = field(default_factory=dict)
    maxima: Mapping[str, float] = field(default_factory=dict)
    documents: Sequence[tuple[str, str, bytes, float | None]] = ()
    ledger: Sequence[Mapping[str, Any]] = ()
    marks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pull:
    """What changed in the store since ``cursor``: whole totals of the changed series, joined maxima.

    ``epoch`` names this memory of the store: it changes when the store was emptied or replaced. ``marks`` is the last
    batch sequence of every worker that these totals contain.
    """

    cursor: str
    sums: Sums = field(default_factory=dict)
    maxima: Mapping[str, float] = field(default_factory=dict)
    epoch: str = ""
    marks: Mapping[str, int] = field(default_factory=dict)


class LearningStore(Protocol):
    """The part of a store through which workers share what they learned."""

    async def push(self, batch: Batch) -> None:
        """Add a batch; the same batch id counts once. A worker's batches arrive in the order of their sequence."""
        ...

    async def pull(self, cursor: str) -> Pull:
        """Return what changed since a cursor (empty: everything)."""
        ...


class DocumentStore(Protocol):
    """The part of a store that keeps documents: decisions, experiments, feedback, virtual keys."""

    async def put(self, kind: str, document_id: str, data: bytes, expires: float | None = None) -> None:
        """Keep a document until ``expires`` (wall-clock seconds; None: for good); the last write wins."""
        ...

    async def swap(
        self, kind: str, document_id: str, data: bytes, expected: bytes | None, expires: float | None = None
    ) -> bool:
        """Keep a document only if it still is what the writer read (None: there was none); whether it was written."""
        ...

    async def get(self, kind: str, document_id: str) -> bytes | None:
        """Return a document's JSON bytes, or None."""
        ...

    async def list(self, kind: str, *, limit: int = 100, before: str = "") -> Sequence[tuple[str, bytes]]:
        """Return documents of a kind, newest id first."""
        ...

    async def delete(self, kind: str, document_id: str) -> None:
        """Forget a document."""
        ...


class LedgerStore(Protocol):
    """The part of a store that keeps the booked attempts; rows are written by ``Batch.ledger``."""

    async def ledger(
        self, *, since: float = 0.0, until: float | None = None, after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return (position, row) of rows booked at ``since <= at < until`` behind a position, oldest first."""
        ...


class LeaseStore(Protocol):
    """The part of a store that lends: money of budgets, credit of rate limits. Each call is one transaction."""

    async def lease(self, request: LeaseRequest) -> LeaseState:
        """Report to an account and ask for more (``budget.grant``)."""
        ...

    async def take(self, request: BucketRequest) -> BucketState:
        """Ask a shared bucket for credit (``limits.take``)."""
        ...


class EventStore(Protocol):
    """The part of a store through which workers tell each other what cannot wait."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Tell all other workers now (breaker changes, ejections, revoked keys)."""
        ...

    def subscribe(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what others published: (topic, payload). Never raises because the store is away: it waits."""
        ...


class StateStore(LearningStore, DocumentStore, LedgerStore, LeaseStore, EventStore, Protocol):
    """Shared memory of all workers. Called by background tasks only; the request path never waits for it.

    Every method may raise the gateway's StoreError.
    """

    shared: bool
    """Whether other processes can see this store; a private one needs no leases and no events."""

    async def open(self) -> None:
        """Connect or create; raises StoreError of the gateway when it cannot."""
        ...

    async def close(self) -> None:
        """Write what is buffered and disconnect."""
        ...

    async def prune(self, *, ledger_before: float = 0.0) -> None:
        """Forget what expired, and ledger rows booked before a wall-clock second; keeps every table bounded."""
        ...


__all__ = [
    "Answer",
    "Batch",
    "Call",
    "DocumentStore",
    "Event",
    "EventSink",
    "EventStore",
    "Forwarder",
    "LearningStore",
    "LeaseStore",
    "LedgerStore",
    "Pull",
    "StateStore",
    "Stream",
    "Sums",
    "Usage",
]
