"""The load client: a bounded number of calls, a bounded number open at a time, to loopback only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import aiohttp
import psutil

from bench.overhead.setup import KEY


class Round(NamedTuple):
    """Seconds: ``cpu_s`` of what is under load for all calls, wall and first content of each, ``took_s`` for all."""

    cpu_s: float
    walls: list[float]
    firsts: list[float]
    took_s: float = 0.0


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process in seconds."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def drive(
    url: str,
    body: Mapping[str, Any],
    count: int,
    open_calls: int,
    cpu: Callable[[], float],
    headers: Mapping[str, str] | None = None,
) -> Round:
    """Make ``count`` calls with ``open_calls`` at a time; raises RuntimeError when one is not answered with 200.

    ``cpu`` tells the seconds spent so far by whatever is under load.
    """
    left = iter(range(count))
    walls: list[float] = []
    firsts: list[float] = []
    connector = aiohttp.TCPConnector(limit=0)
    own = {
        "authorization": f"Bearer {KEY}",
        "x-api-key": "bench-upstream-key",
        "anthropic-version": "2023-06-01",
    }
    async with aiohttp.ClientSession(connector=connector, headers={**own, **(headers or {})}) as session:

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

        before, began = cpu(), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(open_calls)))
        return Round(cpu() - before, walls, firsts, time.perf_counter() - began)
