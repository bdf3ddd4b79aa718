"""Decision ids that prove themselves, and the last decisions in memory.

An id is ``dec_`` + time, worker and counter in hex + a keyed hash over them, so feedback for an id that another
worker made can be told from one that nobody made.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections import OrderedDict
from typing import Any, Generic, NamedTuple, TypeVar

from router_core.task import TaskType

T = TypeVar("T")
_BODY = 12
_MAC = 8


class DecisionIds:
    """Makes and checks decision ids. All workers of one installation share ``key``."""

    def __init__(self, key: bytes | None = None, worker: int | None = None) -> None:
        """Use a shared key, or one of this process's own."""
        self.key = key or secrets.token_bytes(32)
        self._before: bytes | None = None
        self._worker = (secrets.randbits(24) if worker is None else worker) & 0xFFFFFF
        self._count = secrets.randbits(24)

    def rekey(self, key: bytes) -> None:
        """Take the key all workers share; ids given out under the one before stay good."""
        if key != self.key:
            self.key, self._before = key, self.key

    def new(self, at: float) -> str:
        """Return a fresh id made at wall-clock second ``at``."""
        self._count = (self._count + 1) & 0xFFFFFF
        body = struct.pack(">IQ", int(at) & 0xFFFFFFFF, self._worker << 40 | self._count << 16)[: _BODY - 2]
        return f"dec_{body.hex()}{_mac(body, self.key).hex()}"

    def made_at(self, decision_id: str) -> float | None:
        """Return when an id was made, or None when it is not one of ours."""
        if len(decision_id) > 64 or not decision_id.startswith("dec_"):
            return None
        try:
            raw = bytes.fromhex(decision_id[4:])
        except ValueError:
            return None
        body, mac = raw[:-_MAC], raw[-_MAC:]
        if len(body) != _BODY - 2 or raw.hex() != decision_id[4:]:  # one spelling only, as it was given out
            return None
        good = hmac.compare_digest(mac, _mac(body, self.key))
        if not good and (self._before is None or not hmac.compare_digest(mac, _mac(body, self._before))):
            return None
        return float(struct.unpack(">I", body[:4])[0])


def _mac(body: bytes, key: bytes) -> bytes:
    return hashlib.blake2s(body, key=key, digest_size=_MAC).digest()


class Served(NamedTuple):
    """What a vote needs to know of its decision."""

    deployment: str | None
    task: TaskType
    secondary: TaskType | None
    key_id: str
    features: Any = None
    expected: float | None = None
    arm: tuple[str, str] | None = None


class Recorded(NamedTuple):
    """A past decision: what a vote needs to know of it, and its record as JSON."""

    served: Served
    data: bytes


class RecentDecisions(Generic[T]):
    """The last finished requests by decision id, newest kept."""

    def __init__(self, most: int = 2000) -> None:
        """Begin empty."""
        self._most = most
        self._held: OrderedDict[str, T] = OrderedDict()

    def put(self, decision_id: str, value: T) -> None:
        """Keep one, forgetting the oldest beyond the bound."""
        self._held[decision_id] = value
        if len(self._held) > self._most:
            self._held.popitem(last=False)

    def get(self, decision_id: str) -> T | None:
        """Return one, or None."""
        return self._held.get(decision_id)
