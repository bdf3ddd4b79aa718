"""One request makes at most ``max_upstream_calls`` calls upstream, whatever it asks for and however badly they go."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from router_core.request import Mode
from tests.fakes.edge import MOST_CALLS, Edge

pytestmark = pytest.mark.anyio

ASKED: list[dict[str, Any]] = [
    {},
    {"n": 16},
    {"models": ["alpha/small", "beta/small"] * 16},
    {"router": {"fallbacks": ["beta/small", "alpha/small"] * 10}},
    {"provider": {"allow_fallbacks": True, "order": ["alpha", "beta"] * 8}},
    *({"router": {"mode": str(mode)}} for mode in Mode),
    *({"router": {"mode": str(mode), "critical": True}, "n": 4} for mode in Mode),
    *({"router": {"mode": str(mode), "stream_recovery": "continue"}, "stream": True} for mode in Mode),
    {"router": {"stream_recovery": "buffer"}, "stream": True},
]
FAULTS = ("server_error", "truncated_json", "cut_after")


@pytest.mark.parametrize("fields", ASKED, ids=lambda fields: json.dumps(fields)[:80])
async def test_the_calls_of_a_request_are_bounded(edge: Edge, fields: dict[str, Any]):
    for fault in FAULTS:
        await edge.heal()
        for provider in edge.providers.values():
            provider.fail(fault, times=None)
        for model in ("main", "auto"):
            before = len(edge.calls)
            seen = await edge.chat(model=model, **fields)
            made = len(edge.calls) - before
            assert made <= MOST_CALLS, (fault, model, fields, made)
            assert seen.status != 500
    await edge.heal()
    await edge.assert_well()


async def test_a_kept_connection_that_breaks_is_replaced_once_a_call(edge: Edge):
    await edge.assert_well()
    for provider in edge.providers.values():
        provider.fail("close", times=None)
    edge_calls = len(edge.calls)
    seen = await edge.chat()
    assert seen.status in {502, 503}
    assert len(edge.calls) - edge_calls <= 2 * MOST_CALLS


async def test_good_answers_are_bounded_too(edge: Edge):
    for fields in ASKED:
        for model in ("main", "auto"):
            edge.reset()
            seen = await edge.chat(model=model, **fields)
            assert 1 <= len(edge.calls) <= MOST_CALLS, (fields, seen.status, seen.body[:200])


async def test_a_decision_alone_calls_nobody(edge: Edge):
    for fields in ASKED:
        seen = await edge.request(
            "POST", "/v1/route", json={"model": "auto", "messages": [{"role": "user", "content": "x"}], **fields}
        )
        assert seen.status < 500
    await asyncio.sleep(0.1)
    assert edge.calls == []


async def test_a_hint_can_lower_the_time_and_never_raise_it(edge: Edge):
    edge.providers["alpha"].fail("hang", times=None, seconds=30)
    edge.providers["beta"].fail("hang", times=None, seconds=30)
    async with asyncio.timeout(25):
        seen = await edge.chat(router={"max_latency_ms": 300})
    assert seen.status == 408, seen.body
    assert seen.headers["x-should-retry"] == "false"
    assert len(edge.calls) <= MOST_CALLS
