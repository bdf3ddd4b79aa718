"""``python -m bench.overhead``: the gateway with everything on against bare ``litellm.acompletion``, one upstream.

Everything on: key check, classification, scoring, circuit, folding, decision records, SQLite. Rounds are interleaved,
figures are medians over rounds. CPU per call is the solid one on a noisy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench.machine import heading
from bench.overhead.load import Round, cpu_seconds, drive
from bench.overhead.setup import KEY, MESSAGES, WIRES, models, upstream
from tests.fakes.gateway import GatewayProcess


def bare_round(process: subprocess.Popen[str], job: dict[str, Any]) -> Round:
    """Let the bare process make one round."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    while line and not line.startswith("{"):  # the library talks on standard output
        line = process.stdout.readline()
    told = json.loads(line)
    return Round(told["cpu_s"], told["walls"], [])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=200, help="calls a round")
    parser.add_argument("--open", type=int, default=16, help="calls open at a time")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        bases = {wire: stack.enter_context(upstream(wire)) for wire in WIRES}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gateway = stack.enter_context(
            GatewayProcess(
                folder,
                models(bases),
                {"exploration": {"share": 0, "probe_share": 0}},
                store=f"sqlite:///{folder}/state.db",
                environment={"MOE_API_KEYS": KEY},
            )
        )
        environment = {**os.environ, "BENCH_MESSAGES": json.dumps(MESSAGES)}
        bare = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "bench.overhead.bare"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
        assert bare.stdout is not None
        bare.stdout.readline()
        print(heading("bench.overhead"))
        print(f"# {chosen.rounds} rounds of {chosen.calls} calls, {chosen.open} open; everything on; medians\n")
        print(f"{'what':34} {'gateway':>10} {'bare':>10} {'ratio':>7}")
        for wire, base in bases.items():
            for stream in (False, True):
                measure(gateway, bare, wire, base, stream=stream, chosen=chosen)
        bare.terminate()


def measure(
    gateway: GatewayProcess,
    bare: subprocess.Popen[str],
    wire: str,
    base: str,
    *,
    stream: bool,
    chosen: argparse.Namespace,
) -> None:
    """Print one row pair: CPU per call, and median wall time of a single open call."""
    url = f"{gateway.base_url}/chat/completions"
    body = {"model": f"{wire}-route", "messages": MESSAGES, "max_tokens": 400, "stream": stream}
    cpu = partial(cpu_seconds, gateway.pid)
    ours: list[float] = []
    theirs: list[float] = []
    added: list[float] = []
    calls = chosen.calls if not stream else max(20, chosen.calls // 4)
    for number in range(chosen.rounds + 1):
        job = {"wire": wire, "base": base, "count": calls, "open": chosen.open, "stream": stream}
        one = asyncio.run(drive(url, body, calls, chosen.open, cpu))
        other = bare_round(bare, job)
        single = asyncio.run(drive(url, body, 20, 1, cpu))
        direct_body = {**body, "model": "bench-model"}
        direct = base + ("/chat/completions" if wire == "openai" else "/v1/messages")
        straight = asyncio.run(drive(direct, direct_body, 20, 1, cpu))
        if number:  # the first round warms
            ours.append(one.cpu_s / calls * 1000)
            theirs.append(other.cpu_s / calls * 1000)
            added.append((statistics.median(single.walls) - statistics.median(straight.walls)) * 1000)
    name = f"{wire} wire, {'stream of 50 chunks' if stream else 'request'}"
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{name + ', CPU ms':34} {a:10.3f} {b:10.3f} {a / b:7.3f}")
    print(f"{name + ', added ms':34} {statistics.median(added):10.3f}", flush=True)


if __name__ == "__main__":
    main()
