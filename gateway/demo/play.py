"""Act a script on a connection: pace it, break it, and notice when the client leaves."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from gateway.demo.script import Drip, End, Repeat, Script, Send, Step, Wait

_LINGER_ZERO: Final = struct.pack("ii", 1, 0)
_SETTLE_S: Final = 0.02
_FOR_EVER_S: Final = 3600.0


class Player:
    """Acts one script for one request; ``mark`` is called when the first byte of the answer has been written."""

    def __init__(
        self, request: web.BaseRequest, delay_s: float, first_delay_s: float, mark: Callable[[], None]
    ) -> None:
        self._request = request
        self._delay_s = delay_s
        self._due = time.monotonic() + first_delay_s
        self._mark = mark
        self._response: web.StreamResponse | None = None

    async def play(self, script: Script) -> web.StreamResponse:
        """Act the script and return the response, which is always finished by then.

        Raises what aiohttp raises when the client leaves: ``CancelledError`` or ``ConnectionError``.
        """
        if script.before_s != 0.0:
            await asyncio.sleep(_FOR_EVER_S if script.before_s is None else script.before_s)
        response = web.StreamResponse(status=script.status, headers=script.headers)
        if not script.raw:
            self._response = response
            if script.length is not None:
                await self._pace_whole(script)
                response.content_length = script.length
            else:
                response.enable_chunked_encoding()
            await response.prepare(self._request)
            self._mark()
        for step in script.steps:
            await self._act(step)
        if script.end is End.WHOLE and not script.raw:
            await response.write_eof()
        else:
            await self._break(script.end)
        return response

    async def _pace_whole(self, script: Script) -> None:
        """A whole body comes when its last token is ready, so the wait is before the head."""
        if any(isinstance(step, Send) and step.content for step in script.steps):
            await self._until_due()

    async def _until_due(self) -> None:
        wait = self._due - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        self._due += self._delay_s

    async def _act(self, step: Step) -> None:
        match step:
            case Send(data, content):
                if content:
                    await self._until_due()
                await self._write(data)
            case Wait(seconds):
                await asyncio.sleep(_FOR_EVER_S if seconds is None else seconds)
                self._due = time.monotonic()
            case Repeat(data, interval_s, seconds):
                end = time.monotonic() + (_FOR_EVER_S if seconds is None else seconds)
                while time.monotonic() < end:
                    await self._write(data)
                    await asyncio.sleep(interval_s)
            case Drip(data, interval_s, size):
                for at in range(0, len(data), size):
                    await self._write(data[at : at + size])
                    await asyncio.sleep(interval_s)

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        if self._response is not None:
            await self._response.write(data)
        elif (transport := self._request.transport) is not None:
            transport.write(data)
            self._mark()

    async def _break(self, end: End) -> None:
        transport = self._request.transport
        if transport is None:
            return
        if self._response is not None:
            await asyncio.sleep(_SETTLE_S)  # so that what was sent is read before the break
        if end is End.RESET:
            sock: socket.socket = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            transport.abort()
        else:
            transport.close()
