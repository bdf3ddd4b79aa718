"""``python -m bench.state.outage``: what a request feels of Redis being killed, and whether all is there afterwards.

Two gateways share one Redis; a third knows none and tells what the machine does by itself. All three get requests at
one steady rate, whether or not earlier ones were answered. Redis is killed with -9 in the middle and started again
later: with its append-only file, or with ``--empty`` without anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp

from bench.machine import heading
from bench.overhead.curves import POLICY
from bench.overhead.setup import MESSAGES, models, upstream
from gateway.ledger import read
from gateway.state import open_store
from tests.contract.redis_server import RedisServer
from tests.fakes.gateway import GatewayProcess

NAMES = ("first", "second", "alone")
BODY = {"model": "openai-route", "messages": MESSAGES, "max_tokens": 400}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request: seconds since the beginning, which gateway, status (0: none), milliseconds, the gateway's own."""

    at: float
    gateway: str
    status: int
    wall_ms: float
    own_ms: float


async def ask(session: aiohttp.ClientSession, name: str, url: str, began: float, seen: list[Seen]) -> None:
    """Make one request and note what came of it."""
    start = time.perf_counter()
    status, own = 0, 0.0
    try:
        async with session.post(url, json=BODY) as answer:
            await answer.read()
            status, own = answer.status, float(answer.headers["x-router-overhead-ms"])
    except (aiohttp.ClientError, TimeoutError):
        pass
    seen.append(Seen(start - began, name, status, (time.perf_counter() - start) * 1000.0, own))


async def load(urls: dict[str, str], rate: float, seconds: float) -> list[Seen]:
    """Send to every gateway ``rate`` requests a second, evenly spread, for so long."""
    seen: list[Seen] = []
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        began, tasks = time.perf_counter(), []
        for number in range(int(rate * seconds)):
            for place, (name, url) in enumerate(urls.items()):
                due = (number + place / len(urls)) / rate
                await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
                tasks.append(asyncio.create_task(ask(session, name, url, began, seen)))
        await asyncio.gather(*tasks)
    return seen


def booked(gateway: GatewayProcess) -> tuple[int, int]:
    """Return how many requests a gateway's statistics know of, and how many of its deployments' calls."""
    found = []
    for report, field in (("tasks", "requests"), ("deployments", "attempts")):
        url = f"{gateway.origin}/v1/stats/{report}?window=all"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
            rows: list[dict[str, Any]] = json.load(answer)["data"]
        found.append(round(sum(row[field] for row in rows)))
    return found[0], found[1]


async def rows_in_ledger(url: str) -> int:
    """Return how many calls the store has booked."""
    store = open_store(url)
    await store.open()
    try:
        return len([row async for row in read(store)])
    finally:
        await store.close()


def line(name: str, spans: Sequence[float]) -> str:
    """Return what a series of milliseconds looks like."""
    cuts = quantiles(spans, n=1000)
    return f"{name:24} n {len(spans):6}  p50 {median(spans):6.2f}  p99 {cuts[989]:6.2f}  p99.9 {cuts[998]:7.2f}"


def p99(seen: Sequence[Seen], phase: tuple[float, float], names: Sequence[str], field: str) -> float:
    """Return a phase's 99th percentile in milliseconds."""
    spans = [getattr(one, field) for one in seen if one.gateway in names and phase[0] <= one.at < phase[1]]
    return quantiles(spans, n=100)[98]


def report(seen: Sequence[Seen], phases: dict[str, tuple[float, float]]) -> None:
    """Print the spans of every phase, and what the outage added."""
    for field, what in (("wall_ms", "the client's milliseconds"), ("own_ms", "the gateway's own milliseconds")):
        print(f"\n{what}")
        for names, shown in ((NAMES[:2], "with Redis"), (NAMES[2:], "without")):
            for phase, (start, end) in phases.items():
                spans = [getattr(one, field) for one in seen if one.gateway in names and start <= one.at < end]
                print(line(f"{shown}, {phase}", spans))
            before, away = (p99(seen, phases[name], names, field) for name in ("before", "away"))
            print(f"{shown}: the outage added {away - before:+.2f} ms to p99")
    failed = [one for one in seen if one.status != 200]
    print(f"\nrequests {len(seen)}, failed {len(failed)} {sorted({one.status for one in failed}) or ''}")


async def settled(gateways: Sequence[GatewayProcess], wanted: int) -> list[tuple[int, int]]:
    """Return what both gateways have booked, once it is everything or a minute is over."""
    until = time.monotonic() + 60.0
    while True:
        found = [await asyncio.to_thread(booked, each) for each in gateways]
        if all(each == (wanted, wanted) for each in found) or time.monotonic() > until:
            return found
        await asyncio.sleep(0.5)


async def measure(options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
    """Run the load, kill Redis on the way, print what happened."""
    keep = () if options.empty else ("--appendonly", "yes")
    redis = RedisServer(*keep).start()
    stack.callback(redis.close)
    base = stack.enter_context(upstream("openai"))
    stores = (redis.url, redis.url, "memory://")
    gateways = {
        name: stack.enter_context(GatewayProcess(folder / name, models({"openai": base}), POLICY, store=store))
        for name, store in zip(NAMES, stores, strict=True)
    }
    urls = {name: f"{each.base_url}/chat/completions" for name, each in gateways.items()}
    warm = await load(urls, options.rate, 5.0)
    third = options.seconds
    phases = {"before": (0.0, third), "away": (third, 2 * third), "again": (2 * third, 3 * third)}

    async def trouble() -> None:
        await asyncio.sleep(third)
        redis.kill()
        await asyncio.sleep(third)
        await asyncio.to_thread(redis.start)

    seen, _ = await asyncio.gather(load(urls, options.rate, 3 * third), trouble())
    report(seen, phases)
    shared = sum(one.gateway in NAMES[:2] for one in [*warm, *seen])
    found = await settled([gateways[name] for name in NAMES[:2]], shared)
    print(f"booked afterwards, (requests, calls) of {shared}: {found[0]} at the first, {found[1]} at the second")
    print(f"rows in the ledger: {await rows_in_ledger(redis.url)}")


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(prog="python -m bench.state.outage", description=__doc__)
    parser.add_argument("--rate", type=float, default=30.0, help="requests a second at each of the three gateways")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each of the three phases")
    parser.add_argument("--empty", action="store_true", help="Redis comes back without its memory")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(heading(f"bench.state.outage{' --empty' if options.empty else ''}"), flush=True)
        print(f"# {options.rate:g} requests/s at each of three gateways, {options.seconds:g} s a phase")
        asyncio.run(measure(options, folder, stack))


if __name__ == "__main__":
    main()
