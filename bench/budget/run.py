"""Runs several workers on one budget and counts what was spent in truth; kills one on the way when asked to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Spending:
    """What a run came to; money in USD."""

    calls: int
    spent: float
    budget: float
    seconds: float
    waited: int
    refused_429: int

    @property
    def usable(self) -> float:
        """The share of the budget that could be spent."""
        return self.spent / self.budget


def spend(  # noqa: PLR0913 - each is a term of the measurement, with its published value
    store: str,
    folder: Path,
    *,
    kill: bool = False,
    workers: int = 4,
    clients: int = 50,
    call_s: float = 0.02,
    lease_s: float = 2.0,
    budget: float = 1.0,
    worst: float = 0.013,
    actual: float = 0.004,
) -> Spending:
    """Spend a budget to its end; with ``kill`` the first worker gets SIGKILL when half of it is spent."""
    truth = folder / "truth"
    truth.write_bytes(b"")
    ready = folder / "ready"
    ready.write_bytes(b"")
    terms = {
        "store": store,
        "truth": str(truth),
        "ready": str(ready),
        "workers": workers,
        "clients": clients,
        "call_s": call_s,
        "lease_s": lease_s,
        "budget": budget,
        "worst": worst,
        "actual": actual,
    }
    command = [sys.executable, "-m", "bench.budget.worker", json.dumps(terms)]
    begun = time.monotonic()
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(workers)]
    try:
        if kill:
            while truth.stat().st_size * actual < budget / 2 and any(one.poll() is None for one in running):
                time.sleep(0.001)
            os.kill(running[0].pid, signal.SIGKILL)
        answers = [one.communicate(timeout=120)[0] for one in running]
    finally:
        for one in running:
            if one.poll() is None:
                one.kill()
                one.wait()
    reports = [json.loads(answer) for answer in answers if answer]
    if len(reports) < workers - kill:  # one more where the money was spent before the first could be killed
        message = f"only {len(reports)} of {workers} workers came to an end"
        raise RuntimeError(message)
    calls = truth.stat().st_size
    return Spending(
        calls,
        calls * actual,
        budget,
        time.monotonic() - begun,
        sum(report["waited"] for report in reports),
        sum(report.get("budget_reserved", 0) for report in reports),
    )
