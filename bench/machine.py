"""What machine a result was measured on, for the head of every result file."""

from __future__ import annotations

import datetime as dt
import os
import platform
from pathlib import Path


def cpu_name() -> str:
    """Return the processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def heading(name: str) -> str:
    """Return one line: bench, date, cores, processor, Python."""
    day = dt.datetime.now(tz=dt.UTC).date().isoformat()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return (
        f"# {name}, {day}, {os.cpu_count()} cores ({cpu_name()}), Python {platform.python_version()}, load {load:.1f}"
    )
