"""A budget holds against callers who try to get around it: odd limits, many choices, leaving early, several at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from tests.fakes.edge import CHAT, HELLO, Edge, assert_refused, bearer, until

pytestmark = pytest.mark.anyio

PER_TOKEN = 2e-6
"""USD an output token costs at every deployment of these tests."""


async def budgeted(edge: Edge, usd: float) -> dict[str, str]:
    """Make a key that may spend so much in total."""
    wishes = {"budgets": [{"window": "total", "usd": usd}]}
    made = (await edge.request("POST", "/admin/keys", edge.admin, json=wishes)).json
    token = bearer(made["token"])
    async with asyncio.timeout(60):
        while (await edge.request("GET", "/v1/models", token)).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return token


async def left(edge: Edge, token: dict[str, str]) -> float:
    """Return what is left of a budget: a request that asks for more than anything is told."""
    refused = await edge.chat(token, max_tokens=900_000)
    return float(assert_refused(refused, 402, "budget_exceeded")["left_usd"])


async def test_without_a_limit_of_ones_own_no_more_is_written_than_was_reserved_for(keyed: Edge):
    await keyed.heal()
    token = await budgeted(keyed, 0.05)
    for stream in (False, True):
        keyed.reset()
        seen = await keyed.chat(token, stream=stream)
        assert seen.status == 200
        assert seen.headers["x-router-adjusted-params"] == "max_tokens"
        assert keyed.calls[0].body["max_tokens"] == 4096
    keyed.reset()
    free = await keyed.chat()
    assert "x-router-adjusted-params" not in free.headers
    assert "max_tokens" not in keyed.calls[0].body


@pytest.mark.parametrize(
    "fields",
    [
        {"max_completion_tokens": 1, "max_tokens": 40_000},
        {"max_completion_tokens": 40_000, "max_tokens": 1},
        {"max_tokens": 6000, "n": 8},
        {"router": {"mode": "voting"}, "max_tokens": 20_000},
        {"router": {"mode": "first_success"}, "max_tokens": 20_000},
    ],
    ids=json.dumps,
)
async def test_what_a_request_may_cost_is_reckoned_with_everything_it_asks_for(keyed: Edge, fields: dict[str, Any]):
    await keyed.heal()
    token = await budgeted(keyed, 0.06)
    assert_refused(await keyed.chat(token, **fields), 402, "budget_exceeded")
    assert keyed.calls == []


@pytest.mark.parametrize(
    "value", ["NaN", "-1", "-1e9", "1e308", "0", "true", '"9"', "1e400", "[]", "99999999999999999999"]
)
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n"])
async def test_a_limit_that_cannot_be_reserves_nothing_and_calls_nobody(keyed: Edge, name: str, value: str):
    token = {**await budgeted(keyed, 0.05), "Content-Type": "application/json"}
    body = json.dumps({"model": "main", "messages": HELLO})[:-1] + f', "{name}": {value}}}'
    assert_refused(await keyed.send(body.encode(), token), 400)
    assert keyed.calls == []
    assert await left(keyed, token) == pytest.approx(0.05)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", ["hang", "headers_then_nothing"])
async def test_leaving_before_the_answer_is_no_way_to_pay_nothing(keyed: Edge, fault: str, stream: bool):
    await keyed.heal()
    token = await budgeted(keyed, 0.05)
    keyed.providers["alpha"].fail(fault, times=None)
    body = {"model": "main", "messages": HELLO, "stream": stream, "max_tokens": 5000}
    task = asyncio.create_task(keyed.request("POST", CHAT, token, json=body))
    await until(lambda: keyed.calls)
    await asyncio.sleep(0.3)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await until(lambda: all(call.closed_at is not None for call in keyed.calls))
    await keyed.idle()
    gone = 0.05 - await left(keyed, token)
    assert 20 * PER_TOKEN <= gone <= 5000 * PER_TOKEN + 1e-4


async def test_no_number_of_callers_at_once_spends_more_than_there_is(keyed: Edge):
    await keyed.heal()
    for provider in keyed.providers.values():
        provider.answer("word " * 400, usage={"input": 10, "output": 500})
    token = await budgeted(keyed, 0.01)
    # Not first_success: a leg given up is booked by its time, and this provider writes 500 tokens in none.
    asks = [
        {"max_tokens": 500, "stream": bool(number % 2), "router": {"mode": mode}}
        for number, mode in enumerate(["single", "voting", "quality_weighted"] * 8)
    ]
    seen = await asyncio.gather(*(keyed.chat(token, **fields) for fields in asks))
    assert {answer.status for answer in seen} <= {200, 402, 429}
    assert any(answer.status == 200 for answer in seen)
    billed = sum(500 * PER_TOKEN + 10 * PER_TOKEN / 2 for call in keyed.calls if not call.client_closed)
    assert billed <= 0.01
