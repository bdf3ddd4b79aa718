"""The load client: a bounded number of calls, a bounded number open at a time, to loopback only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import psutil


class Round(NamedTuple):
    """Seconds: ``cpu_s`` of the process under load for all calls, wall time and time to first content of each."""

    cpu_s: float
    walls: list[float]
    firsts: list[float]


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process in seconds."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


async def drive(url: str, body: Mapping[str, Any], count: int, open_calls: int, pid: int) -> Round:
    """Make ``count`` calls with ``open_calls`` at a time; raises RuntimeError when one is not answered with 200."""
    left = iter(range(count))
    walls: list[float] = []
    firsts: list[float] = []
    connector = aiohttp.TCPConnector(limit=0)
    headers = {
        "authorization": "Bearer bench-client-key-0123456789",
        "x-api-key": "bench-upstream-key",
        "anthropic-version": "2023-06-01",
    }
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def worker() -> None:
            for _ in left:
                begin = time.perf_counter()
                async with session.post(url, json=body) as response:
                    if response.status != 200:
                        raise RuntimeError(await response.text())
                    if body.get("stream"):
                        await response.content.readany()
                        firsts.append(time.perf_counter() - begin)
                    await response.read()
                walls.append(time.perf_counter() - begin)

        before = cpu_seconds(pid)
        await asyncio.gather(*(worker() for _ in range(open_calls)))
        return Round(cpu_seconds(pid) - before, walls, firsts)
