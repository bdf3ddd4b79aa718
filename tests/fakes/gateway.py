"""A gateway process for tests and benches: its own config folder, its own port, its own state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.fakes.ports import free_port

ROOT = Path(__file__).resolve().parents[2]


class GatewayProcess:
    """``python -m gateway.cli serve`` on a free loopback port, ready when the context is entered, stopped after it.

    ``models`` and ``policy`` become ``models.yaml`` and ``policy.yaml`` in ``folder``. No provider key and no setting
    of whoever runs it is handed down.
    """

    def __init__(
        self,
        folder: Path,
        models: Mapping[str, Any],
        policy: Mapping[str, Any] | None = None,
        *,
        store: str = "memory://",
        environment: Mapping[str, str] | None = None,
        ready_within_s: float = 180.0,
    ) -> None:
        self.folder = folder
        self.models = models
        self.policy = policy or {}
        self.store = store
        self.environment = dict(environment or {})
        self.ready_within_s = ready_within_s
        self.port = free_port()
        self.log = folder / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What an SDK is given."""
        return f"{self.origin}/v1"

    @property
    def pid(self) -> int:
        """The process, 0 when there is none."""
        return self._process.pid if self._process else 0

    def __enter__(self) -> Self:
        """Start and wait until it is ready. Raises ``RuntimeError`` with its log when it is not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "models.yaml").write_text(yaml.safe_dump(dict(self.models), sort_keys=False))
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(dict(self.policy), sort_keys=False))
        inherited = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY") and not k.startswith("MOE_")}
        settings = {"HOST": "127.0.0.1", "PORT": str(self.port), "MOE_STORE_URL": self.store}
        command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(self.folder)]
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**inherited, **settings, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + self.ready_within_s
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                message = f"the gateway did not get ready; it wrote:\n{self.log.read_text(errors='replace')[-4000:]}"
                raise RuntimeError(message)
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def stop(self, within_s: float = 60.0) -> int | None:
        """Ask it to end, insist after ``within_s`` seconds; returns its exit code."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(within_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.origin}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False
