"""``python -m bench.fanout``: the gateway's CPU for a panel of three against one call, and first_success' waiting time.

Three loopback providers, each a process of its own. CPU is that of the gateway's process alone, and medians are taken
over rounds whose order is interleaved. For the waiting time the providers answer after 400, 800 and 1,200 ms;
``single`` is the same fastest leg asked through the gateway: what racing adds, told from what any call adds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.machine import heading
from bench.overhead.load import cpu_seconds, drive
from bench.overhead.setup import KEY
from tests.fakes.gateway import GatewayProcess

NAMES = ("first", "second", "third", "judge")
MESSAGES = [{"role": "user", "content": ("Compare these two designs and say which one you would build. " * 20)[:1000]}]
DELAYS_S = (0.4, 0.8, 1.2, 0.0)
MODES = (None, "first_success", "quality_weighted", "voting", "judge")


@contextmanager
def upstream(name: str) -> Iterator[str]:
    """Run one provider; yields its origin."""
    command = [sys.executable, "-m", "gateway.demo.child", "--wire", "openai", "--name", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.terminate()


def answer(origin: str, name: str, delay_s: float) -> None:
    """Fix a provider's answer: fifty words, after so many seconds."""
    text = '{"winner": "A", "reason": "it is right"}' if name == "judge" else "word " * 50
    settings = {"text": text, "chunks": 10, "delay_s": 0, "first_delay_s": delay_s, "bench": True}
    data = json.dumps(settings).encode()
    call = urllib.request.Request(f"{origin}/_control/answer", data, {"content-type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(call, timeout=10):  # noqa: S310 - loopback
        pass


def models(origins: dict[str, str]) -> dict[str, Any]:
    """Return a configuration with one deployment at each provider, the first the best."""
    return {
        "providers": {
            name: {"wire": "openai", "base_url": f"{origin}/v1", "api_key": "bench-upstream-key"}
            for name, origin in origins.items()
        },
        "deployments": [
            {
                "id": f"{name}/bench-model",
                "provider": name,
                "model": "bench-model",
                "context_window": 128_000,
                "price_usd_per_mtok": {"input": 1.0, "output": 2.0},
                "quality": {"default": {"mean": 0.9 - 0.1 * place, "weight": 1000}},
            }
            for place, name in enumerate(origins)
        ],
        "judges": ["judge/bench-model"],
    }


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.fanout", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=100, help="calls a round")
    parser.add_argument("--open", type=int, default=8, help="calls open at a time")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        origins = {name: stack.enter_context(upstream(name)) for name in NAMES}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        policy = {
            "exploration": {"share": 0, "probe_share": 0},
            "policies": {"balanced": {"cost": 0.0, "performance": 0.0, "learning": 0.0}},
            "learning": {"residual_share": 0.0},
        }
        environment = {"MOE_API_KEYS": KEY}
        store = f"sqlite:///{folder}/state.db"
        gateway = stack.enter_context(
            GatewayProcess(folder, models(origins), policy, store=store, environment=environment)
        )
        print(heading("bench.fanout"))
        print(f"# {chosen.rounds} rounds of {chosen.calls} calls, {chosen.open} open; medians\n")
        cpu(gateway, origins, chosen)
        waiting(gateway, origins, chosen)


def body(mode: str | None, *, stream: bool, model: str = "auto") -> dict[str, Any]:
    """Return a request."""
    asked: dict[str, Any] = {"model": model, "messages": MESSAGES, "max_tokens": 200, "stream": stream}
    return asked if mode is None else {**asked, "router": {"mode": mode}}


def cpu(gateway: GatewayProcess, origins: dict[str, str], chosen: argparse.Namespace) -> None:
    """Print the gateway's CPU per request of each mode."""
    for name, origin in origins.items():
        answer(origin, name, 0.0)
    url, spent = f"{gateway.base_url}/chat/completions", partial(cpu_seconds, gateway.pid)
    print(f"{'CPU per request':26} {'calls':>5} {'ms':>8} {'x single':>9} {'x per call':>11}")
    for stream in (False, True):
        found: dict[str | None, list[float]] = {mode: [] for mode in MODES}
        for number in range(chosen.rounds + 1):
            for mode in MODES:
                one = asyncio.run(drive(url, body(mode, stream=stream), chosen.calls, chosen.open, spent))
                if number:  # the first round warms
                    found[mode].append(one.cpu_s / chosen.calls * 1000.0)
        single = statistics.median(found[None])
        for mode, values in found.items():
            calls = 1 if mode is None else 5 if mode == "judge" else 3
            name = f"{mode or 'single'}, {'stream' if stream else 'whole'}"
            value = statistics.median(values)
            print(f"{name:26} {calls:5} {value:8.3f} {value / single:9.2f} {value / single / calls:11.2f}", flush=True)


def waiting(gateway: GatewayProcess, origins: dict[str, str], chosen: argparse.Namespace) -> None:
    """Print how long first_success takes against the fastest of its legs alone."""
    for (name, origin), delay_s in zip(origins.items(), DELAYS_S, strict=True):
        answer(origin, name, delay_s)
    url, spent = f"{gateway.base_url}/chat/completions", partial(cpu_seconds, gateway.pid)
    straight = f"{origins['first']}/v1/chat/completions"
    print(f"\n{'time to the answer, ms':26} {'fastest leg':>12} {'single':>8} {'first_success':>14} {'ratio':>7}")
    for stream in (False, True):
        alone: list[float] = []
        single: list[float] = []
        raced: list[float] = []
        for _ in range(chosen.rounds):
            direct = asyncio.run(drive(straight, body(None, stream=stream, model="bench-model"), 8, 1, spent))
            one = asyncio.run(drive(url, body(None, stream=stream, model="first/bench-model"), 8, 1, spent))
            race = asyncio.run(drive(url, racing(stream=stream), 8, 1, spent))
            alone.extend(direct.walls)
            single.extend(one.walls)
            raced.extend(race.walls)
        a, b, c = (statistics.median(walls) * 1000.0 for walls in (alone, single, raced))
        name = "stream" if stream else "whole answer"
        print(f"{name:26} {a:12.1f} {b:8.1f} {c:14.1f} {c / a:7.3f}", flush=True)


def racing(*, stream: bool) -> dict[str, Any]:
    """Return a race of the three; the judge, who waits for nothing, is left out."""
    asked = body("first_success", stream=stream)
    return {**asked, "router": {**asked["router"], "exclude": ["judge"]}}


if __name__ == "__main__":
    main()
