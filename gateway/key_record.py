"""One virtual key as it is stored, and what an operator does with it: create, rotate, revoke, list."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Protocol

import orjson

from gateway.store_errors import StoreError, StoreUnavailable
from router_core.budget import Budget, Window
from router_core.errors import ConfigError
from router_core.limits import KeyLimits
from router_core.ports import DocumentStore, EventStore
from router_core.task import TaskType

__all__ = ["KIND", "META_ID", "META_KIND", "TOPIC", "KeyAdmin", "KeyRecord", "UnknownKey"]

KIND: Final = "keys"
META_KIND: Final = "keys-meta"
META_ID: Final = "version"
TOPIC: Final = "keys"
_SCHEMA: Final = 1
_TRIES: Final = 20
_WORD: Final = re.compile(r"[A-Za-z0-9._:/@+#-]{1,256}")
_EDITABLE: Final = ("name", "models", "tasks", "policy", "hints", "tags", "budgets", "limits", "capture", "expires_at")


class UnknownKey(LookupError):
    """No key has this id."""


class KeyAdminStore(DocumentStore, EventStore, Protocol):
    """What managing keys needs of a store."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A stored key. ``digest`` is the SHA-256 of the token in hex; the token itself is shown once and never kept.

    ``previous`` are digests a rotation left good for a while: (hex digest, wall-clock second it ends). Times are
    wall-clock seconds. ``models`` and ``tasks`` None: all. ``unknown`` holds fields a newer gateway wrote, kept as
    they are.
    """

    key_id: str
    digest: str
    created_at: float
    name: str = ""
    models: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    policy: str | None = None
    hints: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] = ()
    limits: KeyLimits = field(default_factory=KeyLimits)
    capture: bool = True
    expires_at: float | None = None
    revoked_at: float | None = None
    rotated_at: float | None = None
    previous: tuple[tuple[str, float], ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse words that are none, unknown tasks, and times that cannot be."""
        for group in ("models", "tasks", "tags"):
            for word in getattr(self, group) or ():
                if not isinstance(word, str) or not _WORD.fullmatch(word):
                    msg = f"{group}: {word!r} must be 1 to 256 of letters, digits and . _ : / @ + # -"
                    raise ConfigError(msg)
        known = {task.value for task in TaskType}
        for task in self.tasks or ():
            if task not in known:
                msg = f"tasks: {task!r} is none of {', '.join(sorted(known))}"
                raise ConfigError(msg)
        if len(self.name) > 200 or not all(char.isprintable() for char in self.name):
            msg = "name must be at most 200 printable characters"
            raise ConfigError(msg)
        if len({budget.window for budget in self.budgets}) != len(self.budgets):
            msg = "budgets: at most one per window"
            raise ConfigError(msg)
        if self.expires_at is not None and not 0.0 < self.expires_at < 1e11:
            msg = f"expires_at must be seconds since 1970, not {self.expires_at!r}"
            raise ConfigError(msg)

    def digests(self) -> Iterator[tuple[bytes, float | None]]:
        """Yield the digests that open this key, each with the second it stops to."""
        yield bytes.fromhex(self.digest), self.expires_at
        for digest, until in self.previous:
            ends = until if self.expires_at is None else min(until, self.expires_at)
            yield bytes.fromhex(digest), ends

    def to_json(self) -> bytes:
        """Write the record as it is stored."""
        return orjson.dumps(
            {**self.unknown, **self.shown(), "v": _SCHEMA, "digest": self.digest, "previous": self.previous}
        )

    def shown(self) -> dict[str, Any]:
        """Return what an operator may see: everything but the hashes."""
        return {
            "id": self.key_id,
            "name": self.name,
            "models": self.models,
            "tasks": self.tasks,
            "policy": self.policy,
            "hints": dict(self.hints),
            "tags": self.tags,
            "budgets": [{"window": budget.window.value, "usd": budget.usd} for budget in self.budgets],
            "limits": {spec.name: getattr(self.limits, spec.name) for spec in fields(KeyLimits)},
            "capture": self.capture,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
            "rotated_at": self.rotated_at,
        }

    @classmethod
    def from_json(cls, key_id: str, data: bytes) -> KeyRecord | None:
        """Read a stored record; None when it is no such thing. A key nobody can read opens nothing."""
        try:
            value = orjson.loads(data)
            digest = value.pop("digest")
            if len(bytes.fromhex(digest)) != hashlib.sha256().digest_size:
                return None
            previous = tuple((str(old), float(until)) for old, until in value.pop("previous", ()) or ())
            value.pop("v", None)
            value.pop("id", None)
            times = {name: value.pop(name, None) for name in ("created_at", "revoked_at", "rotated_at")}
            changes = {name: value.pop(name) for name in _EDITABLE if name in value}
            record = cls(key_id, digest, float(times["created_at"] or 0.0), previous=previous, unknown=value)
            record = replace(record, revoked_at=times["revoked_at"], rotated_at=times["rotated_at"])
            return record.edited(changes)
        except (ValueError, TypeError, KeyError, AttributeError, ConfigError):
            return None

    def edited(self, changes: Mapping[str, Any]) -> KeyRecord:
        """Return the record with plain JSON values changed; raises ConfigError that names the field."""
        values: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in _EDITABLE:
                msg = f"{name}: unknown field; allowed: {', '.join(_EDITABLE)}"
                raise ConfigError(msg)
            try:
                values[name] = _READERS[name](value)
            except (TypeError, ValueError, KeyError, AttributeError) as exc:
                msg = f"{name}: {value!r} is not understood"
                raise ConfigError(msg) from exc
        return replace(self, **values)


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(word, str) for word in value):
        raise TypeError
    return tuple(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _optional(read: Any) -> Any:
    return lambda value: None if value is None else read(value)


def _budgets(value: Any) -> tuple[Budget, ...]:
    return tuple(Budget(Window(entry["window"]), float(entry["usd"])) for entry in value or ())


def _limits(value: Any) -> KeyLimits:
    return KeyLimits(**{name: None if number is None else int(number) for name, number in (value or {}).items()})


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


_READERS: Final[Mapping[str, Any]] = {
    "name": _text,
    "models": _optional(_words),
    "tasks": _optional(_words),
    "policy": _optional(_text),
    "hints": lambda value: dict(value or {}),
    "tags": _words,
    "budgets": _budgets,
    "limits": _limits,
    "capture": _bool,
    "expires_at": _optional(float),
}


def _new_token(key_id: str) -> str:
    """256 random bits; the prefix lets people and scanners of leaked secrets recognise it, the id lets us find it."""
    return f"sk-moe-{key_id}-{secrets.token_urlsafe(32)}"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class KeyAdmin:
    """Creates, changes, rotates, revokes and lists the keys of one store, and tells all workers at once."""

    def __init__(self, store: KeyAdminStore, *, wall: Callable[[], float] = time.time) -> None:
        self._store = store
        self._wall = wall

    async def create(self, changes: Mapping[str, Any]) -> tuple[KeyRecord, str]:
        """Make a key; returns the record and the token, which nobody can show again. Raises ConfigError, StoreError."""
        key_id = base64.b32encode(secrets.token_bytes(5)).decode().lower()
        token = _new_token(key_id)
        record = KeyRecord(key_id, _digest(token), self._wall()).edited(changes)
        await self._store.put(KIND, key_id, record.to_json())
        await self._tell(record)
        return record, token

    async def update(self, key_id: str, changes: Mapping[str, Any]) -> KeyRecord:
        """Change what a key allows; raises UnknownKey, ConfigError, StoreError."""
        return await self._change(key_id, lambda record: record.edited(changes))

    async def rotate(self, key_id: str, *, grace_s: float = 0.0) -> tuple[KeyRecord, str]:
        """Give a key a new token; the old one stays good for ``grace_s`` seconds."""
        now, token = self._wall(), _new_token(key_id)

        def rotated(record: KeyRecord) -> KeyRecord:
            if record.revoked_at is not None:
                msg = f"key {key_id} is revoked"
                raise ConfigError(msg)
            kept = [entry for entry in record.previous if entry[1] > now]
            if grace_s > 0.0:
                kept.append((record.digest, now + grace_s))
            return replace(record, digest=_digest(token), previous=tuple(kept[-4:]), rotated_at=now)

        return await self._change(key_id, rotated), token

    async def revoke(self, key_id: str) -> KeyRecord:
        """End a key for good, with every token it had; doing it twice keeps the first time."""
        now = self._wall()
        return await self._change(
            key_id, lambda record: replace(record, revoked_at=record.revoked_at or now, previous=())
        )

    async def list(self, *, limit: int = 1000) -> Sequence[KeyRecord]:
        """Return all readable keys, revoked ones included."""
        found = [KeyRecord.from_json(key_id, data) for key_id, data in await self._store.list(KIND, limit=limit)]
        return sorted((record for record in found if record is not None), key=lambda record: record.created_at)

    async def _change(self, key_id: str, change: Callable[[KeyRecord], KeyRecord]) -> KeyRecord:
        """Write a changed record over the one it was made of, again when somebody was faster; raises UnknownKey.

        Two operators may work on one key at once: an edit must never bring back what a revocation ended.
        """
        for _ in range(_TRIES):
            data = await self._store.get(KIND, key_id)
            record = None if data is None else KeyRecord.from_json(key_id, data)
            if record is None:
                msg = f"there is no key {key_id[:40]!r}"
                raise UnknownKey(msg)
            record = change(record)
            written = record.to_json()
            if await self._store.swap(KIND, key_id, written, data) or await self._store.get(KIND, key_id) == written:
                await self._tell(record)
                return record
        msg = f"key {key_id} is being changed by others; try again"
        raise StoreUnavailable(msg)

    async def _tell(self, record: KeyRecord) -> None:
        await self._store.put(META_KIND, META_ID, secrets.token_hex(8).encode())
        with contextlib.suppress(StoreError):  # what is written is found without being told, a moment later
            await self._store.publish(TOPIC, record.key_id.encode())
