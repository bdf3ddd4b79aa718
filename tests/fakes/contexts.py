"""One worker's parts and requests under way, without a socket, an event loop or a provider."""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace
from typing import Any

from gateway.admission import Admission
from gateway.budgets import Budgets
from gateway.clock import ManualClock
from gateway.context import RequestContext
from gateway.decisions import DecisionIds, RecentDecisions
from gateway.feedback import FeedbackDesk
from gateway.http.headers import read_hints
from gateway.http.wire import parse_chat
from gateway.keys import ANONYMOUS, KeyRing, Principal
from gateway.learner import Learner
from gateway.observe.observer import Observer
from gateway.prepare import prepare
from gateway.rate_limits import RateLimits
from gateway.recorder import Recorder
from gateway.services import Services
from gateway.sessions import Sessions
from gateway.stages import alone
from gateway.state.memory import MemoryStore
from gateway.steady import SteadyClock
from gateway.weights import load_classifier
from router_core.classifier import ClassifierModel
from router_core.outcome import RequestOutcome, Usage
from router_core.policy import Policy
from router_core.registry import Registry
from tests.fakes.outcomes import attempt
from tests.unit.router_core.builders import NOW, Draws, registry, without_exploration

CALLER = Principal("key-1", "one")
OTHER = Principal("key-2", "two")


@functools.cache
def classifier() -> ClassifierModel:
    return load_classifier()


class Always(Draws):
    """Draws that never explore, however many decisions are made."""

    def random(self) -> float:
        return 0.999


def services(found: Registry | None = None, policy: Policy | None = None, **changes: Any) -> Services:
    """Return a worker's parts over a store in memory; its clock stands still."""
    clock = ManualClock(time=NOW)
    steady = SteadyClock(clock)
    current = SimpleNamespace(registry=found or registry("acme/m1", "beta/m2"), policy=policy or without_exploration())
    config = SimpleNamespace(current=current)
    store = MemoryStore(wall=clock.time)
    observer = Observer(now=steady)
    values: dict[str, Any] = {
        "settings": SimpleNamespace(allow_open=False),
        "config": config,
        "forwarder": None,
        "learner": Learner(steady),
        "observer": observer,
        "recorder": Recorder(observer, RecentDecisions()),
        "keys": KeyRing(),
        "store": store,
        "budgets": Budgets(store, lambda: current.policy.budgets, wall=clock.time),
        "rate_limits": RateLimits(store, clock=clock.monotonic, wall=clock.time),
        "idempotency": None,
        "sessions": Sessions(),
        "admission": Admission(lambda: current.policy.admission),
        "ids": DecisionIds(b"key"),
        "classifier": classifier(),
        "embedder": None,
        "clock": clock,
        "steady": steady,
        "rng": Always(),
        **changes,
    }
    parts = Services(**values)
    parts.feedback = FeedbackDesk(parts)
    return parts


def context(
    parts: Services, *, principal: Principal = ANONYMOUS, headers: dict[str, str] | None = None, **body: Any
) -> RequestContext:
    """Return a request that was read and decided; ``body`` fields stand beside model and messages."""
    limits = parts.config.current.policy.limits
    whole = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], **body}
    chat = parse_chat(json.dumps(whole).encode(), limits)
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    hints = read_hints(raw, chat.own, principal.default_hints, principal.default_policy)
    return alone(prepare(parts, chat, hints, principal, "req_1", parts.steady()))


def served(ctx: RequestContext, deployment: str | None = "acme/m1", **changes: Any) -> RequestOutcome:
    """Book one call for a request and return what became of it; ``deployment`` None: everything failed."""
    failure = None if deployment is not None else "server"
    call = attempt(
        deployment or "acme/m1",
        at=ctx.at,
        task=ctx.decision.profile.task,
        failure=failure,
        usage=Usage(input=10, output=20) if failure is None else Usage(),
    )
    ctx.book(call)
    values: dict[str, Any] = {
        "decision_id": ctx.decision_id,
        "at": ctx.at,
        "task": call.task,
        "status": 200 if failure is None else 502,
        "duration_s": 1.0,
        "attempts": tuple(ctx.attempts),
        "served_by": deployment,
        "key_id": ctx.principal.key_id,
        "cost_usd": ctx.spent_usd,
        "features": ctx.routing.features,
        **changes,
    }
    return RequestOutcome(**values)
