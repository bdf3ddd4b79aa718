"""A gateway's watching half with an hour of traffic behind it: real decisions, real statistics, made-up answers.

``python -m tests.fakes.watched PORT`` serves it, to look at the dashboard without any provider.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.responses import StreamingResponse

from gateway.clock import ManualClock, SystemClock
from gateway.http import dashboard, metrics, stats
from gateway.http.errors import ApiError
from gateway.keys import KeyRing
from gateway.learner import Learner
from gateway.observe.observer import Observer
from router_core.compact import compact
from router_core.outcome import AttemptOutcome, AttemptRole, Failure, FailureKind, RequestOutcome, Reward, Usage
from router_core.policy import Policy
from router_core.record import to_record
from router_core.registry import Registry
from router_core.request import Hints, RoutingRequest
from router_core.router import decide
from router_core.task import TaskProfile, TaskType

MODELS = {
    # id: (input, output USD per million tokens, quality, seconds)
    "openai/gpt-large": (5.0, 20.0, 0.92, 3.2),
    "openai/gpt-mini": (0.4, 1.6, 0.78, 1.1),
    "anthropic/claude-high": (5.0, 25.0, 0.94, 3.6),
    "anthropic/claude-quick": (1.0, 5.0, 0.84, 1.4),
    "google/gemini-pro": (2.0, 10.0, 0.9, 2.6),
    "google/gemini-flash": (0.3, 2.5, 0.8, 0.8),
    "mistral/medium": (0.4, 2.0, 0.76, 1.2),
    "groq/llama-fast": (0.1, 0.4, 0.7, 0.4),
}
TASKS = (
    (TaskType.CODE_GENERATION, 5, "asks for a function or program"),
    (TaskType.ANALYSIS, 3, "asks to compare or explain data"),
    (TaskType.GENERAL, 4, "nothing fits with confidence"),
    (TaskType.CODE_REVIEW, 2, "a diff and a question about it"),
    (TaskType.REASONING, 2, "a puzzle with numbers"),
    (TaskType.TOOL_USE, 2, "tools are offered"),
    (TaskType.DOCUMENTATION, 1, "asks for a docstring or guide"),
)
POLICIES = ("balanced", "balanced", "balanced", "cost", "quality", "speed")


def registry() -> Registry:
    deployments = [
        {
            "id": name,
            "provider": name.partition("/")[0],
            "model": name.partition("/")[2],
            "context_window": 128_000,
            "price_usd_per_mtok": {"input": price[0], "output": price[1]},
            "capabilities": ["tools"],
            "quality": {"default": {"mean": price[2], "weight": 20}},
        }
        for name, price in MODELS.items()
    ]
    deployments[1]["context_window"] = 4000
    providers = {name.partition("/")[0]: {"wire": "openai", "base_url": "http://127.0.0.1:9/v1"} for name in MODELS}
    return Registry.from_mapping({"providers": providers, "deployments": deployments})


class World:
    """Services as the routes find them, and the made-up world that feeds them."""

    def __init__(self, *, keys: KeyRing | None = None, now: float | None = None, seed: int = 20) -> None:
        self.rng = Random(seed)
        self.now = time.time() if now is None else now
        self.clock = ManualClock(time=self.now) if now is not None else SystemClock()
        self.registry, self.policy = registry(), Policy()
        self.learner = Learner(lambda: self.at, rng=Random(1))
        self.observer = Observer(now=self.clock.time)
        self.at = self.now - 3600.0
        self.number = 0
        self.services = SimpleNamespace(
            config=SimpleNamespace(current=SimpleNamespace(registry=self.registry, policy=self.policy), failures=0),
            settings=SimpleNamespace(allow_open=False),
            learner=self.learner,
            observer=self.observer,
            keys=keys or KeyRing(),
            pacing=None,
            admission=SimpleNamespace(in_flight=2, draining=False),
            exchanger=SimpleNamespace(degraded=False),
            steady=lambda: self.at if now is not None else time.time(),
            warnings=[],
            store=None,
            ready=True,
        )

    def run(self, count: int = 900, seconds: float = 3540.0, *, outage: str = "groq", slow: str = "mistral") -> None:
        """Make requests over a stretch of time; towards its end one provider fails and one becomes slow."""
        begin = self.at
        for step in range(count):
            self.at = begin + seconds * step / count
            late = step / count
            self.one(failing=outage if late > 0.93 else "", slow=slow if late > 0.7 else "")

    def one(self, *, failing: str = "", slow: str = "") -> RequestOutcome:
        rng = self.rng
        task, _, evidence = rng.choices(TASKS, [weight for _, weight, _ in TASKS])[0]
        profile = TaskProfile(task, round(rng.uniform(0.55, 0.98), 2), evidence=(evidence,))
        asked = RoutingRequest(
            profile, Hints(policy=rng.choice(POLICIES)), input_tokens=int(rng.lognormvariate(6.2, 0.9)) + 20
        )
        decision = decide(asked, self.learner.snapshot, self.registry, self.policy, self.at, rng)
        calls = self._calls(decision, asked, failing, slow)
        self.number += 1
        good = calls[-1].ok
        outcome = RequestOutcome(
            decision_id=f"dec_{self.number:05d}",
            at=self.at,
            task=task,
            status=200 if good else 502,
            duration_s=sum(call.duration_s for call in calls),
            attempts=tuple(calls),
            served_by=calls[-1].deployment if good else None,
            key_id=rng.choice(("team-search", "team-agents", "ci")),
            tags=(rng.choice(("web", "batch", "ide")),),
            cost_usd=sum(call.cost_usd for call in calls),
            overhead_s=rng.lognormvariate(-6.2, 0.3),
            policy=decision.policy,
        )
        for call in calls:
            self.learner.attempt(call, self.registry, self.policy)
            self.observer.attempt(call)
        self.observer.request(outcome, orjson_plain(compact(asked, decision)))
        if good and rng.random() < 0.25:
            self._judge(calls[-1], decision)
        return outcome

    def _calls(self, decision: Any, asked: RoutingRequest, failing: str, slow: str) -> list[AttemptOutcome]:
        rng = self.rng
        calls: list[AttemptOutcome] = []
        for attempt in decision.attempts[:3]:
            name = attempt.deployment
            provider = name.partition("/")[0]
            price, output = MODELS[name], int(rng.lognormvariate(5.4, 0.6)) + 5
            seconds = price[3] * rng.lognormvariate(0.0, 0.35) * (3.0 if provider == slow else 1.0)
            broken = rng.random() < (0.97 if provider == failing else 0.012)
            stream = rng.random() < 0.6
            failure = (
                Failure(rng.choice((FailureKind.SERVER, FailureKind.TIMEOUT)), "upstream error") if broken else None
            )
            calls.append(
                AttemptOutcome(
                    name,
                    provider,
                    asked.profile.task,
                    self.at,
                    seconds,
                    role=AttemptRole.FALLBACK if calls else AttemptRole.PRIMARY,
                    failure=failure,
                    time_to_first_content_s=None if broken or not stream else seconds * 0.25,
                    usage=Usage() if broken else Usage(asked.input_tokens, 0, 0, output),
                    cost_usd=0.0 if broken else (asked.input_tokens * price[0] + output * price[1]) / 1e6,
                    stream=stream,
                    input_estimate=asked.input_tokens,
                    status=500 if broken else 200,
                )
            )
            if not broken:
                break
        return calls

    def _judge(self, call: AttemptOutcome, decision: Any) -> None:
        quality = MODELS[call.deployment][2] - 0.04
        value = 1.0 if self.rng.random() < quality else 0.0
        reward = Reward(call.deployment, call.task, self.at, value)
        top = decision.top
        self.learner.reward(reward, self.policy)
        self.observer.reward(reward, expected=None if top is None else top.facts.quality)
        other = self.rng.choice([name for name in MODELS if name != call.deployment])
        won = self.rng.random() < 0.5 + (quality - MODELS[other][2])
        winner, loser = (call.deployment, other) if won else (other, call.deployment)
        self.observer.head_to_head(winner, loser, call.task, at=self.at, draw=self.rng.random() < 0.1)


def orjson_plain(record: dict[str, Any]) -> dict[str, Any]:
    return dict(orjson.loads(orjson.dumps(record, default=str)))


def make_app(world: World) -> FastAPI:
    app = FastAPI()
    app.state.services = world.services
    for module in (dashboard, stats, metrics):
        app.include_router(module.router)

    @app.exception_handler(ApiError)
    async def refuse(request: Request, problem: ApiError) -> Response:
        return Response(problem.render(), problem.status, problem.all_headers(), "application/json")

    @app.post("/v1/route")
    async def route(request: Request) -> dict[str, Any]:
        given = await request.json()
        hints = given.get("router", {})
        task = TaskType(hints.get("task", "code_generation"))
        asked = RoutingRequest(TaskProfile(task, 0.9), Hints(policy=hints.get("policy")), input_tokens=80)
        found = decide(asked, world.learner.snapshot, world.registry, world.policy, world.at, Random(1))
        return orjson_plain(to_record(asked, found))

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        await request.json()
        return StreamingResponse(_words(world), media_type="text/event-stream", headers={"x-router-model": "gpt-large"})

    @app.post("/admin/breakers/{name:path}/reset")
    async def reset(name: str) -> dict[str, str]:
        return {"state": str(world.learner.reset(name).state)}

    return app


@contextmanager
def served(world: World) -> Iterator[str]:
    """Serve a world on a free loopback port; yields its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(make_app(world), log_level="error", timeout_graceful_shutdown=1, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


async def _words(world: World) -> AsyncIterator[bytes]:
    for word in ("Here ", "is ", "<b>the</b> ", "answer."):
        chunk = {"choices": [{"delta": {"content": word}}]}
        yield b"data: " + orjson.dumps(chunk) + b"\n\n"
        await asyncio.sleep(0.05)
    world.at = time.time()
    world.one()
    yield b'data: {"choices": [], "usage": {"cost": 0.0012}}\n\ndata: [DONE]\n\n'


if __name__ == "__main__":
    seeded = World()
    seeded.run()
    uvicorn.run(
        make_app(seeded), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", timeout_graceful_shutdown=1
    )
