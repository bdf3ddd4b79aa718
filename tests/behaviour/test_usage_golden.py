"""Recorded answers of providers, whole and streamed: five kinds of tokens, their cost, and what the client is told.

Each file of ``tests/golden/usage`` holds an answer in the shape its vendor documents (``source``), the same answer as a
stream, and what must come of both.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.fakes.gateway import GatewayProcess

pytestmark = pytest.mark.anyio

FILES = sorted((Path(__file__).parents[1] / "golden" / "usage").glob("*.json"))
GOLDEN: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in FILES}
KINDS = ("input", "cached_input", "cache_write", "output", "reasoning")
BASES = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}


async def play(request: web.Request) -> web.StreamResponse:
    """Answer with the recording that the request's model is named after."""
    body = await request.json()
    path = request.path
    name = body.get("model") or path.rpartition("/models/")[2].partition(":")[0]
    if not (body.get("stream") or "streamGenerateContent" in path):
        return web.json_response(GOLDEN[name]["answer"])
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in GOLDEN[name]["events"]:
        data = event["data"] if isinstance(event["data"], str) else json.dumps(event["data"])
        head = f"event: {event['event']}\n" if "event" in event else ""
        await response.write(f"{head}data: {data}\n\n".encode())
    return response


def models(port: int) -> dict[str, Any]:
    """Return a registry with one deployment a recording, at the recording's prices."""
    providers = {
        wire: {"wire": wire, "base_url": f"http://127.0.0.1:{port}{base}", "api_key": "k"}
        for wire, base in BASES.items()
    }
    rows = [
        {
            "id": f"{golden['wire']}/{name}",
            "provider": golden["wire"],
            "model": name,
            "context_window": 200_000,
            "price_usd_per_mtok": golden["price_usd_per_mtok"],
        }
        for name, golden in GOLDEN.items()
    ]
    return {"providers": providers, "deployments": rows}


@pytest.fixture(scope="module")
async def vendor() -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_post("/{path:.*}", play)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture(scope="module")
def gateway(vendor: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("golden")
    with GatewayProcess(folder, models(vendor), store=f"sqlite:///{folder}/state.db") as process:
        yield process


async def asked(gateway: GatewayProcess, name: str, *, stream: bool) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return (the usage a client sees, the one call of the decision's record, the decision)."""
    body: dict[str, Any] = {
        "model": f"{GOLDEN[name]['wire']}/{name}",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    async with aiohttp.ClientSession(gateway.origin) as session:
        async with session.post("/v1/chat/completions", json=body) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            decision = answer.headers["x-router-decision-id"]
        if stream:
            told = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
            usages = [chunk["usage"] for chunk in told if chunk.get("usage")]
            assert len(usages) == 1, text
            assert "".join(c["choices"][0]["delta"].get("content") or "" for c in told if c["choices"]) == "Paris."
            usage = usages[0]
        else:
            usage = json.loads(text)["usage"]
        async with session.get(f"/v1/decisions/{decision}") as answer:
            record = await answer.json()
    (call,) = record["outcome"]["attempts"]
    return usage, call, decision


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", GOLDEN)
async def test_a_recorded_answer_is_counted_and_paid_for_as_its_vendor_says(
    gateway: GatewayProcess, name: str, stream: bool
):
    expected = GOLDEN[name]["expected"]
    usage, call, _ = await asked(gateway, name, stream=stream)
    assert {kind: call["usage"][kind] for kind in KINDS} == expected["kinds"]
    assert call["usage"]["estimated"] is False
    assert sum(call["usage"][kind] for kind in KINDS) == expected["total"] == expected["usage"]["total_tokens"]
    assert call["cost_usd"] == pytest.approx(expected["cost_usd"], abs=1e-12)
    assert call["cost_source"] == "price_table"
    assert within(expected["usage"], usage), usage


def within(wanted: Any, found: Any) -> bool:
    """Say whether everything wanted is there; what a client sees may hold more."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(within(value, found.get(name)) for name, value in wanted.items())
    return bool(wanted == found) or (wanted == 0 and found is None)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_recording_partitions_what_it_says(name: str):
    """The files themselves: kinds add up to both halves of the usage, and the cost to the kinds at their prices."""
    golden = GOLDEN[name]
    kinds, usage = golden["expected"]["kinds"], golden["expected"]["usage"]
    assert kinds["input"] + kinds["cached_input"] + kinds["cache_write"] == usage["prompt_tokens"]
    assert kinds["output"] + kinds["reasoning"] == usage["completion_tokens"]
    assert golden["expected"]["cost_usd"] == pytest.approx(
        sum(kinds[kind] * golden["price_usd_per_mtok"][kind] for kind in KINDS) / 1e6
    )


async def test_the_ledger_holds_the_same_sums(gateway: GatewayProcess):
    wanted, mine = [], set()
    for name in GOLDEN:
        for stream in (False, True):
            mine.add((await asked(gateway, name, stream=stream))[2])
            wanted.append(GOLDEN[name]["expected"])
    rows = ledger(gateway, mine)
    assert len(rows) == len(wanted)
    for row in rows:
        assert sum(row[kind] for kind in KINDS) == row["total_tokens"]
    assert sum(row["total_tokens"] for row in rows) == sum(each["total"] for each in wanted)
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(sum(each["cost_usd"] for each in wanted))


def ledger(gateway: GatewayProcess, decisions: set[str]) -> list[dict[str, Any]]:
    """Return the booked rows of these decisions, once all of them are there."""
    path = gateway.store.removeprefix("sqlite:///")
    for _ in range(1200):
        with sqlite3.connect(path, timeout=60) as db:
            rows = [json.loads(text) for (text,) in db.execute("SELECT row FROM ledger ORDER BY n")]
        db.close()
        rows = [row for row in rows if row["decision_id"] in decisions]
        if {row["decision_id"] for row in rows} == decisions:
            return rows
        time.sleep(0.05)
    return rows
