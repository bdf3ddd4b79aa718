"""A new configuration is taken while requests go on; a broken one is refused and changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from tests.fakes.edge import POLICY, Edge, models, running_edge

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def edge(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with running_edge(tmp_path_factory.mktemp("reload")) as found:
        yield found


def write(edge: Edge, *extra: str, **policy: Any) -> None:
    """Replace both files, each in one step as an editor does; ``extra`` names deployments beside the usual ones."""
    found = models({}, **edge.providers)
    found["deployments"] += [{**found["deployments"][0], "id": f"alpha/{name}", "model": name} for name in extra]
    for name, data in (("policy.yaml", {**POLICY, **policy}), ("models.yaml", found)):
        replace(edge, name, yaml.safe_dump(data))


def replace(edge: Edge, name: str, text: str) -> None:
    fresh = edge.gateway.folder / f".{name}.new"
    fresh.write_text(text)
    fresh.rename(edge.gateway.folder / name)


async def names(edge: Edge) -> set[str]:
    seen = await edge.request("GET", "/v1/models")
    return {row["id"] for row in seen.json["data"]}


async def until_known(edge: Edge, name: str, *, known: bool = True) -> None:
    for _ in range(1200):
        if (name in await names(edge)) is known:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{name} did not {'appear' if known else 'go'}")


@contextlib.asynccontextmanager
async def traffic(edge: Edge) -> AsyncIterator[list[int]]:
    """Ask all the time, streamed and not; every answer must be whole."""
    statuses: list[int] = []
    stop = asyncio.Event()

    async def client(*, stream: bool) -> None:
        while not stop.is_set():
            seen = await edge.chat(stream=stream)
            whole = not stream or seen.body.endswith(b"data: [DONE]\n\n")
            statuses.append(seen.status if whole else 0)

    clients = [asyncio.create_task(client(stream=bool(number % 2))) for number in range(3)]
    try:
        yield statuses
    finally:
        stop.set()
        await asyncio.gather(*clients)
    assert len(statuses) >= 3
    assert set(statuses) == {200}


async def test_a_changed_file_is_taken_under_traffic_and_state_survives_it(edge: Edge):
    await edge.chat(model="alpha/small")
    async with traffic(edge):
        write(edge, "by-file")
        await until_known(edge, "alpha/by-file")
        write(edge)
        await until_known(edge, "alpha/by-file", known=False)
    rows = (await edge.request("GET", "/v1/stats/deployments?window=hour")).json["data"]
    assert {row["deployment"]: row["requests"] > 0 for row in rows}["alpha/small"]


async def test_a_hangup_and_the_admin_call_reload_at_once(edge: Edge):
    async with traffic(edge):
        write(edge, "by-signal")
        os.kill(edge.gateway.pid, signal.SIGHUP)
        await until_known(edge, "alpha/by-signal")
        write(edge, "by-call")
        answered = await edge.request("POST", "/admin/reload")
        assert (answered.status, answered.json["status"]) == (200, "ok")
        assert "alpha/by-call" in await names(edge)
    answer = await edge.chat(model="alpha/by-call")
    assert (answer.status, answer.headers["x-router-deployment"]) == (200, "alpha/by-call")
    again = await edge.request("POST", "/admin/reload")
    assert again.json == {"status": "ok", "changed": False, "version": answered.json["version"]}


async def test_a_new_policy_counts_for_the_next_decision(edge: Edge):
    write(edge, policies={"balanced": {"cost": 9}, "frugal": {"cost": 20}})
    await edge.request("POST", "/admin/reload")
    routed = await edge.request("POST", "/v1/route", json={"model": "auto", "messages": [{"role": "user", "content": "hi"}], "router": {"policy": "frugal"}})  # fmt: skip
    assert routed.json["policy"] == "frugal"
    top = routed.json["candidates"][0]
    assert top["score"] > 2.0 * sum(top["terms"].values())
    write(edge)
    assert (await edge.request("POST", "/admin/reload")).status == 200  # who looks by itself may have been first
    assert (await edge.chat(router={"policy": "frugal"})).status == 400


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("models.yaml", "providers: {alpha: {wire: openai, colour: red}}\ndeployments: []\n", "colour"),
        ("models.yaml", "providers: [unclosed\n", "models.yaml"),
        ("policy.yaml", "retry: {max_attempts: -1}\n", "max_attempts"),
    ],
)
async def test_a_broken_file_is_refused_with_its_fault_and_the_old_configuration_stays(
    edge: Edge, name: str, text: str, said: str
):
    write(edge, "kept")
    await edge.request("POST", "/admin/reload")
    before = await names(edge)
    good = (edge.gateway.folder / name).read_text()
    async with traffic(edge):
        replace(edge, name, text)
        refused = await edge.request("POST", "/admin/reload")
        assert (refused.status, refused.error["code"]) == (400, "invalid_config")
        assert any(said in problem for problem in refused.error["problems"]), refused.error
        assert await names(edge) == before
    assert "alpha/kept" in before
    replace(edge, name, good)
    mended = await edge.request("POST", "/admin/reload")
    assert mended.status == 200
    metrics = (await edge.request("GET", "/metrics")).body.decode()
    failures = [line for line in metrics.splitlines() if "reload" in line and not line.startswith("#")]
    assert any(float(line.rpartition(" ")[2]) >= 1.0 for line in failures), failures
