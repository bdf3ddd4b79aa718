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
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.machine import heading
from bench.overhead.load import Round, drive
from tests.fakes.gateway import GatewayProcess

TEXT = "word " * 50
SENTENCE = "Our nightly import fails with a timeout when the file has more than ten thousand rows; find out why. "
MESSAGES = [{"role": "user", "content": (SENTENCE * 12)[:1000]}]
WIRES = {"openai": "/v1", "anthropic": ""}


@contextmanager
def upstream(wire: str) -> Iterator[str]:
    """Run a loopback provider of one wire with one fixed answer of fifty chunks; yields its base URL."""
    command = [sys.executable, "-m", "gateway.demo.child", "--wire", wire, "--name", f"bench-{wire}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        origin = f"http://127.0.0.1:{port}"
        settings = {"text": TEXT, "chunks": 50, "delay_s": 0, "first_delay_s": 0, "bench": True}
        _post(f"{origin}/_control/answer", settings)
        try:
            yield origin + WIRES[wire]
        finally:
            process.terminate()


def _post(url: str, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    call = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(call, timeout=10):  # noqa: S310 - loopback
        pass


def models(bases: dict[str, str]) -> dict[str, Any]:
    """Return a configuration of twenty deployments; only the first of each wire is eligible for its route."""
    providers = {
        wire: {"wire": wire, "base_url": base, "api_key": "bench-upstream-key"} for wire, base in bases.items()
    }
    deployments = [
        {
            "id": f"{wire}/bench-model-{index}",
            "provider": wire,
            "model": f"bench-model-{index}",
            "context_window": 128_000,
            "price_usd_per_mtok": {"input": 1.0, "output": 2.0},
            "capabilities": ["tools", "vision", "json_schema"],
            "quality": {"default": 0.5 + index * 0.02},
        }
        for wire in bases
        for index in range(20 // len(bases))
    ]
    routes = {
        f"{wire}-route": {
            "order": "scored",
            "deployments": [row["id"] for row in deployments if row["provider"] == wire],
        }
        for wire in bases
    }
    return {"providers": providers, "deployments": deployments, "routes": routes}


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
                environment={"MOE_API_KEYS": "bench-client-key-0123456789"},
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
    ours: list[float] = []
    theirs: list[float] = []
    added: list[float] = []
    calls = chosen.calls if not stream else max(20, chosen.calls // 4)
    for number in range(chosen.rounds + 1):
        job = {"wire": wire, "base": base, "count": calls, "open": chosen.open, "stream": stream}
        one = asyncio.run(drive(url, body, calls, chosen.open, gateway.pid))
        other = bare_round(bare, job)
        single = asyncio.run(drive(url, body, 20, 1, gateway.pid))
        direct_body = {**body, "model": "bench-model"}
        direct = base + ("/chat/completions" if wire == "openai" else "/v1/messages")
        straight = asyncio.run(drive(direct, direct_body, 20, 1, gateway.pid))
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
