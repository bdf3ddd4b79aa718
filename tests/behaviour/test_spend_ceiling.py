"""A policy's spend ceiling: overspending makes cost weigh more, the record says so, and a restart does not forget."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.edge import Edge, models
from tests.fakes.gateway import GatewayProcess
from tests.fakes.provider import FakeProvider

pytestmark = pytest.mark.anyio

POLICY = {
    "policies": {"thrifty": {"performance": 0, "learning": 0, "usd_per_hour": 0.0001, "usd_per_day": 1000}},
    "exploration": {"share": 0, "probe_share": 0},
    "learning": {"enabled": False},
    "scoring": {"live_min_requests": 10_000, "default_output_tokens": 26},
}
HINTS = {"task": "general", "policy": "thrifty"}


async def decision(edge: Edge, policy: str = "thrifty") -> dict[str, Any]:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], "router": {**HINTS, "policy": policy}}
    seen = await edge.request("POST", "/v1/route", json=body)
    assert seen.status == 200, seen.body
    return dict(seen.json)


async def ceilings(edge: Edge) -> dict[float, dict[str, Any]]:
    seen = await edge.request("GET", "/dashboard/data/learning")
    assert seen.status == 200, seen.body
    return {row["period_s"]: row for row in seen.json["pacing"]}


@pytest.fixture
async def edge(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Edge]:
    async with contextlib.AsyncExitStack() as stack:
        providers = {name: await stack.enter_async_context(FakeProvider()) for name in ("alpha", "beta")}
        setup = models({}, **providers)
        good, cheap = setup["deployments"]
        good |= {
            "quality": {"default": {"mean": 0.80, "weight": 50}},
            "price_usd_per_mtok": {"input": 1, "output": 100},
        }
        cheap |= {
            "quality": {"default": {"mean": 0.695, "weight": 50}},
            "price_usd_per_mtok": {"input": 1, "output": 2},
        }
        gateway = GatewayProcess(tmp_path / "config", setup, POLICY, store=f"sqlite:///{tmp_path}/state.db")
        stack.push_async_callback(asyncio.to_thread, gateway.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        await asyncio.to_thread(gateway.__enter__)
        yield Edge(gateway, providers, session)


async def test_overspending_moves_the_choice_to_the_cheaper_and_a_restart_keeps_the_pace(edge: Edge):
    left_s = 3600.0 - time.time() % 3600.0
    if left_s < 60.0:  # the hour must not end in the middle
        await asyncio.sleep(left_s + 1.0)
    before = await decision(edge)
    assert (before["chosen"], before["weights"]["cost"]) == ("alpha/small", 1.0)
    for number in range(12):
        body = {"messages": [{"role": "user", "content": f"hello {number}"}], "router": HINTS}
        seen = await edge.chat(model="auto", **body)
        assert seen.status == 200, seen.body
    async with asyncio.timeout(60):  # it is looked at four times a second
        while (found := await decision(edge))["chosen"] != "beta/small":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert found["weights"]["cost"] > 1.3
    for row in found["candidates"]:
        total = sum(found["weights"][name] * term for name, term in row["terms"].items())
        assert row["score"] == pytest.approx(total * row["adjustment"])
    assert (await decision(edge, "balanced"))["weights"]["cost"] == 1.0
    rows = await ceilings(edge)
    assert rows[3600.0]["spent_usd"] > 0.0001
    assert rows[3600.0]["spent_usd"] == pytest.approx(rows[86_400.0]["spent_usd"])
    assert rows[86_400.0]["cost_factor"] == 1.0

    await asyncio.to_thread(edge.gateway.stop)
    await asyncio.to_thread(edge.gateway.__enter__)
    again = await ceilings(edge)
    assert again[86_400.0]["spent_usd"] == pytest.approx(rows[86_400.0]["spent_usd"])
    assert (await decision(edge))["weights"]["cost"] > 1.0
