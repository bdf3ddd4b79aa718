"""A gateway as a user starts it: a process of its own, without provider keys, with the demo providers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 180
STOPPED_WITHIN_S = 60


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """Where it listens, which process it is, and what it wrote."""

    origin: str
    pid: int
    log: Path
    key: str = "any"

    @property
    def base_url(self) -> str:
        """What an SDK is given."""
        return f"{self.origin}/v1"


def is_ready(origin: str) -> bool:
    try:
        with urllib.request.urlopen(f"{origin}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


@contextmanager
def running_gateway(folder: Path, **environment: str) -> Iterator[RunningGateway]:
    """Start ``moe-gateway serve`` on a free port, wait until it is ready, and stop it by its pid."""
    port = free_port()
    log = folder / "gateway.log"
    # No provider's key of whoever runs the tests is used, and no setting of theirs.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith("_API_KEY") and not name.startswith("MOE_")
    }
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "MOE_STORE_URL": f"sqlite:///{folder}/state.db"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve"],
            cwd=ROOT,
            env=inherited | settings | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    gateway = RunningGateway(f"http://127.0.0.1:{port}", process.pid, log, environment.get("MOE_API_KEYS", "any"))
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while not is_ready(gateway.origin):
            if process.poll() is not None or time.monotonic() > deadline:
                state = "stopped" if process.poll() is not None else f"was not ready within {READY_WITHIN_S} s"
                pytest.fail(f"the gateway {state}; it wrote:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        yield gateway
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def gateway_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway open to this machine."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def guarded_gateway_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that asks for a key."""
    key = "client-key-of-the-sdk-tests"
    with running_gateway(
        tmp_path_factory.mktemp("guarded"), MOE_API_KEYS=key, MOE_ADMIN_KEYS="admin-key-of-the-sdk-tests"
    ) as gateway:
        yield gateway
