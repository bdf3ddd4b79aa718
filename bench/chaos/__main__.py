"""Run mixed traffic through a gateway of this working tree while its three providers break at random."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from bench.chaos.load import TEMPLATE, Load, Sent
from bench.chaos.report import Observed, judge, report
from bench.chaos.trouble import Trouble
from bench.chaos.watch import Watch, connections
from gateway.demo.fleet import DemoProvider, spawn, stop_fleet
from tests.fakes.gateway import GatewayProcess

HERE = Path(__file__).parent
DEADLINE_S = 12.0
SETTLE_S = 3.0
MAX_DECISIONS = 2000
MAX_MINUTES, MAX_RATE = 30.0, 50.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 1 when something that must hold did not."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help=f"length of the run, at most {MAX_MINUTES:g}")
    parser.add_argument("--rate", type=float, default=20.0, help=f"requests a second, at most {MAX_RATE:g}")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between changes of the faults")
    parser.add_argument("--seed", type=int, default=None, help="repeats the choices of an earlier run")
    parser.add_argument("--keep", action="store_true", help="write the report to bench/chaos/results.txt")
    chosen = parser.parse_args(arguments)
    if not 0 < chosen.minutes <= MAX_MINUTES or not 0 < chosen.rate <= MAX_RATE:
        parser.error(f"at most {MAX_MINUTES:g} minutes and {MAX_RATE:g} requests a second")
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    text, good = asyncio.run(run(chosen.minutes * 60, chosen.rate, chosen.every, seed))
    print(text)
    if chosen.keep:
        (HERE / "results.txt").write_text(text + "\n")
    return 0 if good else 1


async def run(seconds: float, rate: float, every_s: float, seed: int) -> tuple[str, bool]:
    """Start everything, make traffic and trouble, look at what is left; returns the report and whether all held."""
    specs = [("chaos-openai", "openai", ()), ("chaos-anthropic", "anthropic", ()), ("chaos-gemini", "gemini", ())]
    with contextlib.ExitStack() as stack:
        providers = spawn(specs, seed=seed)
        stack.callback(stop_fleet, providers)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = f"sqlite:///{folder}/state.db"
        gateway = stack.enter_context(GatewayProcess(folder / "config", models(providers), policy(), store=store))
        async with aiohttp.ClientSession() as session:
            for provider in providers:
                answer = {"text": TEMPLATE, "delay_s": 0.01, "first_delay_s": 0.02, "prefill": "continue"}
                await session.post(provider.origin + "/_control/answer", json=answer)
            load = Load(gateway.origin, "mix", rate=rate, deadline_s=DEADLINE_S, seed=seed)
            trouble = Trouble(providers, seed, every_s)
            watch = Watch(gateway.pid, gateway.origin)
            await watch.count_tasks(session)
            watching = asyncio.create_task(watch.run(session))
            started_fds = connections(gateway.pid)
            await asyncio.gather(load.run(seconds), trouble.run(session, seconds))
            await asyncio.sleep(SETTLE_S)
            watching.cancel()
            await watch.count_tasks(session)
            upstream = await seen_upstream(session, providers)
            booked = await booked_by(session, gateway.origin, load.sent)
            active = [await state(session, provider) for provider in providers]
            left_open = connections(gateway.pid) - started_fds
        seen = Observed(load.sent, upstream, booked, active, watch, seed, trouble.switched, left_open, trouble.health)
        return report(seen), all(held for _, held in judge(seen))


def models(providers: Sequence[DemoProvider]) -> dict[str, Any]:
    """Return ``models.yaml`` of one scored route over the three providers."""
    return {
        "providers": {each.name: {"wire": each.wire, "base_url": each.base_url} for each in providers},
        "deployments": [
            {
                "id": f"{each.name}/chaos",
                "provider": each.name,
                "model": "chaos",
                "context_window": 100_000,
                "price_usd_per_mtok": {"input": 1.0, "output": 2.0},
            }
            for each in providers
        ],
        "routes": {"mix": {"order": "weighted", "deployments": [f"{each.name}/chaos" for each in providers]}},
    }


def policy() -> dict[str, Any]:
    """Return ``policy.yaml``: short limits, so that some minutes see many of them run out."""
    return {
        "timeouts": {"first_content_s": 2, "first_content_floor_s": 2, "idle_s": 2, "total_s": DEADLINE_S},
        "breaker": {"open_s": 3, "open_cap_s": 10},
        "retry": {"budget_ratio": 1.0},
    }


async def seen_upstream(session: aiohttp.ClientSession, providers: Sequence[DemoProvider]) -> list[dict[str, Any]]:
    """Return every call the providers saw."""
    rows: list[dict[str, Any]] = []
    for provider in providers:
        async with session.get(provider.origin + "/_control/requests") as answer:
            rows += [{**row, "provider": provider.name} for row in await answer.json() if row["method"] == "POST"]
    return rows


async def state(session: aiohttp.ClientSession, provider: DemoProvider) -> int:
    """Return how many calls a provider still answers."""
    async with session.get(provider.origin + "/_control/state") as answer:
        return int((await answer.json())["active"])


async def booked_by(session: aiohttp.ClientSession, origin: str, sent: Sequence[Sent]) -> dict[str, Any]:
    """Return what the gateway booked: requests by task, and for the last decisions the calls made for each prompt."""
    async with session.get(f"{origin}/v1/stats/tasks", params={"window": "all"}) as answer:
        tasks = await answer.json()
    calls: dict[str, int] = {}
    for each in [each for each in sent if each.decision][-MAX_DECISIONS:]:
        async with session.get(f"{origin}/v1/decisions/{each.decision}") as answer:
            row = await answer.json() if answer.status == 200 else {}
        calls[each.prompt] = len((row.get("outcome") or {}).get("attempts") or ())
    return {"tasks": tasks["data"], "calls": calls}


if __name__ == "__main__":
    sys.exit(main())
