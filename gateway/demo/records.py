"""What the demo provider saw: one record a call, kept in memory, bounded."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

KEEP: Final = 20_000
KEEP_BYTES: Final = 64 << 20


@dataclass(slots=True)
class Recorded:
    """One upstream call. Times are of the machine's monotonic clock, in seconds; header names are lower-case.

    ``closed_at`` is when the answer had been written or the client was seen to leave; ``connection`` is the client's
    port, which names a connection.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    connection: int
    query: str = ""
    started_at: float = field(default_factory=time.monotonic)
    first_byte_at: float | None = None
    closed_at: float | None = None
    client_closed: bool = False
    fault: str | None = None

    def mark_first_byte(self) -> None:
        """Note when the answer's first byte went out."""
        if self.first_byte_at is None:
            self.first_byte_at = time.monotonic()

    def mark_closed(self, *, by_client: bool) -> None:
        """Note the call's end, once."""
        if self.closed_at is None:
            self.closed_at = time.monotonic()
            self.client_closed = by_client

    def row(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


class Recorder:
    """Keeps the last ``KEEP`` calls, and no more than ``KEEP_BYTES`` of bodies; ``enabled`` False keeps none."""

    def __init__(self) -> None:
        self.rows: deque[Recorded] = deque(maxlen=KEEP)
        self._bytes = 0
        self.enabled = True
        self.total = 0
        self.active = 0

    def add(self, record: Recorded, size: int = 0) -> None:
        """Keep a call whose body had ``size`` bytes; all earlier ones are forgotten when the bodies grow too large."""
        if self._bytes + size > KEEP_BYTES:
            self.clear()
        self._bytes += size
        self.rows.append(record)

    def clear(self) -> None:
        """Forget all calls; the running totals stay."""
        self.rows.clear()
        self._bytes = 0
