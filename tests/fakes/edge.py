"""The gateway's edge as an attacker sees it: a running gateway before recording providers, and raw bytes to send it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from gateway.demo.records import Recorded
from tests.fakes.gateway import ROOT, GatewayProcess
from tests.fakes.provider import FakeProvider

CLIENT = "moe-client-canary-7f3a91c2d4e5"
OTHER_CLIENT = "another-canary-client-7c1b44e0"
ADMIN = "operator-canary-55aa10fe99d3"
SCRAPER = "scraper-canary-0b1c2d3e4f5a"
PROVIDER_KEYS = {"alpha": "Zq8-provider-canary-alpha-3L9x", "beta": "provider.canary.beta.8821"}
"""Secrets no test may ever see in an answer. They look like no vendor's key, so that no pattern hides them by luck."""

CHAT = "/v1/chat/completions"
CAPABILITIES = [
    "tools",
    "vision",
    "files",
    "audio_input",
    "audio_output",
    "json_object",
    "json_schema",
    "streaming",
    "n",
    "logprobs",
    "any_parameter",
]
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
MOST_CALLS = 3
POLICY: dict[str, Any] = {
    "timeouts": {"connect_s": 5, "first_content_s": 60, "first_content_floor_s": 60, "idle_s": 60, "total_s": 120},
    "retry": {
        "backoff_base_s": 0.01,
        "backoff_cap_s": 0.02,
        "budget_floor": 100_000,
        "max_attempts": 6,
        "max_upstream_calls": MOST_CALLS,
    },
    "breaker": {"consecutive_failures": 10_000, "min_calls": 10_000, "provider_opens": False},
    "limits": {"body_bytes": 2 << 20, "header_timeout_s": 30, "body_timeout_s": 30, "tools": 64, "messages": 64},
}
"""Retries are never short, circuits never open, and a client is waited for that shares its machine with others."""
HASTY = {**POLICY, "limits": {**POLICY["limits"], "header_timeout_s": 1, "body_timeout_s": 1}}
"""The same, but slow clients need not be waited for long."""


@dataclass(slots=True)
class Seen:
    """What a client saw."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object."""
        return dict(self.json["error"])


@dataclass(slots=True)
class Edge:
    """A running gateway. ``keys`` are the headers of a client, ``admin`` those of an operator; empty when it is open."""

    gateway: GatewayProcess
    providers: dict[str, FakeProvider]
    session: aiohttp.ClientSession
    keys: dict[str, str] = field(default_factory=dict)
    admin: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.gateway.port

    @property
    def calls(self) -> list[Recorded]:
        """Every call that reached a provider."""
        return [record for provider in self.providers.values() for record in provider.requests]

    async def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Seen:
        """Send one request as a client; ``headers`` win over the client's own."""
        given = {**self.keys, **(headers or {})}
        url = f"{self.gateway.origin}{path}"
        async with self.session.request(method, url, headers=given, **more) as answer:
            return Seen(answer.status, answer.headers, await answer.read())

    async def chat(self, headers: Mapping[str, str] | None = None, /, **body: Any) -> Seen:
        """Ask route ``main``; a value of ``...`` takes a field out."""
        whole = {"model": "main", "messages": HELLO, **body}
        whole = {name: value for name, value in whole.items() if value is not ...}
        return await self.request("POST", CHAT, headers, json=whole)

    async def send(self, body: bytes, headers: Mapping[str, str] | None = None, path: str = CHAT) -> Seen:
        """Post these bytes as JSON."""
        return await self.request("POST", path, {"Content-Type": "application/json", **(headers or {})}, data=body)

    async def raw(self, *parts: bytes, pause_s: float = 0.0, within_s: float = 60.0) -> bytes:
        """Send bytes as they are, one part after another, and return all that comes until the gateway closes.

        A connection that is kept open is given up after ``within_s``.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        found = bytearray()

        async def listen() -> None:
            with contextlib.suppress(ConnectionError):
                while part := await reader.read(65536):
                    found.extend(part)

        listening = asyncio.create_task(listen())  # from the start: a reset takes away what was not read yet
        try:
            async with asyncio.timeout(within_s):
                with contextlib.suppress(ConnectionError):
                    for part in parts:
                        writer.write(part)
                        await writer.drain()
                        await asyncio.sleep(pause_s)
                await listening
        finally:
            listening.cancel()
            writer.transport.abort()
            await asyncio.gather(listening, writer.wait_closed(), return_exceptions=True)
        return bytes(found)

    async def assert_well(self) -> None:
        """A healthy request is answered, and reaches a provider."""
        before = len(self.calls)
        answer = await self.chat()
        assert answer.status == 200, answer.body[:500]
        assert len(self.calls) == before + 1

    async def idle(self) -> None:
        """Wait until the gateway has settled every request, those too whose client has left."""
        async with asyncio.timeout(60):
            while (await self.request("GET", "/dashboard/data/status", self.admin)).json["in_flight"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def heal(self) -> None:
        """Close every circuit and forget what the providers saw and were told."""
        self.reset()
        for name in self.providers:
            seen = await self.request("POST", f"/admin/breakers/{name}/small/reset", self.admin)
            assert seen.status == 200, seen.body

    def reset(self) -> None:
        """Forget what the providers saw and were told."""
        for provider in self.providers.values():
            provider.reset()


def assert_refused(seen: Seen, status: int, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Assert an error in OpenAI's shape with what every answer carries, and nothing that only we should see."""
    assert seen.status == status, (seen.status, seen.body[:500])
    assert seen.headers["Content-Type"].startswith("application/json")
    assert seen.headers["x-request-id"]
    assert float(seen.headers["x-router-overhead-ms"]) >= 0.0
    error = seen.error
    assert {"message", "type", "param", "code"} <= set(error)
    assert error["message"]
    assert error["type"]
    if code is not None:
        assert error["code"] == code, error
    if param is not None:
        assert error["param"] == param, error
    text = seen.body.decode().replace(error["param"] or "\n", "")  # a field's name is the client's own word
    for word in ("Traceback", 'File "', "site-packages", "litellm", "pydantic", "orjson", str(ROOT), "gateway/"):
        assert word not in text, text
    return error


def post(body: bytes, *headers: bytes, length: int | None = None, path: bytes = CHAT.encode()) -> bytes:
    """Return the bytes of a POST; ``length`` is declared instead of the true one."""
    head = [
        b"POST " + path + b" HTTP/1.1",
        b"Host: localhost",
        b"Content-Type: application/json",
        b"Content-Length: %d" % (len(body) if length is None else length),
        *headers,
    ]
    return b"\r\n".join((*head, b"", body))


async def until(true: Callable[[], Any], within_s: float = 60.0) -> None:
    """Wait for what nobody tells. Raises ``TimeoutError``."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def bearer(token: str) -> dict[str, str]:
    """Return the header of a key."""
    return {"Authorization": f"Bearer {token}"}


def models(provider_keys: Mapping[str, str], **providers: FakeProvider) -> dict[str, Any]:
    """Return ``models.yaml``: a deployment at each provider, and ``main``, the route over all of them in order."""
    found: dict[str, Any] = {"providers": {}, "deployments": [], "routes": {}}
    for name, provider in providers.items():
        found["providers"][name] = {
            "wire": provider.wire,
            "base_url": provider.base_url,
            "api_key": provider_keys.get(name, f"sk-not-a-real-key-of-{name}"),
        }
        found["deployments"].append(
            {
                "id": f"{name}/small",
                "provider": name,
                "model": "small",
                "context_window": 1_000_000,
                "price_usd_per_mtok": {"input": 1.0, "output": 2.0},
                "capabilities": CAPABILITIES,
            }
        )
    found["routes"]["main"] = {"order": "listed", "deployments": [f"{name}/small" for name in providers]}
    return found


@contextlib.asynccontextmanager
async def running_edge(
    folder: Path,
    *,
    policy: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    count: int = 2,
    store: str = "memory://",
    provider_keys: Mapping[str, str] | None = None,
    **headers: dict[str, str],
) -> AsyncIterator[Edge]:
    """Start providers and a gateway over them; ``headers`` are Edge's ``keys``, ``admin``, ``metrics``."""
    async with contextlib.AsyncExitStack() as stack:
        providers = {
            name: await stack.enter_async_context(FakeProvider()) for name in ("alpha", "beta", "gamma")[:count]
        }
        gateway = GatewayProcess(
            folder / "config",
            models(provider_keys or {}, **providers),
            policy or POLICY,
            store=store,
            environment=environment,
        )
        await asyncio.to_thread(gateway.__enter__)
        stack.callback(gateway.stop)
        timeout = aiohttp.ClientTimeout(total=120)
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout, connector=connector))
        yield Edge(gateway, providers, session, **headers)
