"""``python -m bench.soak``: many requests and streams through one gateway, everything on, and what it holds.

Prints a line per portion: memory of its own, sockets and files, threads, CPU per call. A leak is a rise that goes on;
the last line compares the second half with the first. Bounded in count; loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.machine import heading
from bench.overhead.load import cpu_seconds, drive
from bench.overhead.setup import KEY, MESSAGES, models, upstream
from tests.fakes.gateway import GatewayProcess

PORTIONS = 10
OPEN = 32


class Held(NamedTuple):
    """What a process holds: MiB of its own, descriptors, of them sockets, threads."""

    mib: float
    descriptors: int
    sockets: int
    threads: int


def held(pid: int) -> Held:
    """Look at a process."""
    process = psutil.Process(pid)
    sockets = len(process.net_connections(kind="inet"))
    return Held(process.memory_full_info().uss / 2**20, process.num_fds(), sockets, process.num_threads())


def main() -> None:
    """Run the portions and print the lines."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--streams", type=int, default=4_000)
    parser.add_argument("--full", action="store_true", help="100,000 requests and 20,000 streams")
    parser.add_argument("--store", default="", help="the store's address (default: an SQLite file)")
    chosen = parser.parse_args()
    requests, streams = (100_000, 20_000) if chosen.full else (chosen.requests, chosen.streams)
    with ExitStack() as stack:
        base = stack.enter_context(upstream("openai"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gateway = stack.enter_context(
            GatewayProcess(
                folder,
                models({"openai": base}),
                store=chosen.store or f"sqlite:///{folder}/state.db",
                environment={"MOE_API_KEYS": KEY},
            )
        )
        print(heading("bench.soak"))
        store = chosen.store or "SQLite"
        print(f"# {requests} requests and {streams} streams of 50 chunks, {OPEN} open, everything on, {store}\n")
        print(f"{'calls':>10} {'MiB':>8} {'descriptors':>12} {'sockets':>8} {'threads':>8} {'CPU ms/call':>12}")
        seen: list[Held] = []
        show(0, held(gateway.pid), 0.0)
        for portion in range(PORTIONS):
            before = cpu_seconds(gateway.pid)
            for stream, count in ((False, requests // PORTIONS), (True, streams // PORTIONS)):
                body = {"model": "openai-route", "messages": MESSAGES, "max_tokens": 400, "stream": stream}
                url = f"{gateway.base_url}/chat/completions"
                asyncio.run(drive(url, body, count, OPEN, partial(cpu_seconds, gateway.pid)))
            calls = (requests + streams) // PORTIONS
            seen.append(held(gateway.pid))
            show((portion + 1) * calls, seen[-1], (cpu_seconds(gateway.pid) - before) / calls * 1000)
        verdict(seen)


def show(calls: int, now: Held, cpu_ms: float) -> None:
    """Print one line."""
    print(
        f"{calls:>10} {now.mib:>8.1f} {now.descriptors:>12} {now.sockets:>8} {now.threads:>8} {cpu_ms:>12.3f}",
        flush=True,
    )


def verdict(seen: list[Held]) -> None:
    """Say how much more the last portion held than the middle one."""
    middle, last = seen[len(seen) // 2 - 1], seen[-1]
    print(
        f"\nsecond half: {last.mib - middle.mib:+.1f} MiB, {last.sockets - middle.sockets:+d} sockets,"
        f" {last.descriptors - middle.descriptors:+d} descriptors, {last.threads - middle.threads:+d} threads"
    )


if __name__ == "__main__":
    main()
