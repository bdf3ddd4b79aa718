"""``python -m bench.overhead.curves``: how the gateway's cost grows with the prompt, with open streams, with workers.

Cost must grow with the work and no faster: CPU per request over 1 kB to 1 MB of prompt, CPU and time to first chunk per
stream over 1 to 1,000 open at once, requests a second with one and two workers. Medians over rounds; loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from bench.machine import heading
from bench.overhead.load import Round, drive
from bench.overhead.setup import KEY, MESSAGES, SENTENCE, models, upstream
from tests.fakes.gateway import GatewayProcess

POLICY = {"exploration": {"share": 0, "probe_share": 0}, "admission": {"max_in_flight": 2000}}
SIZES_KB = (1, 4, 16, 64, 256, 1000)
STREAMS = (1, 10, 100, 300, 1000)
CUSTOM = "many short words and a few longer sentences "


def cpu_of(pid: int) -> float:
    """Return user and system seconds of a process and its children that serve."""
    family = [psutil.Process(pid), *psutil.Process(pid).children()]
    return float(sum(sum(each.cpu_times()[:2]) for each in family))


def run(gateway: GatewayProcess, body: dict[str, Any], count: int, at_once: int) -> Round:
    """Make calls; CPU is the gateway's."""
    url = f"{gateway.base_url}/chat/completions"
    return asyncio.run(drive(url, body, count, at_once, lambda: cpu_of(gateway.pid)))


def request(kilobytes: int, *, stream: bool = False) -> dict[str, Any]:
    """Return a request whose prompt has so many kB: half in an earlier turn, half in the last."""
    text = (SENTENCE * (kilobytes * 1000 // len(SENTENCE) + 1))[: kilobytes * 500]
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": CUSTOM}]
    messages = [*turns, {"role": "user", "content": text}] if kilobytes > 1 else MESSAGES
    return {"model": "openai-route", "messages": messages, "max_tokens": 400, "stream": stream}


def prompts(gateway: GatewayProcess, rounds: int) -> None:
    """Print the curve over prompt sizes."""
    print(f"{'prompt kB':>12} {'CPU ms/request':>16} {'p50 ms, one open':>18}")
    found: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES_KB}
    for number in range(rounds + 1):
        for size in SIZES_KB:
            n = 40 if size < 256 else 12
            one = run(gateway, request(size), n, 4)
            alone = run(gateway, request(size), 8, 1)
            if number:
                found[size].append((one.cpu_s / n * 1000, statistics.median(alone.walls) * 1000))
    for size, values in found.items():
        print(f"{size:>12} {median(values, 0):>16.2f} {median(values, 1):>18.2f}", flush=True)


def streams(gateway: GatewayProcess, rounds: int) -> None:
    """Print the curve over open streams."""
    print(f"\n{'open streams':>12} {'CPU ms/stream':>16} {'streams/s':>18}")
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in STREAMS}
    for number in range(rounds + 1):
        for count in STREAMS:
            n = max(60, count)
            one = run(gateway, request(1, stream=True), n, count)
            if number:
                found[count].append((one.cpu_s / n * 1000, n / one.took_s))
    for count, values in found.items():
        print(f"{count:>12} {median(values, 0):>16.2f} {median(values, 1):>18.1f}", flush=True)


def median(values: list[tuple[float, float]], place: int) -> float:
    """Return the median of one part of pairs."""
    return statistics.median(value[place] for value in values)


def started(stack: ExitStack, folder: Path, base: str, workers: int, *, store: str | None = None) -> GatewayProcess:
    """Start a gateway with so many workers, warmed; without ``store`` on a SQLite file of its own."""
    own = folder / f"workers-{workers}"
    own.mkdir()
    environment = {"MOE_API_KEYS": KEY, "MOE_WORKERS": str(workers), "MOE_LOG_LEVEL": "warning"}
    process = GatewayProcess(
        own, models({"openai": base}), POLICY, store=store or f"sqlite:///{own}/state.db", environment=environment
    )
    gateway = stack.enter_context(process)
    time.sleep(3.0 * (workers - 1))  # the second worker listens a moment after the first
    run(gateway, request(1), 200, 16)
    return gateway


def compare_workers(one: GatewayProcess, two: GatewayProcess, rounds: int) -> None:
    """Print requests a second with one and with two workers; client and provider share the same cores."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for count, gateway in ((1, one), (2, two)):
            rates[count].append(400 / run(gateway, request(1), 400, 64).took_s)
    first, second = statistics.median(rates[1]), statistics.median(rates[2])
    print(f"\nrequests/s at 64 open: {first:.0f} with one worker, {second:.0f} with two ({second / first:.2f} x)")


def main() -> None:
    """Print all curves."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead.curves", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base = stack.enter_context(upstream("openai"))
        gateway = started(stack, folder, base, 1)
        print(heading("bench.overhead.curves"))
        print(f"# {chosen.rounds} rounds, medians; one gateway, everything on\n")
        prompts(gateway, chosen.rounds)
        streams(gateway, chosen.rounds)
        compare_workers(gateway, started(stack, folder, base, 2), chosen.rounds)


if __name__ == "__main__":
    main()
