"""Real redis-servers on free loopback ports, for the tests that need one: single, replicated, clustered."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ports import free_port

BINARY = shutil.which("redis-server") or "/usr/bin/redis-server"


def require() -> None:
    """Skip where there is no redis-server; under CI=true the skip is a failure."""
    if not os.access(BINARY, os.X_OK):
        pytest.skip("redis-server is not installed (scripts/system-packages brings it)")


class RedisServer:
    """One server process in a folder of its own; stopped, killed, frozen and started again by the tests."""

    def __init__(self, *options: str, port: int | None = None, sentinel: str | None = None) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="redis-test-"))
        self._options = options
        self._sentinel = sentinel
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        command = [BINARY]
        if self._sentinel is not None:
            config = self.folder / "sentinel.conf"
            if not config.exists():
                config.write_text(self._sentinel)
            command += [str(config), "--sentinel"]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        if self._sentinel is None:
            command += ["--save", "", "--appendonly", "no", *self._options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.wait()
        except TimeoutError:
            self.kill()
            raise
        return self

    def wait(self) -> None:
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.command("PING").startswith((b"+PONG", b"-NOAUTH")):
                    return
            time.sleep(0.02)
        message = f"redis-server on port {self.port} did not answer"
        raise TimeoutError(message)

    def command(self, *words: str) -> bytes:
        """Send one command on a connection of its own, and return the first bytes of the answer."""
        payload = f"*{len(words)}\r\n".encode()
        for word in words:
            payload += f"${len(word.encode())}\r\n{word}\r\n".encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as conn:
            conn.sendall(payload)
            return conn.recv(65536)

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def running(*options: str) -> Iterator[RedisServer]:
    """A server for the length of a block."""
    require()
    server = RedisServer(*options)
    try:
        yield server.start()
    finally:
        server.close()
