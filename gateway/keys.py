"""Virtual keys: who may call, which models, for how much. Only a hash of a key is ever kept.

A request is judged by ``KeyRing.authenticate`` on this worker's memory alone; the ring follows the store in the
background, so a key made or revoked anywhere counts everywhere within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from gateway.key_record import KIND, META_ID, META_KIND, KeyRecord
from gateway.paging import documents
from gateway.store_errors import StoreError
from router_core.budget import Budget
from router_core.limits import KeyLimits
from router_core.ports import DocumentStore

__all__ = ["ANONYMOUS", "KeyRing", "Principal"]

_log = logging.getLogger("gateway.keys")

MAX_TOKEN_BYTES: Final = 512
POLL_S: Final = 0.4
"""Seconds between looks at the store's key version; with the reload it stays below the promised second."""
FULL_RELOAD_S: Final = 30.0
_NOBODY: Final = hashlib.sha256(b"nobody").digest()
_NO_LIMITS: Final = KeyLimits()
_NO_HINTS: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling and what that allows. None in ``allowed_*`` means everything.

    ``default_hints`` count where the client said nothing. ``capture`` False: this caller's prompts are never kept.
    ``expires_at`` is wall-clock seconds.
    """

    key_id: str
    name: str = ""
    admin: bool = False
    metrics: bool = False
    allowed_models: frozenset[str] | None = None
    allowed_tasks: frozenset[str] | None = None
    default_policy: str | None = None
    default_hints: Mapping[str, Any] = field(default_factory=lambda: _NO_HINTS, compare=False)
    tags: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] = ()
    limits: KeyLimits = _NO_LIMITS
    capture: bool = True
    expires_at: float | None = None


ANONYMOUS: Final = Principal("anonymous", admin=True, metrics=True)
"""Everybody, on a loopback gateway without any keys."""


@dataclass(frozen=True, slots=True)
class _Entry:
    digest: bytes
    principal: Principal
    until: float | None


class KeyRing:
    """All keys this gateway knows: the static ones of its environment, and the virtual ones of its store.

    ``authenticate`` is synchronous and O(1). While the store is away the last known keys stay good.
    """

    def __init__(
        self,
        *,
        api_keys: Iterable[str] = (),
        admin_keys: Iterable[str] = (),
        metrics_keys: Iterable[str] = (),
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._wall = wall
        self._static: dict[bytes, _Entry] = {}
        for keys, role in ((metrics_keys, "metrics"), (api_keys, "env"), (admin_keys, "admin")):
            for key in filter(None, (key.strip() for key in keys)):
                digest = hashlib.sha256(key.encode()).digest()
                principal = Principal(
                    f"{role}-{digest.hex()[:8]}", role, admin=role == "admin", metrics=role in {"admin", "metrics"}
                )
                self._static[digest] = _Entry(digest, principal, None)
        self._table: dict[bytes, _Entry] = dict(self._static)
        self._by_id: dict[str, Principal] = {entry.principal.key_id: entry.principal for entry in self._static.values()}
        self._known: dict[str, bytes] = {}
        self._version: bytes | None = None
        self._loaded_at = float("-inf")
        self._wake = asyncio.Event()
        self._any_record = False
        self.broken_records = 0
        self.last_error = ""

    @property
    def empty(self) -> bool:
        """Whether no key was ever made: then a loopback gateway is open to everybody on its machine.

        A revoked or unreadable key counts as made: taking the last one away must not open the door.
        """
        return not self._static and not self._any_record

    @property
    def has_admin(self) -> bool:
        """Whether any admin key exists."""
        return any(entry.principal.admin for entry in self._table.values())

    def authenticate(self, token: bytes | str | None) -> Principal | None:
        """Return who a token belongs to, or None: unknown, expired, revoked, odd, too long. Never raises.

        Tokens are compared as hashes, on bytes, in constant time; the table is found by hash, which tells nothing.
        """
        if not token:
            return None
        raw = token if isinstance(token, bytes) else token.encode("utf-8", "surrogatepass")
        if len(raw) > MAX_TOKEN_BYTES:
            return None
        digest = hashlib.sha256(raw).digest()
        entry = self._table.get(digest)
        if not hmac.compare_digest(digest, entry.digest if entry is not None else _NOBODY) or entry is None:
            return None
        if entry.until is not None and self._wall() >= entry.until:
            return None
        return entry.principal

    def principal(self, key_id: str) -> Principal | None:
        """Return a key's principal by its id."""
        return self._by_id.get(key_id)

    def install(self, records: Iterable[KeyRecord]) -> None:
        """Replace all virtual keys at once; a static key is never shadowed."""
        table: dict[bytes, _Entry] = {}
        by_id: dict[str, Principal] = {}
        for record in records:
            self._any_record = True
            if record.revoked_at is not None:
                continue
            principal = principal_of(record)
            by_id[record.key_id] = principal
            for digest, until in record.digests():
                table[digest] = _Entry(digest, principal, until)
        for entry in self._static.values():
            table[entry.digest] = entry
            by_id[entry.principal.key_id] = entry.principal
        self._table, self._by_id = table, by_id

    async def reload(self, store: DocumentStore) -> None:
        """Read all keys from the store; raises StoreError and leaves the ring as it was when it cannot."""
        version = await store.get(META_KIND, META_ID)
        found = {key_id: data async for key_id, data in documents(store, KIND)}
        if self._known and version is None and not found:
            await self._give_back(store)
            return
        records: list[KeyRecord] = []
        broken = 0
        for key_id, data in found.items():
            record = KeyRecord.from_json(key_id, data)
            if record is None:
                broken += 1
            else:
                records.append(record)
        if broken > self.broken_records:
            _log.warning("%d stored keys cannot be read and are ignored", broken)
        self.broken_records = broken
        self._any_record |= broken > 0
        self.install(records)
        self._known, self._version, self._loaded_at = found, version, time.monotonic()

    async def _give_back(self, store: DocumentStore) -> None:
        """Write all keys, revoked ones too, into a store that forgot them: keys are revoked, never deleted.

        What another worker wrote meanwhile stays.
        """
        for key_id, data in self._known.items():
            await store.swap(KIND, key_id, data, None)
        await store.swap(META_KIND, META_ID, secrets.token_hex(8).encode(), None)
        _log.warning("the state store had lost %d virtual keys; this worker gave them back", len(self._known))

    def poke(self) -> None:
        """Look at the store now: somebody published that keys changed."""
        self._wake.set()

    async def follow(self, store: DocumentStore) -> None:
        """Keep the ring up to date until cancelled; a store that is away leaves it as it is."""
        while True:
            try:
                version = await store.get(META_KIND, META_ID)
                if version != self._version or time.monotonic() - self._loaded_at > FULL_RELOAD_S:
                    await self.reload(store)
                self.last_error = ""
            except StoreError as exc:
                self.last_error = str(exc)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_S)
            self._wake.clear()


def principal_of(record: KeyRecord) -> Principal:
    """Return what a stored key allows."""
    return Principal(
        record.key_id,
        record.name,
        allowed_models=None if record.models is None else frozenset(record.models),
        allowed_tasks=None if record.tasks is None else frozenset(record.tasks),
        default_policy=record.policy,
        default_hints=MappingProxyType(dict(record.hints)),
        tags=record.tags,
        budgets=record.budgets,
        limits=record.limits,
        capture=record.capture,
        expires_at=record.expires_at,
    )
