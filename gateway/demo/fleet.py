"""The three demo providers as child processes: started together, each on a wire and a port of its own."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

START_LIMIT_S: Final = 15.0
_STOP_LIMIT_S: Final = 2.0
_HANDED_DOWN: Final = "GATEWAY_DEMO"
_BASE_PATHS: Final = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
_ROOT: Final = Path(__file__).parents[2]

FLEET: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("demo-openai", "openai", ("harbor-large", "harbor-mini")),
    ("demo-anthropic", "anthropic", ("meadow-deep", "meadow-swift")),
    ("demo-gemini", "gemini", ("summit-pro", "summit-flash")),
)
"""Name, wire and models of each demo provider."""


class DemoFailed(Exception):
    """A demo provider did not start."""


@dataclass(frozen=True, slots=True)
class DemoProvider:
    """One running demo provider.

    ``base_url`` is what litellm's config for this wire takes as base: with ``/v1`` on OpenAI's wire, ``/v1beta`` on
    Gemini's, bare on Anthropic's. ``origin`` is where its ``/_control/`` calls are.
    """

    name: str
    wire: str
    port: int
    pid: int
    models: tuple[str, ...]
    process: subprocess.Popen[str] | None = field(default=None, repr=False, compare=False)
    """None in a worker: the provider is its parent's."""

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """The base URL of this wire."""
        return self.origin + _BASE_PATHS[self.wire]

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self.process is None or self.process.poll() is None

    def stop(self) -> None:
        """End the process: SIGTERM, and SIGKILL after two seconds. Stopping twice is fine."""
        if self.process is None:
            return
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def spawn(
    specs: Sequence[tuple[str, str, Sequence[str]]], *, seed: int = 0, limit_s: float = START_LIMIT_S
) -> list[DemoProvider]:
    """Start one process for each (name, wire, models; no models: any name) and wait until all of them listen.

    Call it from a thread that lives as long as they shall: the kernel ends them with it. Raises ``DemoFailed`` when
    one does not listen within ``limit_s`` seconds; none is left running then.
    """
    processes = [_start(name, wire, models, seed) for name, wire, models in specs]
    deadline = time.monotonic() + limit_s
    running: list[DemoProvider] = []
    try:
        for process, (name, wire, models) in zip(processes, specs, strict=True):
            row = _first_line(process, name, deadline)
            running.append(DemoProvider(name, wire, row["port"], row["pid"], tuple(models), process))
    except DemoFailed:
        for process in processes:
            process.kill()
            process.communicate()
        raise
    return running


async def start_fleet(limit_s: float = START_LIMIT_S) -> list[DemoProvider]:
    """Start the three demo providers, about a second in all. Raises ``DemoFailed``."""
    processes = [_start(name, wire, models, 0) for name, wire, models in FLEET]
    deadline = time.monotonic() + limit_s
    # The processes are started here, in the thread they are bound to; only the waiting is done elsewhere.
    waits = [
        asyncio.to_thread(_first_line, process, name, deadline)
        for process, (name, _, _) in zip(processes, FLEET, strict=True)
    ]
    rows = await asyncio.gather(*waits, return_exceptions=True)
    failed = next((row for row in rows if isinstance(row, BaseException)), None)
    if failed is not None:
        for process in processes:
            process.kill()
            process.communicate()
        raise failed
    return [
        DemoProvider(name, wire, row["port"], row["pid"], models, process)
        for row, process, (name, wire, models) in zip(rows, processes, FLEET, strict=True)
        if isinstance(row, dict)
    ]


def hand_down(fleet: Iterable[DemoProvider]) -> dict[str, str]:
    """Return the environment by which workers know the providers that their parent runs."""
    rows = [[each.name, each.wire, each.port, each.pid, list(each.models)] for each in fleet]
    return {_HANDED_DOWN: json.dumps(rows)} if rows else {}


def handed_down(environment: Mapping[str, str]) -> list[DemoProvider]:
    """Return the providers that this process's parent runs, none outside of a worker."""
    rows = json.loads(environment.get(_HANDED_DOWN, "[]"))
    return [DemoProvider(name, wire, port, pid, tuple(models)) for name, wire, port, pid, models in rows]


def stop_fleet(fleet: Iterable[DemoProvider]) -> None:
    """Stop providers."""
    for provider in fleet:
        provider.stop()


def _start(name: str, wire: str, models: Sequence[str], seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gateway.demo.child", "--wire", wire, "--name", name, "--seed", str(seed)]
    command += ["--models", ",".join(models), "--watch-stdin"]
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    pipe = subprocess.PIPE
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env)  # noqa: S603 - our own module


def _first_line(process: subprocess.Popen[str], name: str, deadline: float) -> dict[str, int]:
    """Wait for the line that says where a child listens."""
    stdout = process.stdout
    if stdout is not None:
        ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
        line = stdout.readline() if ready else ""
        if line:
            row = json.loads(line)
            return {"port": int(row["port"]), "pid": int(row["pid"])}
    state = "ended" if process.poll() is not None else "did not listen in time"
    raise DemoFailed(f"The demo provider {name} {state}.")  # noqa: EM102 - one place
