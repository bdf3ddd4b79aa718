"""Background comparisons: never seen, never waited for, never on the client's bill; booked, bounded, learned from."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.ledger import read
from gateway.state import open_store
from tests.fakes.panel import ADMIN, CLIENT, JUDGE, Panel, running_panel

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def world(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Panel, str]]:
    folder = tmp_path_factory.mktemp("shadow")
    store = f"sqlite:///{folder}/state.db"
    policy = {"shadow": {"share": 1.0, "max_usd_per_day": 5.0, "deployments": ["beta/small"]}}
    async with running_panel(folder / "config", policy, store=store) as panel:
        yield panel, store


@pytest.fixture
async def panel(world: tuple[Panel, str]) -> Panel:
    found = world[0]
    await found.until(lambda: not any(provider.active for provider in found.providers.values()))
    found.reset()
    return found


def said() -> tuple[str, dict[str, Any]]:
    """A word of its own, and the messages with it: calls that are left over from another test are not this one's."""
    word = f"word{secrets.token_hex(6)}"
    return word, {"messages": [{"role": "user", "content": f"hello there, {word}"}]}


def calls(panel: Panel, name: str, word: str) -> list[Any]:
    """The calls at a provider that came of a request with this word."""
    return [call for call in panel.calls(name) if word in str(call.body["messages"])]


async def rows_of(store: str, decision: str, count: int) -> list[Any]:
    """The ledger's rows of a decision, once there are so many."""
    reader = open_store(store)
    await reader.open()
    try:
        async with asyncio.timeout(60):
            while True:
                found = [row async for row in read(reader) if row["decision_id"] == decision]
                if len(found) >= count:
                    return sorted(found, key=lambda row: row["attempt"])
                await asyncio.sleep(0.1)
    finally:
        await reader.close()


async def compared(panel: Panel, decision: str) -> Any:
    """A decision's record as the client sees it, once its comparison is in it."""
    async with asyncio.timeout(60):
        while "shadow" not in (told := await panel.get(f"/v1/decisions/{decision}", CLIENT)):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
    return told


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_answer_is_compared_after_the_client_has_it(world: tuple[Panel, str], panel: Panel, stream: bool):
    panel.providers["beta"].answer("beta says so, but with a good many more words")
    word, asked = said()
    reply = await panel.ask(None, stream=stream, **asked)
    assert reply.text == "alpha says so"
    assert "shadow" not in reply.body.decode()
    assert "beta says" not in reply.body.decode()
    rows = await rows_of(world[1], reply.headers["x-router-decision-id"], 4)
    assert [(row["deployment"], row["role"]) for row in rows] == [
        ("alpha/small", "primary"),
        ("beta/small", "shadow"),
        (JUDGE, "judge"),
        (JUDGE, "judge"),
    ]
    assert [row["attempt"] for row in rows] == [0, 1, 2, 3]
    assert [row["key_id"] for row in rows[1:]] == ["shadow"] * 3
    assert rows[0]["key_id"] != "shadow"
    assert all(row["cost_usd"] > 0.0 for row in rows)
    assert [row["served"] for row in rows] == [True, False, False, False]
    (call,) = calls(panel, "beta", word)
    assert not call.body.get("stream")
    judged = [str(each.body["messages"][1]["content"]) for each in calls(panel, "judge", word)]
    assert len(judged) == 2
    assert sorted(text.index("alpha says") < text.index("beta says") for text in judged) == [False, True]
    told = await compared(panel, reply.headers["x-router-decision-id"])
    assert told["outcome"]["served_by"] == "alpha/small"
    shadow = told["shadow"]
    assert (shadow["served"], shadow["rival"], shadow["judge"]) == ("alpha/small", "beta/small", JUDGE)
    assert len(shadow["scores"]) == 2


async def test_the_verdict_counts_in_the_win_rates(panel: Panel):
    def wins(report: dict[str, Any]) -> int:
        return sum(row["wins"] for row in report["data"] if row["deployment"] == "beta/small")

    before = wins(await panel.get("/v1/stats/win-rates?window=all"))
    panel.providers["beta"].answer("beta says so, but with a good many more words")
    await panel.ask(None)
    async with asyncio.timeout(60):
        while wins(await panel.get("/v1/stats/win-rates?window=all")) <= before:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_the_client_waits_for_nothing(panel: Panel):
    panel.providers["beta"].answer("slow", first_delay_s=5.0)
    word, asked = said()
    began = time.monotonic()
    reply = await panel.ask(None, **asked)
    assert reply.status == 200
    assert time.monotonic() - began < 4.5
    await panel.until(lambda: len(calls(panel, "beta", word)) == 1)


async def test_a_rival_that_fails_is_booked_and_nobody_notices(world: tuple[Panel, str], panel: Panel):
    panel.providers["beta"].fail("status", None, status=500)
    word, asked = said()
    reply = await panel.ask(None, **asked)
    assert reply.text == "alpha says so"
    rows = await rows_of(world[1], reply.headers["x-router-decision-id"], 2)
    assert [(row["role"], row["ok"]) for row in rows] == [("primary", True), ("shadow", False)]
    assert calls(panel, "judge", word) == []


async def test_a_key_that_keeps_its_prompts_to_itself_is_left_out(panel: Panel):
    url = f"{panel.gateway.origin}/admin/keys"
    headers = {"authorization": f"Bearer {ADMIN}"}
    async with panel.session.post(url, json={"name": "private", "capture": False}, headers=headers) as made:
        token = (await made.json())["token"]
    word, asked = said()
    reply = await panel.ask(None, key=token, **asked)
    assert reply.status == 200
    await asyncio.sleep(0.5)
    assert {name: len(calls(panel, name, word)) for name in ("alpha", "beta", "judge")} == {
        "alpha": 1,
        "beta": 0,
        "judge": 0,
    }


@pytest.mark.parametrize(
    "more",
    [
        {"router": {"exclude": ["beta"]}},
        {"router": {"only": ["alpha", "judge"]}},
        {"router": {"mode": "first_success"}},
        {"n": 2},
    ],
    ids=str,
)
async def test_what_may_not_go_elsewhere_does_not(panel: Panel, more: dict[str, Any]):
    word, asked = said()
    reply = await panel.ask(None, **asked, **more)
    assert reply.status == 200
    await asyncio.sleep(0.4)
    assert calls(panel, "judge", word) == []
    assert len(calls(panel, "beta", word)) <= (1 if "first_success" in str(more) else 0)


async def test_the_clients_budget_is_not_touched(world: tuple[Panel, str], panel: Panel):
    url = f"{panel.gateway.origin}/admin/keys"
    headers = {"authorization": f"Bearer {ADMIN}"}
    wishes = {"name": "poor", "budgets": [{"window": "day", "usd": 1.0}]}
    async with panel.session.post(url, json=wishes, headers=headers) as made:
        body = await made.json()
    reply = await panel.ask(None, key=body["token"])
    assert reply.status == 200, reply.body
    await rows_of(world[1], reply.headers["x-router-decision-id"], 4)  # the comparison's are the last
    costs = await panel.get("/v1/stats/costs?window=all")
    mine = [row for row in costs["data"] if row["group"] == "key" and row["name"] == body["id"]]
    assert mine
    assert mine[0]["cost_usd"]["total"] == pytest.approx(float(reply.headers["x-router-cost-usd"]), abs=1e-6)


@pytest.mark.parametrize(("usd", "expected"), [(0.0001, False), (0.3, True)])
async def test_the_days_budget_bounds_what_comparisons_cost(tmp_path: Path, usd: float, expected: bool):
    # One comparison can cost 0.005 for the rival's 50 tokens and as much for each verdict.
    policy = {"shadow": {"share": 1.0, "max_usd_per_day": usd, "deployments": ["beta/small"]}}
    async with running_panel(tmp_path, policy) as panel:
        for _ in range(2):
            assert (await panel.ask(None)).status == 200
        if expected:
            await panel.until(lambda: panel.calls("beta"))
        else:
            await asyncio.sleep(0.7)
            assert panel.calls("beta") == []


async def test_draining_ends_comparisons_without_a_trace_in_the_clients_answers(tmp_path: Path):
    policy = {"shadow": {"share": 1.0, "deployments": ["beta/small"]}}
    async with running_panel(tmp_path, policy) as panel:
        panel.providers["beta"].fail("hang", None)
        assert (await panel.ask(None)).status == 200
        await panel.until(lambda: len(panel.calls("beta")) == 1)
        began = time.monotonic()
        code = await asyncio.to_thread(panel.gateway.stop)
        assert code == 0
        assert time.monotonic() - began < 25.0, "it was waited for"
        (call,) = panel.calls("beta")
        await panel.until(lambda: call.closed_at is not None)
        assert call.client_closed
        log = panel.gateway.log.read_text()
        assert "Traceback" not in log, log[-3000:]


async def test_it_is_off_out_of_the_box(tmp_path: Path):
    async with running_panel(tmp_path) as panel, aiohttp.ClientSession():
        assert (await panel.ask(None, key=CLIENT)).status == 200
        await asyncio.sleep(0.4)
        assert panel.called == ["alpha"]
