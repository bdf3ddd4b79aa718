"""Calls for tests: a provider and a deployment around a base URL, and a forwarder that knows one key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from gateway.forward.forwarder import HttpForwarder
from gateway.secrets import Secret
from router_core.deployment import Deployment, Lane, Provider
from router_core.errors import AttemptFailed
from router_core.outcome import Failure
from router_core.ports import Answer, Call, Event, Stream
from router_core.price import Price

KEY = "test-key-0123456789"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Say hello to the world"}]


def call_to(
    base_url: str | None,
    wire: str = "openai",
    body: Mapping[str, Any] | None = None,
    *,
    model: str = "m-1",
    stream: bool = False,
    lane: Lane = Lane.AUTO,
    options: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    **changes: Any,
) -> Call:
    provider = Provider(
        id="p",
        wire=wire,
        base_url=base_url,
        key_ref="KEY",
        lane=lane,
        options=options or {},
        headers=headers or {},
    )
    deployment = Deployment(id=f"p/{model}", provider="p", model=model, context_window=8192, price=Price(1.0, 2.0))
    full = {"model": "asked", "messages": HELLO, **(body or {})}
    return Call(deployment, provider, full, stream=stream, deadline=1e12, **changes)


@asynccontextmanager
async def forwarder(**options: Any) -> AsyncIterator[HttpForwarder]:
    secret = Secret(KEY)
    made = HttpForwarder(secrets={"KEY": secret}.get, **options)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def answer(made: HttpForwarder, call: Call) -> Answer:
    found = await made.send(call)
    assert isinstance(found, Answer)
    return found


async def events(made: HttpForwarder, call: Call) -> list[Event]:
    """Return all events of a stream that ends well."""
    stream = await made.send(call)
    assert isinstance(stream, Stream)
    try:
        return [event async for event in stream]
    finally:
        await stream.aclose()


async def failure(made: HttpForwarder, call: Call) -> tuple[Failure, list[Event]]:
    """Return how a call fails, and the events that came before."""
    got: list[Event] = []
    try:
        found = await made.send(call)
        if isinstance(found, Answer):
            raise AssertionError(found.body)  # noqa: TRY004 - the test has failed
        async for event in found:
            got.append(event)  # noqa: PERF401 - they are wanted when it breaks
    except AttemptFailed as exc:
        return exc.failure, got
    raise AssertionError(got)


def text_of(got: list[Event]) -> str:
    deltas = (choice["delta"] for event in got if event.chunk for choice in event.chunk["choices"])
    return "".join(delta.get("content") or "" for delta in deltas)
