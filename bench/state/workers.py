"""``python -m bench.state.workers``: does a second worker bring twice the requests a second?

A rate alone cannot tell where the load client and the provider share the workers' cores. What can be told anywhere is
what a request costs: as long as a worker is bound by its core, workers that share a store serve ``workers / CPU seconds
per request``, unless they wait for each other. So this measures CPU per request under full load with one worker and
with two, how evenly the two share it, and the plain rates beside it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import psutil

from bench.machine import heading
from bench.overhead.curves import request, run, started
from bench.overhead.setup import upstream
from tests.contract.redis_server import running
from tests.fakes.gateway import GatewayProcess


def workers_of(gateway: GatewayProcess) -> dict[int, float]:
    """Return the CPU seconds of every process that serves."""
    root = psutil.Process(gateway.pid)
    serving = [each for each in root.children() if "gateway" in " ".join(each.cmdline())] or [root]
    return {each.pid: float(sum(each.cpu_times()[:2])) for each in serving}


def full(gateway: GatewayProcess, calls: int) -> tuple[float, float, float]:
    """Return (requests/s, CPU ms per request, share of the busier worker) with 64 requests open all the time."""
    before = workers_of(gateway)
    one = run(gateway, request(1), calls, 64)
    spent = [after - before[pid] for pid, after in workers_of(gateway).items() if pid in before]
    return calls / one.took_s, sum(spent) / calls * 1000.0, max(spent) / sum(spent)


def compare(one: GatewayProcess, two: GatewayProcess, options: argparse.Namespace) -> None:
    """Alternate between the two and print medians."""
    found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    for _ in range(options.rounds):
        for count, gateway in ((1, one), (2, two)):
            found[count].append(full(gateway, options.calls))
    middle = {count: [statistics.median(row[n] for row in rows) for n in range(3)] for count, rows in found.items()}
    for count, (rate, cost, share) in middle.items():
        balance = f", the busier worker did {share:.0%}" if count > 1 else ""
        print(f"{count} worker(s): {cost:.2f} ms CPU a request{balance}; {rate:.0f} requests/s on these cores")
    print(f"two workers on cores of their own: {2 * middle[1][1] / middle[2][1]:.2f} x the requests of one")


def main() -> None:
    """Measure with SQLite, and with Redis where there is one."""
    parser = argparse.ArgumentParser(prog="python -m bench.state.workers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=1500, help="requests a round")
    options = parser.parse_args()
    print(heading("bench.state.workers"))
    print(f"# {options.rounds} rounds of {options.calls}, 64 open, medians; client and provider on the same cores")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base = stack.enter_context(upstream("openai"))
        redis = stack.enter_context(running())
        for name, store in (("sqlite", None), ("redis", redis.url)):
            own = folder / name
            os.mkdir(own)  # noqa: PTH102
            with ExitStack() as inner:
                pair = [started(inner, own, base, count, store=store) for count in (1, 2)]
                print(f"\n{name}")
                compare(pair[0], pair[1], options)


if __name__ == "__main__":
    main()
