"""``Idempotency-Key``: a repeated request joins or replays the first one, so that a retry is not billed twice.

What is recorded are the bytes that went to the client, a stream's events included, for ten minutes and in bounded
memory. Answers that ask to be tried again (429, 5xx) and requests that never got one are forgotten. A whole answer is
also left in the shared store, where the worker that gets the retry finds it; joining one that is still running works
on the same worker only.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from gateway.http.errors import ApiError
from gateway.store_errors import StoreError
from router_core.ports import DocumentStore

__all__ = ["Idempotency", "key_of"]

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Work = Callable[[Send], Awaitable[None]]
Keep = Callable[[str, str, bytes, float | None], None]

HEADER: Final = b"idempotency-key"
KIND: Final = "idempotency"
TTL_S: Final = 600.0
_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}")
_MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_BYTES_EACH: Final = 4 * 1024 * 1024
_MOST_SHARED: Final = 256 * 1024
_MOST_ENTRIES: Final = 10_000
_STORE_WAIT_S: Final = 0.1
_FORGET: Final = frozenset({408, 409, 425, 429, 499})
_REPLAYED: Final = (b"idempotent-replayed", b"true")


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the request's key, None without one; raises ApiError 400 for one that is odd or given twice."""
    found = [value.strip() for name, value in headers if name == HEADER]
    if not found:
        return None
    if len(found) > 1 or not _KEY.fullmatch(found[0]):
        msg = "Idempotency-Key must be given once, as 1 to 255 printable ASCII characters without spaces"
        raise ApiError(400, msg, "invalid_idempotency_key", "Idempotency-Key", should_retry=False)
    return found[0]


@dataclass(slots=True, eq=False)
class _Entry:
    """One first request: what it asked, what went out so far, and how it ended."""

    body: bytes
    until: float
    messages: list[Message] = field(default_factory=list)
    size: int = 0
    status: int = 0
    done: bool = False
    dropped: bool = False
    too_large: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Wake everyone who joined."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Idempotency:
    """Remembers answers by caller and key. ``keep`` queues a document for the store; it must not block."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        store: DocumentStore | None = None,
        keep: Keep | None = None,
        most_bytes: int = _MOST_BYTES,
        most_bytes_each: int = _MOST_BYTES_EACH,
    ) -> None:
        self._clock = clock
        self._store = store
        self._keep = keep
        self._most_bytes = most_bytes
        self._most_bytes_each = most_bytes_each
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size = 0
        self.replayed = 0

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size

    async def run(self, caller: str, key: bytes | None, body: bytes, send: Send, work: Work) -> None:
        """Do the work, or send again what it answered to this caller's same request.

        Without a key the work is simply done. Raises ApiError 422 when the key came with another body before, 409 when
        the first answer is too large to be repeated, and whatever the work raises.
        """
        if key is None:
            await work(send)
            return
        name = hashlib.sha256(caller.encode() + b"\x00" + key).hexdigest()
        digest = hashlib.sha256(body).digest()
        while True:
            entry = self._find(name) or await self._fetch(name)
            if entry is None:
                await self._first(name, digest, send, work)
                return
            if entry.body != digest:
                msg = "this Idempotency-Key was used with another request before"
                raise ApiError(422, msg, "idempotency_key_reused", "Idempotency-Key", should_retry=False)
            if await self._replay(entry, send):
                self.replayed += 1
                return

    def _find(self, name: str) -> _Entry | None:
        entry = self._entries.get(name)
        if entry is not None and entry.done and self._clock() >= entry.until:
            self._drop(name, entry)
            return None
        return entry

    async def _first(self, name: str, digest: bytes, send: Send, work: Work) -> None:
        entry = _Entry(digest, self._clock() + TTL_S)
        self._entries[name] = entry
        self._make_room()

        async def tee(message: Message) -> None:
            self._record(entry, message)
            await send(message)

        try:
            await work(tee)
        except BaseException:
            self._drop(name, entry)
            raise
        if entry.dropped or not entry.messages or entry.status in _FORGET or entry.status >= 500:
            self._drop(name, entry)
            return
        entry.done = True
        entry.until = self._clock() + TTL_S
        entry.tell()
        self._share(name, entry)

    def _record(self, entry: _Entry, message: Message) -> None:
        if message["type"] == "http.response.start":
            entry.status = int(message["status"])
        size = len(message.get("body", b""))
        if entry.size + size > self._most_bytes_each:
            entry.too_large = True
            self._size -= entry.size
            entry.size = 0
            entry.messages = entry.messages[:1]
        if not entry.too_large and not entry.dropped:
            entry.messages.append(dict(message))
            entry.size += size
            self._size += size
        entry.tell()

    async def _replay(self, entry: _Entry, send: Send) -> bool:
        """Send what was recorded, and what comes, to its end; False when the first request came to nothing."""
        sent = 0
        while True:
            if entry.too_large:
                msg = "the first answer to this Idempotency-Key is too large to be repeated"
                raise ApiError(409, msg, "idempotency_answer_too_large", should_retry=False)
            if entry.dropped and not sent:
                return False
            if entry.dropped:
                raise ApiError(409, "the first request with this Idempotency-Key broke off", "idempotency_broken_off")
            changed = entry.changed
            while sent < len(entry.messages):
                message = entry.messages[sent]
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message.get("headers", ()), _REPLAYED]}
                await send(message)
                sent += 1
            if entry.done:
                return True
            if sent == len(entry.messages):
                await changed.wait()

    def _drop(self, name: str, entry: _Entry) -> None:
        if self._entries.get(name) is entry:
            del self._entries[name]
        if not entry.dropped:
            entry.dropped = True
            self._size -= entry.size
            entry.tell()

    def _make_room(self) -> None:
        """Forget the oldest finished answers while there is too much; running ones are bounded by admission."""
        for name, entry in list(self._entries.items()):
            if self._size <= self._most_bytes and len(self._entries) <= _MOST_ENTRIES:
                return
            if entry.done:
                self._drop(name, entry)

    def _share(self, name: str, entry: _Entry) -> None:
        if self._keep is None or entry.size > _MOST_SHARED or entry.too_large:
            return
        messages = [
            {
                **{key: value for key, value in message.items() if key not in {"body", "headers"}},
                "headers": [
                    [key.decode("latin-1"), value.decode("latin-1")] for key, value in message.get("headers", ())
                ],
                "body": base64.b64encode(message.get("body", b"")).decode(),
            }
            for message in entry.messages
        ]
        data = orjson.dumps({"v": 1, "request": entry.body.hex(), "messages": messages})
        self._keep(KIND, name, data, time.time() + TTL_S)

    async def _fetch(self, name: str) -> _Entry | None:
        """Look for an answer another worker left in the store, for a moment only; no answer in time means none."""
        if self._store is None:
            return None
        data = None
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_STORE_WAIT_S):
                data = await self._store.get(KIND, name)
        if data is None or name in self._entries:
            return self._entries.get(name)
        try:
            value = orjson.loads(data)
            messages = [_message(found) for found in value["messages"]]
            return _Entry(bytes.fromhex(value["request"]), self._clock() + TTL_S, messages, done=True)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def _message(found: dict[str, Any]) -> Message:
    message: Message = {key: value for key, value in found.items() if key not in {"body", "headers"}}
    if message["type"] == "http.response.start":
        message["headers"] = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in found["headers"]]
    else:
        message["body"] = base64.b64decode(found["body"])
    return message
