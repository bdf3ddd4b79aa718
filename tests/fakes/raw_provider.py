"""A provider that says exactly the bytes a test gives it: for what no well-made server can be talked into."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self


class Then(Enum):
    """What happens instead of more bytes."""

    RESET = "reset"
    HANG = "hang"
    KEEP = "keep"


Step = bytes | float | Then
"""Bytes to send, seconds to wait, or what happens instead; after the last one the connection is closed."""

_MODEL_IN_PATH = re.compile(rb"/models/([^:/ ?]+)")


@dataclass(slots=True)
class Heard:
    """One request: its model, its parsed body, and whether the client closed first."""

    model: str
    body: Any
    connection: int
    closed_by_client: bool = False


@dataclass(slots=True)
class RawProvider:
    """Plays for each model the scripts it was given, one a request, the last one for ever."""

    scripts: dict[str, list[Sequence[Step]]] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _connections: int = 0

    async def __aenter__(self) -> Self:
        """Listen on a free loopback port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=64 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def play(self, model: str, *steps: Step) -> None:
        """Let the next request for a model be answered so."""
        self.scripts.setdefault(model, []).append(steps)

    def calls(self, model: str) -> list[Heard]:
        """Return the requests for a model."""
        return [each for each in self.heard if each.model == model]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._connections += 1
        number = self._connections
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._one(reader, writer, number):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        raw = await reader.readexactly(int(length.group(1)) if length else 0)
        body = json.loads(raw) if raw else None
        path = _MODEL_IN_PATH.search(head)
        model = path.group(1).decode() if path else str(body["model"])
        heard = Heard(model, body, number)
        self.heard.append(heard)
        waiting = self.scripts[model]
        steps = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif step is Then.RESET:
                reset(writer)
                return False
            elif step is Then.KEEP:
                return True
            else:
                heard.closed_by_client = not await reader.read(1)
                return False
        return False


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def head(status: str = "200 OK", *headers: str, kind: str = "application/json") -> bytes:
    """Return the head of an answer that ends with its connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close", *headers]
    return "\r\n".join((*lines, "", "")).encode()


def whole(body: Any, status: str = "200 OK", *headers: str, kind: str = "application/json") -> bytes:
    """Return a whole answer; what is no bytes is written as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(status, *headers, f"Content-Length: {len(raw)}", kind=kind) + raw


def sse(*headers: str, kind: str = "text/event-stream") -> bytes:
    """Return the head of a stream."""
    return head("200 OK", *headers, kind=kind)


def event(data: Any, name: str = "") -> bytes:
    """Return one server-sent event."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + raw + b"\n\n"
