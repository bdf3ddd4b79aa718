"""A server that answers as a script says: pieces of bytes, waits in seconds, None to close."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.forward.http1.client import Client
from gateway.forward.http1.response import Response
from gateway.forward.http1.target import target

Reply = list[bytes | float | None]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\n"
BODY = OK + b"Content-Length: 2\r\n\r\nok"


@dataclass
class Server:
    """Answers the n-th request of all connections with the n-th piece of a script, and keeps what it was sent."""

    replies: list[Reply]
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
                self.requests.append(head + await reader.readexactly(length))
                for step in self.replies[min(len(self.requests), len(self.replies)) - 1]:
                    if step is None:
                        return
                    if isinstance(step, bytes):
                        writer.write(step)
                        await writer.drain()
                    else:
                        await asyncio.sleep(step)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(serve: Serve, **options: Any) -> AsyncIterator[int]:
    """Serve connections and yield the port; at the end every connection is let go of, before the loop ends."""
    tasks: set[asyncio.Task[Any]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            tasks.add(task)
        writers.append(writer)
        await serve(reader, writer)

    server = await asyncio.start_server(tracked, "127.0.0.1", 0, **options)
    async with server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            await let_go(tasks, writers)


async def let_go(tasks: Iterable[asyncio.Task[Any]], writers: Iterable[asyncio.StreamWriter]) -> None:
    """End tasks, then connections; return when they are gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


@asynccontextmanager
async def served(*replies: Reply, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Server, Client]]:
    made = Server(list(replies))
    async with listening(made.serve, ssl=tls) as made.port:
        client = Client()
        try:
            yield made, client
        finally:
            client.close()


async def post(made: Server, client: Client, body: bytes = b"{}", **headers: str) -> Response:
    return await client.post(target(f"http://127.0.0.1:{made.port}/v1/x?y=1"), headers, body, connect_s=60.0)


async def whole(response: Response) -> bytes:
    parts = []
    while part := await response.read_some():
        parts.append(part)
    return b"".join(parts)
