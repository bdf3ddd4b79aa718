"""A gateway in front of a panel: four providers that answer, one that judges; the twin shares the first one's provider."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from gateway.demo.records import Recorded
from tests.fakes.gateway import GatewayProcess
from tests.fakes.provider import FakeProvider
from tests.fakes.stage import Reply

QUALITY = {"alpha/small": 0.9, "alpha/twin": 0.89, "beta/small": 0.8, "gamma/small": 0.7, "delta/small": 0.6}
JUDGE = "judge/wise"
NAMES = ("alpha", "beta", "gamma", "delta", "judge")
ADMIN = "panel-operator-key-0001"
CLIENT = "panel-client-key-0001"
POLICY: dict[str, Any] = {
    "timeouts": {"connect_s": 5, "first_content_s": 30, "first_content_floor_s": 30, "idle_s": 30, "total_s": 60},
    "retry": {"budget_floor": 100_000, "backoff_base_s": 0.01, "backoff_cap_s": 0.02, "max_attempts": 1},
    "breaker": {"consecutive_failures": 10_000, "min_calls": 10_000},
    "exploration": {"share": 0, "probe_share": 0},
    "learning": {"enabled": False},
    "policies": {"balanced": {"cost": 0.0, "performance": 0.0}},  # the order is that of quality, whatever is learned
    "parallel": {"quorum_grace_s": 1.5, "judge_timeout_s": 5.0},
}


def models(providers: Mapping[str, FakeProvider]) -> dict[str, Any]:
    """Return ``models.yaml``. One output token costs a hundredth of a cent, so that limits are easy to reckon with."""
    rows = [*QUALITY.items(), (JUDGE, 0.5)]
    return {
        "providers": {
            name: {"wire": each.wire, "base_url": each.base_url, "api_key": f"sk-not-real-{name}"}
            for name, each in providers.items()
        },
        "deployments": [
            {
                "id": name,
                "provider": name.partition("/")[0],
                "model": name.partition("/")[2],
                "context_window": 100_000,
                "price_usd_per_mtok": {"input": 1.0, "output": 100.0},
                "capabilities": ["tools", "json_schema"],
                "quality": {"default": {"mean": quality, "weight": 1000}},
            }
            for name, quality in rows
        ],
        "judges": [JUDGE],
    }


@dataclass(slots=True)
class Panel:
    """A running gateway and its providers."""

    gateway: GatewayProcess
    providers: dict[str, FakeProvider]
    session: aiohttp.ClientSession

    def reset(self) -> None:
        """Nothing wrong, nothing recorded; each provider says its own name."""
        for name, provider in self.providers.items():
            provider.reset()
            if name != "judge":
                provider.answer(f"{name} says so")

    def calls(self, name: str) -> list[Recorded]:
        """The calls that reached a provider."""
        return self.providers[name].requests

    @property
    def called(self) -> list[str]:
        """The providers that were called, one entry a call."""
        return sorted(name for name in self.providers for _ in self.calls(name))

    async def ask(self, mode: str | None = "judge", *, stream: bool = False, key: str = CLIENT, **more: Any) -> Reply:
        """Ask for ``auto`` in a mode and read all there is."""
        hints = {"explain": True, **({"mode": mode} if mode else {}), **more.pop("router", {})}
        body = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}], "stream": stream}
        body |= {"router": hints, "max_tokens": 50, **more}
        body = {name: value for name, value in body.items() if value is not ...}
        reply = Reply()
        headers = {"authorization": f"Bearer {key}"}
        url = f"{self.gateway.origin}/v1/chat/completions"
        async with self.session.post(url, json=body, headers=headers) as answer:
            reply.status, reply.headers = answer.status, answer.headers
            async for part in answer.content.iter_any():
                reply.body += part
        return reply

    async def get(self, path: str, key: str = ADMIN) -> Any:
        """Read one of the gateway's own pages."""
        async with self.session.get(self.gateway.origin + path, headers={"authorization": f"Bearer {key}"}) as answer:
            return await answer.json()

    async def until(self, true: Any, within_s: float = 60.0) -> None:
        """Wait until something holds; raises TimeoutError."""
        deadline = time.monotonic() + within_s
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError
            await asyncio.sleep(0.01)


def explained(reply: Reply) -> dict[str, Any]:
    """The ``router`` object of an answer, whole, streamed or an error."""
    if reply.headers["Content-Type"].startswith("text/event-stream"):
        return dict(reply.chunks[-1]["router"])
    return dict(reply.json["router"])


def booked(reply: Reply) -> list[tuple[str, str, bool]]:
    """(deployment, role, whether it answered) of every call, sorted."""
    return sorted((each["deployment"], each["role"], each["ok"]) for each in explained(reply)["calls"])


@contextlib.asynccontextmanager
async def running_panel(
    folder: Path, policy: Mapping[str, Any] | None = None, *, store: str = "memory://"
) -> AsyncIterator[Panel]:
    """Start providers and a gateway over them; ``policy`` is laid over ``POLICY``, section by section."""
    merged = dict(POLICY)
    for name, section in (policy or {}).items():
        merged[name] = {**merged.get(name, {}), **section} if isinstance(section, Mapping) else section
    async with contextlib.AsyncExitStack() as stack:
        providers = {name: await stack.enter_async_context(FakeProvider(name=name)) for name in NAMES}
        keys = {"MOE_API_KEYS": CLIENT, "MOE_ADMIN_KEYS": ADMIN}
        gateway = GatewayProcess(folder, models(providers), merged, store=store, environment=keys)
        await asyncio.to_thread(gateway.__enter__)
        stack.callback(gateway.stop)
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=120)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, timeout=timeout))
        panel = Panel(gateway, providers, session)
        panel.reset()
        yield panel
