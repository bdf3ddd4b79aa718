from __future__ import annotations

import asyncio
from typing import Any, Self

import pytest
from aiohttp import web

from gateway.observe.webhook import MAX_WAITING, Webhook, check_url
from tests.fakes.edge import until

pytestmark = pytest.mark.anyio


class Receiver:
    """A loopback server that answers with the given statuses, then 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.heard: list[Any] = []
        self.arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/hook", self.hear)
        app.router.add_post("/elsewhere", self.hear)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        port = self.runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/hook"
        return self

    async def __aexit__(self, *details: object) -> None:
        await self.runner.cleanup()

    async def hear(self, request: web.Request) -> web.Response:
        self.heard.append((request.path, await request.json()))
        self.arrived.set()
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"location": "/elsewhere"} if status == 302 else {})


async def test_an_event_is_posted_as_json():
    async with Receiver() as receiver:
        hook = Webhook(receiver.url)
        hook.start()
        hook.tell("anomaly", {"signal": "latency"})
        await until(lambda: hook.delivered == 1)
        await hook.stop()
    assert receiver.heard == [("/hook", {"type": "anomaly", "data": {"signal": "latency"}})]


async def test_a_failing_receiver_is_asked_again_and_then_given_up():
    async with Receiver(500, 503) as receiver:
        hook = Webhook(receiver.url, waits_s=(0.0, 0.0, 0.0))
        hook.start()
        hook.tell("anomaly", {})
        await until(lambda: hook.delivered == 1)
        receiver.statuses = [500, 500, 500]
        hook.tell("anomaly", {})
        await until(lambda: hook.dropped == 1)
        await hook.stop()
    assert len(receiver.heard) == 6
    assert hook.last_error == "status 500"


@pytest.mark.parametrize("status", [302, 400, 410])
async def test_a_refusal_or_a_redirect_is_final(status: int):
    async with Receiver(status) as receiver:
        hook = Webhook(receiver.url, waits_s=(0.0, 0.0, 0.0))
        hook.start()
        hook.tell("anomaly", {})
        await until(lambda: hook.dropped == 1)
        await hook.stop()
    assert [path for path, _ in receiver.heard] == ["/hook"]


async def test_a_dead_receiver_costs_nothing_but_the_events():
    async with Receiver() as receiver:
        url = receiver.url
    hook = Webhook(url, waits_s=(0.0,))
    hook.start()
    hook.tell("anomaly", {})
    await until(lambda: hook.dropped == 1)
    await hook.stop()
    assert "Connect" in hook.last_error


async def test_the_queue_is_bounded_and_stop_is_safe_before_start():
    hook = Webhook("https://example.com/hook")
    for _ in range(MAX_WAITING + 5):
        hook.tell("anomaly", {})
    assert hook.dropped == 5
    await hook.stop()


@pytest.mark.parametrize(
    "url", ["https://hooks.example/x", "http://localhost:9/x", "http://127.0.0.1/x", "http://[::1]:8/x"]
)
def test_https_and_this_machine_may_be_called(url: str):
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/token",
        "http://10.0.0.1/",
        "ftp://x/",
        "https://",
        "",
        "file:///etc/passwd",
        "http://localhost.evil.com/",
    ],
)
def test_other_urls_are_refused_without_repeating_them(url: str):
    with pytest.raises(ValueError, match="https") as caught:
        Webhook(url)
    assert "token" not in str(caught.value)
