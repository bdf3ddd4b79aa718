"""Tells another system of anomalies: one POST of JSON each, in the background, never in anybody's way.

Only https, or plain http to this machine. Redirects are not followed. What cannot be delivered is tried again twice and
then dropped and counted; a full queue drops the oldest.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import deque
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from gateway.secrets import scrub

MAX_WAITING: Final = 100
_TIMEOUT_S: Final = 10.0
_WAITS_S: Final = (0.0, 2.0, 10.0)


def check_url(url: str) -> str:
    """Return the URL when it may be called; raises ValueError, which does not repeat it (it may hold a token)."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and parts.hostname and _loopback(parts.hostname):
        return url
    msg = "a webhook needs an https URL, or http to this machine (localhost, 127.0.0.1, [::1])"
    raise ValueError(msg)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Webhook:
    """Delivers events in order. ``tell`` never waits; ``start`` and ``stop`` belong to the gateway's life."""

    def __init__(self, url: str, *, waits_s: tuple[float, ...] = _WAITS_S) -> None:
        """Deliver to this URL. Raises ValueError when it may not be called."""
        self._url = check_url(url)
        self._waits_s = waits_s
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.delivered = 0
        self.dropped = 0
        self.last_error = ""

    def tell(self, kind: str, data: Mapping[str, Any]) -> None:
        """Queue one event: ``{"type": kind, "data": data}``."""
        if len(self._waiting) == MAX_WAITING:
            self.dropped += 1
        self._waiting.append(orjson.dumps({"type": kind, "data": data}, default=str))
        self._wake.set()

    def start(self) -> None:
        """Begin delivering, on the running loop."""
        self._task = asyncio.create_task(self._run(), name="webhook")

    async def stop(self) -> None:
        """End; what waits is dropped."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._deliver(session, self._waiting.popleft())

    async def _deliver(self, session: aiohttp.ClientSession, body: bytes) -> None:
        for wait_s in self._waits_s:
            await asyncio.sleep(wait_s)
            try:
                headers = {"content-type": "application/json"}
                async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                    if answer.status < 300:
                        self.delivered += 1
                        return
                    self.last_error = f"status {answer.status}"
                    if answer.status < 500 and answer.status != 429:
                        break
            except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                self.last_error = scrub(type(exc).__name__)
        self.dropped += 1
