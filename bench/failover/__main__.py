"""Run the scenarios against a gateway of this working tree and print a scorecard."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import openai

from bench.failover.scenarios import SCENARIOS, Result, Scenario, Scene, Verdict, play
from bench.failover.setup import FAST_SCALE, models, policy
from tests.fakes.gateway import GatewayProcess
from tests.fakes.provider import FakeProvider

HERE = Path(__file__).parent
LANES = 3
MODES = ("error", "continue", "buffer")
VERDICTS: tuple[Verdict, ...] = ("pass", "partial", "safe", "fail")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 1 when one of the sixteen failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="a tenth of the times, in the scenarios and the gateway")
    parser.add_argument("--modes", default=",".join(MODES), help="stream_recovery modes, comma-separated")
    parser.add_argument("--only", default="", help="scenarios, comma-separated")
    parser.add_argument("--wires", default="openai,openai", help="wire of the primary and of the fallback")
    parser.add_argument("--keep", action="store_true", help="write the scorecard to bench/failover/results-*.txt")
    chosen = parser.parse_args(arguments)
    scale = FAST_SCALE if chosen.fast else 1.0
    scenarios = [s for s in SCENARIOS if not chosen.only or s.id in chosen.only.split(",")]
    wires = tuple(chosen.wires.split(","))
    if wires[0] == "gemini":
        scenarios = [s for s in scenarios if s.id != "S11"]
    columns = {mode: asyncio.run(run(scenarios, mode, scale, wires)) for mode in chosen.modes.split(",")}
    text = scorecard(columns, fast=chosen.fast, wires=wires)
    print(text)
    if chosen.keep:
        speed = "fast" if chosen.fast else "full"
        wire = "" if wires == ("openai", "openai") else "-" + "-".join(wires)
        (HERE / f"results-{speed}{wire}.txt").write_text(text + "\n")
    return int(any(r.verdict == "fail" for results in columns.values() for r in results if r.id.startswith("S")))


async def run(scenarios: Sequence[Scenario], mode: str, scale: float, wires: tuple[str, ...]) -> list[Result]:
    """Play the scenarios against one gateway, three at a time: each has providers and a route of its own."""
    async with contextlib.AsyncExitStack() as stack:
        pairs = {}
        for scenario in scenarios:
            primary = await stack.enter_async_context(FakeProvider(wires[0], name="primary"))
            fallback = await stack.enter_async_context(FakeProvider(wires[-1], name="fallback"))
            pairs[scenario.id.lower()] = (scenario, primary, fallback)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gateway = GatewayProcess(folder / "config", models(pairs), policy(mode, scale))
        await asyncio.to_thread(gateway.__enter__)
        stack.callback(gateway.stop)
        client = await stack.enter_async_context(
            openai.AsyncOpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=150)
        )
        lanes = asyncio.Semaphore(LANES)

        async def one(route: str, scenario: Scenario, primary: FakeProvider, fallback: FakeProvider) -> Result:
            async with lanes:
                result = await play(scenario, Scene(primary, fallback, client, route, scale))
            print(f"  {mode:9} {line(result)}", file=sys.stderr, flush=True)
            return result

        return list(await asyncio.gather(*(one(route, *parts) for route, parts in pairs.items())))


def line(result: Result) -> str:
    """One scenario in one line; attempts are primary + fallback."""
    attempts = f"{result.attempts[0]}+{result.attempts[1]}"
    notes = "; ".join(result.notes)
    return f"{result.id} {result.verdict:8}{result.seconds:6.1f} s  {attempts:>6}  {result.title:44} {notes}".rstrip()


def scorecard(columns: dict[str, list[Result]], *, fast: bool, wires: tuple[str, ...]) -> str:
    """The results as text, with the day and the machine."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    lines = [
        f"Failover scenarios, {dt.datetime.now(dt.UTC):%Y-%m-%d}, {'a tenth of the times' if fast else 'full times'}",
        f"{os.cpu_count()} cores, {memory_gb:.0f} GB, Python {platform.python_version()}, revision {commit.strip()}",
        f"primary on the {wires[0]} wire, fallback on the {wires[-1]} wire; loopback providers, OpenAI's SDK as client",
    ]
    for mode, results in columns.items():
        counted = [r for r in results if r.id.startswith("S")]
        total = Counter(r.verdict for r in counted)
        lines += ["", f"stream_recovery: {mode}   " + ", ".join(f"{total[v]} {v}" for v in VERDICTS)]
        lines += ["  " + line(result) for result in results]
    lines += [
        "",
        "Verdict, length of the call, attempts at primary + fallback. S: the public scenarios; X: more.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
