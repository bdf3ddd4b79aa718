"""Carries bytes to a provider and back, and says what went wrong in the words of failures.

Time is the caller's: cancelling a call closes its socket at once. Only the connection has a limit of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from gateway.forward.exceptions import from_exception
from gateway.forward.failures import failed
from gateway.forward.http1.client import Client
from gateway.forward.http1.errors import Http1Error
from gateway.forward.http1.response import Response
from gateway.forward.http1.target import Target
from router_core.errors import AttemptFailed
from router_core.outcome import FailureKind

_DRAIN_S: Final = 0.5
_DRAIN_BYTES: Final = 64 * 1024


class Transport:
    """The connections of all calls.

    ``trust_env`` obeys HTTPS_PROXY and its kin; ``ca_file`` names certificate authorities to trust (PEM)
    besides the system's.
    """

    def __init__(self, *, trust_env: bool = False, ca_file: str | None = None) -> None:
        self._trust_env = trust_env
        self._ca_file = ca_file
        self._client: Client | None = None

    async def open(self) -> None:
        """Make the client; must run in the loop that will use it. Safe to call twice."""
        if self._client is None:
            self._client = Client(trust_env=self._trust_env, ca_file=self._ca_file)

    async def close(self) -> None:
        """Close every connection. Safe to call twice."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def dial(self, target: Target, *, connect_s: float) -> None:
        """Open a connection that the first request will find; one that cannot be opened is nobody's fault yet."""
        if self._client is not None:
            with contextlib.suppress(Http1Error):
                await self._client.dial(target, connect_s=connect_s)

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes, *, connect_s: float) -> Response:
        """Send a request and return the answer as soon as its head is there. Raises ``AttemptFailed``."""
        if self._client is None:
            msg = "the transport is not open"
            raise RuntimeError(msg)
        try:
            return await self._client.post(target, headers, body, connect_s=connect_s)
        except Http1Error as exc:
            raise AttemptFailed(from_exception(exc)) from exc

    async def read(self, response: Response, limit: int, *, first: bytes = b"", stall_s: float | None = None) -> bytes:
        """Return the whole body, which begins with ``first``, of at most ``limit`` bytes. Raises ``AttemptFailed``.

        Silence within a body that has begun is bounded by ``stall_s``; blank lines are no beginning, for some hosts
        send them for as long as the model works. Whatever goes wrong, the socket is closed.
        """
        parts, size, begun = [first], len(first), bool(first.strip())
        try:
            while size <= limit:
                if begun and stall_s is not None and not response.ready:
                    async with asyncio.timeout(stall_s):
                        part = await response.read_some()
                else:
                    part = await response.read_some()
                if not part:
                    break
                parts.append(part)
                size += len(part)
                begun = begun or bool(part.strip())
        except (Http1Error, TimeoutError) as exc:
            response.abort()
            raise AttemptFailed(from_exception(exc, answering=True)) from exc
        except BaseException:
            response.abort()
            raise
        if size > limit:
            response.abort()
            msg = f"the provider's answer is larger than {limit} bytes"
            raise failed(FailureKind.PROTOCOL, msg, status=response.status)
        return b"".join(parts)

    async def read_what_comes(self, response: Response, limit: int, *, within_s: float) -> bytes:
        """Return what comes of a body, at most ``limit`` bytes within ``within_s``; a break ends it like its end.

        For bodies that only explain a status: it stands whether or not they can be read. The rest is not waited for.
        """
        parts, size = [], 0
        try:
            async with asyncio.timeout(within_s):
                while size < limit and (part := await response.read_some()):
                    parts.append(part)
                    size += len(part)
        except (Http1Error, TimeoutError):
            pass
        finally:
            response.abort()
        return b"".join(parts)[:limit]

    async def read_some(self, response: Response) -> bytes:
        """Return the first bytes of the body that come, none at its end. Raises ``AttemptFailed``."""
        try:
            return await response.read_some()
        except Http1Error as exc:
            response.abort()
            raise AttemptFailed(from_exception(exc, answering=True)) from exc
        except BaseException:
            response.abort()
            raise

    def finish(self, response: Response) -> None:
        """Let go of an answer whose end mark has been read: the connection is kept if the rest comes promptly."""
        if not response.ended:
            response.discard(_DRAIN_BYTES)
            asyncio.get_running_loop().call_later(_DRAIN_S, response.abort)
