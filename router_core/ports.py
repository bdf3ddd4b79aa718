"""What the core asks of the outside: a forwarder, a store, a sink. One method where one is enough."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from router_core.deployment import Deployment, Provider
from router_core.outcome import AttemptOutcome, RequestOutcome, Usage


@dataclass(frozen=True, slots=True)
class Call:
    """One call to make: the client's body stays as it came, the rest says what to change in it.

    ``body`` is the client's parsed request without our own fields and must not be mutated. ``overrides`` replace its
    top-level values (None removes one); the model is set from the deployment by the forwarder. ``deadline`` is
    the clock's monotonic second at which everything must have ended. ``connect_s`` bounds the connection alone.
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
        """Return an answer, or an open stream when ``call.stream``; raises AttemptFailed. Cancelling closes the socket."""
        ...


class EventSink(Protocol):
    """Hears of every finished attempt and request, after the last byte. Must not block or raise."""

    def attempt(self, outcome: AttemptOutcome) -> None:
        """Hear of one finished call."""
        ...

    def request(self, outcome: RequestOutcome, record: Mapping[str, Any]) -> None:
        """Hear of one finished request; ``record`` is its decision record, ready for storage."""
        ...


Sums = Mapping[str, Mapping[str, float]]
"""Series key -> field -> increment. Increments are forward-decayed (``decay.py``), so adding is merging."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one worker learned since its last exchange; pushing the same ``id`` twice counts once.

    ``id`` is ``worker:sequence``. ``sums`` are added, ``maxima`` joined by maximum, ``documents`` are (kind, id, JSON bytes,
    expiry in wall-clock seconds or None), last write wins.
    """

    id: str
    sums: Sums = field(default_factory=dict)
    maxima: Mapping[str, float] = field(default_factory=dict)
    documents: Sequence[tuple[str, str, bytes, float | None]] = ()
    ledger: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Pull:
    """What changed in the store since ``cursor``: whole totals of the changed series, joined maxima."""

    cursor: str
    sums: Sums = field(default_factory=dict)
    maxima: Mapping[str, float] = field(default_factory=dict)


class StateStore(Protocol):
    """Shared memory of all workers. Called by background tasks only; the request path never waits for it."""

    async def open(self) -> None:
        """Connect or create; raises StoreError of the gateway when it cannot."""
        ...

    async def close(self) -> None:
        """Write what is buffered and disconnect."""
        ...

    async def push(self, batch: Batch) -> None:
        """Add a batch; the same batch id counts once."""
        ...

    async def pull(self, cursor: str) -> Pull:
        """Return what changed since a cursor (empty: everything)."""
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

    async def publish(self, topic: str, payload: bytes) -> None:
        """Tell all other workers now (breaker changes, ejections, revoked keys)."""
        ...

    def subscribe(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what others published: (topic, payload)."""
        ...


__all__ = [
    "Answer",
    "Batch",
    "Call",
    "Event",
    "EventSink",
    "Forwarder",
    "Pull",
    "StateStore",
    "Stream",
    "Sums",
    "Usage",
]
