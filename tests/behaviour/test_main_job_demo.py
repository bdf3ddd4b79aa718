"""The main job against the built-in demo providers: who answers and why, and what happens when one of them dies."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.config.loader import LoadedConfig, load
from gateway.demo.registry import demo_config
from router_core.record import recompute
from tests.fakes.edge import CHAT, Edge, Seen
from tests.fakes.gateway import GatewayProcess
from tests.fakes.stage import Reply

pytestmark = pytest.mark.anyio

NO_KEY = {
    "providers": {"acme": {"wire": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": "${ACME_KEY}"}},
    "deployments": [
        {
            "id": "acme/m1",
            "provider": "acme",
            "model": "m1",
            "context_window": 8192,
            "price_usd_per_mtok": {"input": 1, "output": 2},
        }
    ],
}
POLICY = {"exploration": {"share": 0, "probe_share": 0}, "breaker": {"consecutive_failures": 2, "open_s": 300}}
PROMPTS = {
    "code_generation": "Write a Python function that parses ISO 8601 durations and returns seconds.",
    "reasoning": "If all bloops are razzies and all razzies are lazzies, are all bloops lazzies? Prove it step by step.",
    "documentation": "Write a README section that documents how to install and configure this command line tool.",
    "general": "Tell me a joke about penguins.",
}
_DEMO = re.compile(r"demo provider (\S+) \((\w+) wire\) pid (\d+) at (\S+)")


@pytest.fixture(scope="module")
async def demo(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """A gateway whose only deployment has no key, so that it starts the demo providers."""
    gateway = GatewayProcess(tmp_path_factory.mktemp("demo"), NO_KEY, POLICY)
    await asyncio.to_thread(gateway.__enter__)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            yield Edge(gateway, {}, session)
    finally:
        await asyncio.to_thread(gateway.stop)


def fleet(edge: Edge) -> dict[str, tuple[int, str]]:
    """The printed providers: name -> (pid, base URL)."""
    return {name: (int(pid), base) for name, _, pid, base in _DEMO.findall(edge.gateway.log.read_text())}


def configuration(edge: Edge) -> LoadedConfig:
    bases = {name: base for name, (_, base) in fleet(edge).items()}
    return load(edge.gateway.folder, {}, overlay=demo_config(bases))


async def ask(edge: Edge, prompt: str, **body: Any) -> Seen:
    return await edge.chat(model="auto", messages=[{"role": "user", "content": prompt}], **body)


async def record_of(edge: Edge, seen: Seen) -> dict[str, Any]:
    found = await edge.request("GET", f"/v1/decisions/{seen.headers['x-router-decision-id']}")
    assert found.status == 200, found.body
    return dict(found.json)


async def test_without_a_key_three_demo_providers_start_and_a_way_to_try_them_is_printed(demo: Edge):
    log = demo.gateway.log.read_text()
    assert {wire for _, wire, _, _ in _DEMO.findall(log)} == {"openai", "anthropic", "gemini"}
    for pid, _ in fleet(demo).values():
        os.kill(pid, 0)
    assert f"curl -s {demo.gateway.base_url}/chat/completions" in log
    assert "OpenAI(base_url=" in log
    assert f"{demo.gateway.origin}/dashboard" in log
    assert "no key (1): acme/m1" in log


async def test_a_policy_moves_the_same_prompt_to_a_cheaper_model(demo: Edge):
    """Asked before anything was learned of how short the demo's answers are."""
    chosen = {}
    for policy in ("quality", "cost"):
        messages = [{"role": "user", "content": PROMPTS["code_generation"]}]
        body = {"model": "auto", "messages": messages, "router": {"policy": policy}}
        record = (await demo.request("POST", "/v1/route", json=body)).json
        assert record["policy"] == policy
        chosen[policy] = record["candidates"][0]
        assert chosen[policy]["deployment"] == record["chosen"]
    quality, cost = chosen["quality"], chosen["cost"]
    assert quality["terms"]["quality"] > cost["terms"]["quality"]
    assert quality["facts"]["expected_cost_usd"] > cost["facts"]["expected_cost_usd"]


async def test_the_same_call_with_different_prompts_goes_to_different_models_for_reasons_that_are_recorded(demo: Edge):
    served: dict[str, str] = {}
    for task, prompt in PROMPTS.items():
        seen = await ask(demo, prompt)
        assert seen.status == 200, seen.body
        record = await record_of(demo, seen)
        assert record["task"]["task"] == task, (record["task"], prompt)
        served[task] = record["chosen"]
        assert seen.headers["x-router-deployment"] == record["chosen"] == record["outcome"]["served_by"]
        assert record["chosen"] == record["candidates"][0]["deployment"]
        assert record["chosen"].partition("/")[2] in record["rationale"]
        assert record["task"]["evidence"]
        for candidate in record["candidates"]:
            weighted = sum(candidate["terms"].values()) * candidate["adjustment"]
            assert candidate["score"] == pytest.approx(weighted, abs=1e-6)  # balanced: every weight is 1
    assert len(set(served.values())) >= 2
    assert len({name.partition("/")[0] for name in served.values()}) >= 2


async def test_route_decides_as_chat_would_and_calls_nobody(demo: Edge):
    body = {"model": "auto", "messages": [{"role": "user", "content": PROMPTS["code_generation"]}]}
    before = (await demo.request("GET", "/v1/stats/providers?window=hour")).json["summary"]["requests"]
    routed = await demo.request("POST", "/v1/route", json=body)
    assert routed.status == 200
    after = (await demo.request("GET", "/v1/stats/providers?window=hour")).json["summary"]["requests"]
    assert after == before
    assert routed.json["chosen"] == (await demo.request("POST", CHAT, json=body)).headers["x-router-deployment"]


@pytest.mark.parametrize("policy", ["balanced", "cost", "speed"])
async def test_a_fetched_decision_is_recomputed_to_the_same_choice(demo: Edge, policy: str):
    seen = await ask(
        demo, PROMPTS["documentation"], router={"policy": policy, "max_cost_usd": 0.02, "exclude": ["demo-openai"]}
    )
    record = await record_of(demo, seen)
    config = configuration(demo)
    assert (record["registry_version"], record["policy_version"]) == (config.registry.version, config.policy.version)
    again = recompute(record, config.registry, config.policy)
    assert again.chosen == record["chosen"] == seen.headers["x-router-deployment"]
    assert list(again.fallbacks) == record["fallbacks"]
    assert [each.deployment for each in again.ranking] == [each["deployment"] for each in record["candidates"]]
    assert [each.score for each in again.ranking] == pytest.approx([each["score"] for each in record["candidates"]])
    assert {each.deployment: str(each.rule) for each in again.rejections} == {
        each["deployment"]: each["rule"] for each in record["rejections"]
    }


async def killed(pid: int, base: str) -> None:
    """Kill a provider and wait until its port refuses."""
    os.kill(pid, signal.SIGKILL)
    where = urlsplit(base)
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection(where.hostname, where.port)
            except ConnectionRefusedError:
                return
            except ConnectionError:
                continue
            writer.close()
            await asyncio.sleep(0.01)


async def test_killing_a_provider_moves_its_traffic_on_without_a_client_error_and_its_circuit_shows_open(demo: Edge):
    before = await ask(demo, PROMPTS["code_generation"])
    victim = before.headers["x-router-provider"]
    await killed(*fleet(demo)[victim])
    seen = [await ask(demo, PROMPTS["code_generation"], stream=number % 2 == 1) for number in range(4)]
    for each in seen:
        assert each.status == 200, each.body
        assert each.headers["x-router-provider"] != victim
        reply = Reply(each.status, each.headers, each.body)
        assert reply.text
        assert reply.finish == "stop"
    assert seen[0].headers["x-router-fallback-reason"] == "connect"
    first = await record_of(demo, seen[0])
    assert [call["ok"] for call in first["outcome"]["attempts"]][-1] is True
    assert first["outcome"]["attempts"][0]["failure"] == "connect"
    assert "x-router-fallback-reason" not in seen[-1].headers  # by now nobody asks the dead one
    refused = {each["deployment"]: each["rule"] for each in (await record_of(demo, seen[-1]))["rejections"]}
    assert refused[before.headers["x-router-deployment"]] == "breaker"

    circuits = (await demo.request("GET", "/admin/breakers")).json["data"]
    assert circuits[before.headers["x-router-deployment"]]["state"] == "open"
    assert circuits[seen[-1].headers["x-router-deployment"]]["state"] == "closed"
    rows = (await demo.request("GET", "/v1/stats/providers?window=hour")).json["data"]
    states = {row["provider"]: row["breaker"]["state"] for row in rows}
    assert states[victim] == "open"
    assert states[seen[-1].headers["x-router-provider"]] == "closed"
    metrics = (await demo.request("GET", "/metrics")).body.decode()
    name = re.escape(before.headers["x-router-deployment"])
    assert re.search(rf'moe_gateway_breaker_state{{[^}}]*deployment="{name}"[^}}]*state="open"[^}}]*}} 1', metrics)
