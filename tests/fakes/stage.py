"""A gateway with a route of its own for every test case, in front of three loopback providers.

Cases share the providers but not the deployments: a rule for one case is bound to its model's name, and no case meets
a circuit that another one opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from gateway.demo.records import Recorded
from tests.fakes.provider import FakeProvider

TEXT = "one two three four five six seven eight nine ten"
POLICY = {
    "timeouts": {"connect_s": 3, "first_content_s": 30, "first_content_floor_s": 30, "idle_s": 30, "total_s": 60},
    "retry": {"budget_floor": 100_000, "backoff_base_s": 0.02, "backoff_cap_s": 0.05},
    "rate_limit": {"wait_max_s": 1.5},
    "upstream": {"event_bytes": 1 << 20, "body_bytes": 4 << 20},
}
"""A policy in which waits before a retry are short, retries are never short, and sizes are small."""


@dataclass(slots=True)
class Reply:
    """What a client of the gateway saw."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: bool = False

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, of the body or of the stream's error event; empty without one."""
        if self.headers.get("Content-Type", "").startswith("text/event-stream"):
            return next((dict(chunk["error"]) for chunk in self.chunks if chunk.get("error")), {})
        return dict(self.json.get("error") or {})

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The events of a stream; an event that is no JSON raises ``ValueError``."""
        lines = self.body.decode().splitlines()
        return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]

    @property
    def done(self) -> bool:
        """Whether the stream said ``[DONE]``."""
        return self.body.rstrip().endswith(b"data: [DONE]")

    @property
    def text(self) -> str:
        """The answer's text, whole or streamed."""
        if not self.headers.get("Content-Type", "").startswith("text/event-stream"):
            return self.json["choices"][0]["message"]["content"] or "" if self.status == 200 else ""
        return "".join(c["delta"].get("content") or "" for chunk in self.chunks for c in chunk.get("choices") or ())

    @property
    def finish(self) -> str | None:
        """The last finish reason."""
        if not self.headers.get("Content-Type", "").startswith("text/event-stream"):
            return str(self.json["choices"][0]["finish_reason"])
        found = [c.get("finish_reason") for chunk in self.chunks for c in chunk.get("choices") or ()]
        return next((reason for reason in reversed(found) if reason), None)


@dataclass(slots=True)
class Case:
    """One case's part of the stage: its route, and its own model at the primary and at the fallback."""

    name: str
    primary: FakeProvider
    fallback: FakeProvider
    origin: str
    session: aiohttp.ClientSession

    def fail(self, kind: str, times: int | None = None, **options: Any) -> None:
        """Let this case's primary fail, for ever unless told otherwise."""
        self.primary.fail(kind, times, model=f"{self.name}-a", **options)

    def fail_fallback(self, kind: str, times: int | None = None, **options: Any) -> None:
        """Let this case's fallback fail."""
        self.fallback.fail(kind, times, model=f"{self.name}-b", **options)

    @property
    def at_primary(self) -> list[Recorded]:
        """The calls that reached this case's primary."""
        return [record for record in self.primary.requests if _model(record) == f"{self.name}-a"]

    @property
    def at_fallback(self) -> list[Recorded]:
        """The calls that reached this case's fallback."""
        return [record for record in self.fallback.requests if _model(record) == f"{self.name}-b"]

    async def ask(self, *, stream: bool, alone: bool = False, **more: Any) -> Reply:
        """Call the case's route (``alone``: the one without fallback) and read all there is."""
        route = f"{self.name}-alone" if alone else self.name
        body = {"model": route, "messages": [{"role": "user", "content": "hello"}], "stream": stream, **more}
        reply = Reply()
        async with self.session.post(f"{self.origin}/v1/chat/completions", json=body) as answer:
            reply.status, reply.headers = answer.status, answer.headers
            try:
                async for part in answer.content.iter_any():
                    reply.body += part
            except aiohttp.ClientPayloadError:
                reply.cut = True
        return reply


def _model(record: Recorded) -> str:
    """The model of a call: in the body, on Gemini's wire in the path."""
    if "/models/" in record.path:
        return record.path.rpartition("/")[2].partition(":")[0]
    return str((record.body or {}).get("model", ""))


def models(
    cases: Iterable[tuple[str, FakeProvider | str]],
    fallback: FakeProvider,
    timeouts: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Return ``models.yaml``: for each (name, primary) a route over both and one without fallback.

    A primary given as text is the base URL of something on OpenAI's wire. ``timeouts`` are those of a case's primary
    where the policy's are too long: where it is silent, and only there, for nobody else can be held up so long.
    """
    providers: dict[str, Any] = {}
    deployments: list[dict[str, Any]] = []
    routes: dict[str, Any] = {}
    for name, primary in cases:
        wire, base = ("openai", primary) if isinstance(primary, str) else (primary.wire, primary.base_url)
        key = f"sk-not-a-real-key-{name}"
        providers[f"{name}-pa"] = {"wire": wire, "base_url": base, "api_key": key}
        if name in timeouts:
            providers[f"{name}-pa"]["timeouts"] = dict(timeouts[name])
        providers[f"{name}-pb"] = {"wire": fallback.wire, "base_url": fallback.base_url}
        deployments += [
            {
                "id": f"{name}-p{side}/{name}-{side}",
                "provider": f"{name}-p{side}",
                "model": f"{name}-{side}",
                "context_window": 8192,
                "price_usd_per_mtok": {"input": 1.0, "output": 2.0},
                "capabilities": ["tools", "json_schema"],
            }
            for side in "ab"
        ]
        both = [f"{name}-p{side}/{name}-{side}" for side in "ab"]
        routes[name] = {"order": "listed", "deployments": both}
        routes[f"{name}-alone"] = {"order": "listed", "deployments": both[:1]}
    return {"providers": providers, "deployments": deployments, "routes": routes}
