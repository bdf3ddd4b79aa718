"""Sockets that are no provider at all: a dead port, one that never answers, one with a certificate nobody trusts."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tests.fakes.ports import free_port


def dead_port() -> int:
    """Return a loopback port that refuses connections, and that the kernel will not give to anybody meanwhile."""
    return free_port()


@contextlib.asynccontextmanager
async def raw_server(reply: bytes | None, *, close: bool = True) -> AsyncIterator[int]:
    """Accept connections, read once, write ``reply`` (None: nothing, ever) and close. Yields the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            tasks.add(task)
        try:
            await reader.read(65536)
            if reply is not None:
                writer.write(reply)
                await writer.drain()
            if reply is None or not close:
                while await reader.read(65536):
                    pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the closed connections are let go in the next turn of the loop


@contextlib.asynccontextmanager
async def full_backlog() -> AsyncIterator[int]:
    """Yield a port whose connections are never accepted: the handshake of a new one hangs."""
    holders: list[socket.socket] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        try:
            for _ in range(8):  # the kernel takes one or two beyond the backlog, then drops what comes
                sock = socket.socket()
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect(("127.0.0.1", port))
                holders.append(sock)
            await asyncio.sleep(0)
            yield port
        finally:
            for sock in holders:
                sock.close()


def self_signed(directory: Path) -> tuple[Path, Path]:
    """Make a certificate nobody trusts, for ``127.0.0.1``. Needs the ``openssl`` program; returns (cert, key)."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    openssl = shutil.which("openssl")
    if openssl is None:
        msg = "the openssl program is not installed"
        raise RuntimeError(msg)
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = [openssl, "req", "-x509", *kind, *names, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@contextlib.asynccontextmanager
async def tls_bad_cert() -> AsyncIterator[int]:
    """Serve TLS with a self-signed certificate; a client that checks must refuse. Yields the port."""
    with tempfile.TemporaryDirectory() as directory:
        cert, key = self_signed(Path(directory))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read(65536)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
