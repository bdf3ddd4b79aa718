"""What was learned outlives a restart, and moves decisions before and after it; the commands read the same store."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.edge import HELLO, Edge, models
from tests.fakes.gateway import ROOT, GatewayProcess
from tests.fakes.provider import FakeProvider

pytestmark = pytest.mark.anyio

POLICY = {
    "exploration": {"share": 0, "probe_share": 0},
    "learning": {"feedback_prior": 4},
    "scoring": {"live_min_requests": 1000},
}
HINTS = {"task": "general"}
ASKED = 5
COUNT = itertools.count()  # no prompt twice: asking again soon would count against the first answer


@dataclass(slots=True)
class Story:
    """One gateway's first life, and what its second one finds."""

    edge: Edge
    store: str
    decisions: list[dict[str, Any]] = field(default_factory=list)
    served: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


async def ask(edge: Edge) -> str:
    messages = [{"role": "user", "content": f"hello, number {next(COUNT)}"}]
    seen = await edge.chat(model="auto", messages=messages, router=HINTS)
    assert seen.status == 200, seen.body
    return seen.headers["x-router-decision-id"]


async def fetch(edge: Edge, path: str) -> Any:
    seen = await edge.request("GET", path)
    assert seen.status == 200, seen.body
    return seen.json


async def decide(edge: Edge) -> dict[str, Any]:
    seen = await edge.request("POST", "/v1/route", json={"model": "auto", "messages": HELLO, "router": HINTS})
    assert seen.status == 200, seen.body
    return dict(seen.json)


async def settled(edge: Edge) -> dict[str, Any]:
    """Statistics when every request is in them: they are added a moment after the answer."""
    for _ in range(2000):
        found = await fetch(edge, "/v1/stats/deployments?window=all")
        if sum(row["requests"] for row in found["data"]) == ASKED:
            return dict(found)
        await asyncio.sleep(0.02)
    pytest.fail(f"not every request was counted: {found}")


def terms(decision: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {each["deployment"]: each["terms"] for each in decision["candidates"]}


@pytest.fixture(scope="module")
async def story(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    """Let a gateway answer, be told that it was bad, stop and start again over the same SQLite file."""
    folder = tmp_path_factory.mktemp("restart")
    store = f"sqlite:///{folder}/state.db"
    async with contextlib.AsyncExitStack() as stack:
        providers = {name: await stack.enter_async_context(FakeProvider()) for name in ("alpha", "beta")}
        gateway = GatewayProcess(folder / "config", models({}, **providers), POLICY, store=store)
        stack.push_async_callback(asyncio.to_thread, gateway.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        edge = Edge(gateway, providers, session)
        told = Story(edge, store)

        await asyncio.to_thread(gateway.__enter__)
        fresh = await decide(edge)
        for _ in range(ASKED):
            name = await ask(edge)
            told.decisions.append(await fetch(edge, f"/v1/decisions/{name}"))
            told.served.append(told.decisions[-1]["outcome"]["served_by"])
            vote = {"decision_id": name, "score": 0.0, "source": "reviewer"}
            accepted = await edge.request("POST", "/v1/feedback", json=vote)
            assert accepted.json["status"] == "accepted", accepted.body
        told.before = await decide(edge)
        assert terms(fresh) != terms(told.before)
        told.stats = await settled(edge)
        await asyncio.to_thread(gateway.stop)

        await asyncio.to_thread(gateway.__enter__)
        told.after = await decide(edge)
        yield told


async def test_feedback_moves_the_next_decision_away(story: Story):
    """The first few went to one, until what people said of it weighed more than its lead."""
    first = story.served[0]
    assert story.served[1:] != [first] * (ASKED - 1)
    other = next(name for name in story.served if name != first)
    assert story.served.count(other) >= 1
    learned = terms(story.decisions[story.served.index(other)])
    assert learned[first]["learning"] < learned[other]["learning"]
    assert learned[first]["quality"] < learned[other]["quality"]


async def test_what_was_learned_decides_after_a_restart_as_before(story: Story):
    assert story.after["chosen"] == story.before["chosen"]
    before, after = terms(story.before), terms(story.after)
    assert set(before) == set(after)
    for name, values in before.items():
        assert after[name] == pytest.approx(values, abs=0.02), name
    neutral = {"quality": 25.0, "learning": 5.0}
    assert all(after[name]["learning"] < neutral["learning"] for name in set(story.served))
    known = {each["deployment"]: each["facts"]["known"] for each in story.after["candidates"]}
    for name in set(story.served):
        assert known[name]["observations"] == pytest.approx(story.served.count(name), rel=0.01)
        assert known[name]["latency_s"] > 0.0


async def test_decisions_of_the_first_life_are_still_there(story: Story):
    for record in story.decisions:
        again = await fetch(story.edge, f"/v1/decisions/{record['id']}")
        assert again == record


async def test_a_vote_of_the_first_life_is_not_counted_again(story: Story):
    vote = {"decision_id": story.decisions[0]["id"], "score": 1.0, "source": "reviewer"}
    answered = await story.edge.request("POST", "/v1/feedback", json=vote)
    assert (answered.status, answered.json["status"], answered.json["score"]) == (200, "duplicate", 0.0)


async def test_statistics_go_on_where_they_were(story: Story):
    rows = {row["deployment"]: row for row in (await fetch(story.edge, "/v1/stats/deployments?window=all"))["data"]}
    for row in story.stats["data"]:
        found = rows[row["deployment"]]
        for name in ("requests", "successes"):
            assert found[name] == row[name]
        assert found["cost_usd"]["total"] == pytest.approx(row["cost_usd"]["total"])
        assert found["quality"]["mean"] == pytest.approx(row["quality"]["mean"])
    assert sum(row["requests"] for row in rows.values()) == ASKED


async def command(story: Story, *words: str, **more: str) -> tuple[int, str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MOE_")}
    gateway = story.edge.gateway
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", *words),
        cwd=ROOT,
        env={**inherited, "MOE_STORE_URL": story.store, "PORT": str(gateway.port), "HOST": "127.0.0.1", **more},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(300):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_commands_read_what_the_gateway_wrote(story: Story):
    """Each as a program of its own, at the same time as the others."""
    folder = str(story.edge.gateway.folder)
    stats, ledger, keys, check, explain, wrong = await asyncio.gather(
        command(story, "stats", "deployments", "--window", "all", "--json"),
        command(story, "ledger", "export", "--format", "json"),
        command(story, "keys", "create", "--name", "ci", "--json"),
        command(story, "check", "--config", folder, "--json"),
        command(story, "explain", "hello", "--config", folder, "--json"),
        command(story, "check", "--config", str(Path(folder) / "nowhere")),
    )
    assert [code for code, _, _ in (stats, ledger, keys, check, explain)] == [0] * 5, (
        stats,
        ledger,
        keys,
        check,
        explain,
    )
    assert sum(row["requests"] for row in json.loads(stats[1])["data"]) == ASKED
    rows = [json.loads(line) for line in ledger[1].splitlines()]
    assert sorted(row["deployment"] for row in rows) == sorted(story.served)
    assert json.loads(keys[1])["token"]
    assert json.loads(check[1])["live"] == ["alpha/small", "beta/small"]
    assert json.loads(explain[1])["chosen"] in {"alpha/small", "beta/small"}
    assert wrong[0] == 2
    assert "Traceback" not in "".join(err for *_, err in (stats, ledger, keys, check, explain, wrong))
