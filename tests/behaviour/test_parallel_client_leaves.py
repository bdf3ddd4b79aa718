"""A client that leaves a fan-out: everything upstream ends at once, and what was answered already is paid for."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.ledger import read
from gateway.state import open_store
from tests.fakes.panel import CLIENT, Panel, running_panel

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def world(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Panel, str]]:
    folder = tmp_path_factory.mktemp("leaving")
    store = f"sqlite:///{folder}/state.db"
    policy = {
        "parallel": {"judge_timeout_s": 40.0, "quorum": 3},
        "timeouts": {"first_content_s": 40, "total_s": 60},
        "hedging": {"enabled": True, "min_wait_s": 0.1, "max_share": 1.0, "max_cost_share": 1.0},
    }
    async with running_panel(folder / "config", policy, store=store) as panel:
        yield panel, store


async def leave(panel: Panel, mode: str | None, when: Any, *, stream: bool) -> str:
    """Ask, wait until something is so, and leave; returns the request's id."""
    name = f"leave-{secrets.token_hex(8)}"
    headers = {"authorization": f"Bearer {CLIENT}", "x-request-id": name}
    body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    body |= {"router": {"mode": mode} if mode else {}, "max_tokens": 50}
    async with aiohttp.ClientSession(headers=headers) as session:
        task = asyncio.create_task(session.post(f"{panel.gateway.origin}/v1/chat/completions", json=body))
        await panel.until(when)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return name


async def rows_of(store: str, request_id: str) -> list[Any]:
    """The ledger's rows of a request, once they are there: they are written together."""
    reader = open_store(store)
    await reader.open()
    try:
        async with asyncio.timeout(60):
            while True:
                found = [row async for row in read(reader) if row["request_id"] == request_id]
                if found:
                    return found
                await asyncio.sleep(0.1)
    finally:
        await reader.close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_while_the_judge_thinks_the_legs_stay_paid(world: tuple[Panel, str], stream: bool):
    panel, store = world
    panel.reset()
    panel.providers["judge"].fail("hang", None)
    name = await leave(panel, "judge", lambda: len(panel.calls("judge")) == 2, stream=stream)
    await panel.until(lambda: all(call.closed_at is not None for call in panel.calls("judge")), within_s=15.0)
    rows = await rows_of(store, name)
    assert sorted((row["role"], row["ok"], row["cost_usd"] > 0.0) for row in rows) == [
        ("judge", False, True),
        ("judge", False, True),
        ("leg", True, True),
        ("leg", True, True),
        ("leg", True, True),
    ]


@pytest.mark.parametrize("mode", ["first_success", "voting"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_while_the_legs_work_they_are_cancelled(world: tuple[Panel, str], mode: str, stream: bool):
    panel, store = world
    panel.reset()
    for name in ("alpha", "beta", "gamma"):
        panel.providers[name].fail("hang", None)
    request = await leave(panel, mode, lambda: len(panel.called) == 3, stream=stream)
    for name in ("alpha", "beta", "gamma"):
        (call,) = panel.calls(name)
        await panel.until(lambda call=call: call.closed_at is not None, within_s=15.0)
        assert call.client_closed
    rows = await rows_of(store, request)
    assert [(row["role"], row["failure"]) for row in rows] == [("leg", "cancelled")] * 3


async def test_a_hedged_request_ends_both_its_calls(world: tuple[Panel, str]):
    panel, store = world
    panel.reset()
    for provider in panel.providers.values():
        provider.fail("hang", None)
    name = await leave(panel, None, lambda: len(panel.called) == 2, stream=False)
    await panel.until(lambda: not any(provider.active for provider in panel.providers.values()), within_s=15.0)
    rows = await rows_of(store, name)
    assert sorted((row["role"], row["failure"]) for row in rows) == [("hedge", "cancelled"), ("primary", "cancelled")]
