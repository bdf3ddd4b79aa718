"""What the gateway's process holds: memory and open files, sampled, and a verdict on whether they grow."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from statistics import median

import aiohttp
import psutil

GROWTH_SHARE, GROWTH_MB, GROWTH_FILES = 0.10, 8.0, 15
TASKS_SPARE = 5


@dataclass(slots=True)
class Watch:
    """Samples of one process: resident memory in MB, open file descriptors, seconds of a call that does nothing.

    ``tasks`` are those of its event loop with nothing under way: before the run and after it.
    """

    pid: int
    origin: str = ""
    rss_mb: list[float] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    idle_s: list[float] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)

    async def run(self, session: aiohttp.ClientSession, every_s: float = 1.0) -> None:
        """Sample until cancelled. The idle call tells how long this machine keeps the gateway from its work."""
        process = psutil.Process(self.pid)
        while True:
            self.rss_mb.append(process.memory_info().rss / 2**20)
            self.fds.append(process.num_fds())
            for _ in range(5):
                started = time.monotonic()
                async with session.get(self.origin + "/healthz") as answer:
                    await answer.read()
                self.idle_s.append(time.monotonic() - started)
                await asyncio.sleep(every_s / 5)

    async def count_tasks(self, session: aiohttp.ClientSession) -> None:
        """Ask how many tasks run."""
        async with session.get(self.origin + "/metrics") as answer:
            found = re.search(r"^moe_gateway_tasks (\d+)", await answer.text(), re.MULTILINE)
        self.tasks.append(int(float(found[1])) if found else -1)

    def tasks_left(self) -> tuple[int, int, bool]:
        """Tasks before and after the run, and whether none was left behind; a kept connection or two is none."""
        before, after = self.tasks[0], self.tasks[-1]
        return before, after, before >= 0 and after - before <= TASKS_SPARE

    def memory(self) -> tuple[float, float, bool]:
        """Median of the second and of the last quarter of the run in MB, and whether it stayed flat between them."""
        early, late = _quarters(self.rss_mb)
        return early, late, late - early <= max(GROWTH_MB, GROWTH_SHARE * early)

    def files(self) -> tuple[float, float, bool]:
        """The same for open files; the pool of kept connections breathes with the traffic."""
        early, late = _quarters([float(count) for count in self.fds])
        return early, late, late - early <= GROWTH_FILES


def _quarters(samples: list[float]) -> tuple[float, float]:
    quarter = max(1, len(samples) // 4)
    return median(samples[quarter : 2 * quarter]), median(samples[-quarter:])


def connections(pid: int) -> int:
    """How many established TCP connections a process has."""
    return sum(1 for each in psutil.Process(pid).net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED)
