"""A client that leaves ends its calls upstream at once, and it is nobody's failure.

Calls hang for ever and streams are endless here: what ends them is the client's leaving, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import secrets
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.fakes.edge import CHAT, HELLO, Edge, post, until

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}


async def leave(edge: Edge, name: str, *, after: Callable[[], Any], stream: bool, mode: str | None = None) -> None:
    """Send a request with a tag and drop the connection once ``after`` is true."""
    router = {"tags": [name]} | ({} if mode is None else {"mode": mode})
    body = {"model": "main", "messages": HELLO, "stream": stream, "router": router}
    task = asyncio.create_task(edge.request("POST", CHAT, json=body))
    try:
        await until(after)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def row_of(edge: Edge, name: str) -> dict[str, Any]:
    """Return the record of a request once it is there."""
    async with asyncio.timeout(60):
        while True:
            rows = (await edge.request("GET", "/dashboard/data/decisions")).json["data"]
            for row in rows:
                if name in row["tags"]:
                    return dict(row)
            await asyncio.sleep(0.02)


async def observed(edge: Edge) -> float:
    """Return how much the gateway has learned from, once what went before is in it."""
    before = -1.0
    while True:
        rows = (await edge.request("GET", "/dashboard/data/learning")).json["data"]
        assert rows
        found = sum(float(row["observations"]) + float(row["rewards"]) for row in rows)
        if 0.0 <= before > found - 1e-3:  # what is known fades all the time, a little
            return found
        before = found
        await asyncio.sleep(0.3)


MOMENTS = {
    "stream, nothing yet": (True, "hang", None),
    "stream, headers only": (True, "headers_then_nothing", None),
    "stream, role only": (True, "role_then_silence", None),
    "stream, in the middle": (True, None, None),
    "whole, nothing yet": (False, "hang", None),
    "whole, headers only": (False, "headers_then_nothing", None),
    "two at once": (True, "hang", "first_success"),
    "two at once, whole": (False, "hang", "first_success"),
    "all voting": (False, "hang", "voting"),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_leaving_ends_the_calls_and_blames_nobody(edge: Edge, moment: str):
    stream, fault, mode = MOMENTS[moment]
    await edge.heal()
    for provider in edge.providers.values():
        if fault is not None:
            provider.fail(fault, times=None)
        else:
            provider.answer("word " * 5000, delay_s=0.02)
    calls = 1 if mode is None else 2
    name = f"leave-{secrets.token_hex(6)}"
    began = (
        (lambda: edge.calls and edge.calls[0].first_byte_at) if fault is None else (lambda: len(edge.calls) == calls)
    )
    circuits = (await edge.request("GET", "/admin/breakers")).json["data"]
    learned = await observed(edge)
    await leave(edge, name, after=began, stream=stream, mode=mode)
    await until(lambda: all(call.closed_at is not None for call in edge.calls))
    assert all(call.client_closed for call in edge.calls)
    row = await row_of(edge, name)
    assert row["status"] == 499
    assert {attempt["failure"] for attempt in row["attempts"]} == {"cancelled"}
    assert len(edge.calls) == calls, "nobody else is asked"
    assert (await edge.request("GET", "/admin/breakers")).json["data"] == circuits
    assert await observed(edge) <= learned + 1e-3
    await edge.idle()
    edge.reset()
    await edge.assert_well()


async def test_leaving_is_heard_behind_a_large_body_too(edge: Edge):
    await edge.heal()
    edge.providers["alpha"].fail("hang", times=None)
    body = {"model": "main", "messages": [{"role": "user", "content": "x" * 700_000}]}
    raw = post(json.dumps(body).encode())
    for cut in (len(raw), 100, 200_000):
        edge.providers["alpha"].server.recorder.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        for part in (raw[:cut], raw[cut:]):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)
        await until(lambda: len(edge.calls) == 1)
        writer.close()
        await until(lambda: edge.calls[0].closed_at is not None)
        assert edge.calls[0].client_closed


async def test_many_that_leave_hold_no_place(edge: Edge):
    await edge.heal()
    edge.providers["alpha"].fail("hang", times=None)
    names = [f"crowd-{number}" for number in range(60)]
    crowd = [
        asyncio.create_task(leave(edge, name, after=lambda: len(edge.calls) >= len(names), stream=bool(number % 2)))
        for number, name in enumerate(names)
    ]
    await asyncio.gather(*crowd)
    await until(lambda: all(call.closed_at is not None for call in edge.calls))
    edge.reset()
    await edge.assert_well()
    await edge.idle()


# --- clients that read slowly, or ask for much

EVENT = 'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"small","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
LAST = 'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"small","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
EVENTS = 2500


async def test_a_client_that_reads_nothing_stops_the_provider_too(edge: Edge):
    await edge.heal()
    alpha = edge.providers["alpha"]
    alpha.answer(raw_chunks=[EVENT % ("a" * 16_384)] * EVENTS + [LAST])  # 40 MB
    process = psutil.Process(edge.gateway.pid)
    before = process.memory_info().rss
    async with edge.session.post(
        f"{edge.gateway.origin}{CHAT}", json={"model": "main", "messages": HELLO, "stream": True}
    ) as answer:
        assert answer.status == 200
        await asyncio.sleep(1.0)
        grown = process.memory_info().rss - before
        assert alpha.active == 1, "the provider could send all of it"
        assert grown < 24 << 20, f"the gateway holds {grown >> 20} MB of an answer that nobody reads"
        whole = bytearray()
        async for part in answer.content.iter_any():
            whole += part
    assert whole.count(b'"content":"aaaa') == EVENTS
    assert whole.rstrip().endswith(b"data: [DONE]")
    await until(lambda: alpha.active == 0)


async def test_a_huge_prompt_keeps_nobody_waiting(edge: Edge):
    await edge.heal()
    huge = ("Explain this: " + "lorem ipsum dolor sit amet " * 40_000)[: 1 << 20]
    body = json.dumps({"model": "main", "messages": [{"role": "user", "content": huge}]}).encode()
    many = [asyncio.create_task(edge.request("POST", CHAT, JSON, data=io.BytesIO(body))) for _ in range(4)]
    slowest = 0.0
    loop = asyncio.get_running_loop()
    while not all(task.done() for task in many):
        began = loop.time()
        assert (await edge.request("GET", "/healthz")).status == 200
        slowest = max(slowest, loop.time() - began)
    assert [task.result().status for task in many] == [200] * 4
    assert slowest < 10.0, slowest
