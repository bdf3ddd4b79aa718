"""What the gateway's process holds: memory and open files, sampled, and a verdict on whether they grow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from statistics import median

import psutil

GROWTH_SHARE, GROWTH_MB = 0.10, 8.0


@dataclass(slots=True)
class Watch:
    """Samples of one process: resident memory in MB, open file descriptors."""

    pid: int
    rss_mb: list[float] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)

    async def run(self, every_s: float = 1.0) -> None:
        """Sample until cancelled."""
        process = psutil.Process(self.pid)
        while True:
            self.rss_mb.append(process.memory_info().rss / 2**20)
            self.fds.append(process.num_fds())
            await asyncio.sleep(every_s)

    def memory(self) -> tuple[float, float, bool]:
        """Median of the second and of the last quarter of the run, and whether it stayed flat between them."""
        quarter = max(1, len(self.rss_mb) // 4)
        early, late = median(self.rss_mb[quarter : 2 * quarter]), median(self.rss_mb[-quarter:])
        return early, late, late - early <= max(GROWTH_MB, GROWTH_SHARE * early)


def connections(pid: int) -> int:
    """How many established TCP connections a process has."""
    return sum(1 for each in psutil.Process(pid).net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED)
