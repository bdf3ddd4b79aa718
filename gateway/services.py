"""Everything the edge works with, put together once by ``app.py`` and handed in; nothing here is a global."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.admission import Admission
from gateway.budgets import Budgets
from gateway.clock import Clock, SystemClock
from gateway.concurrency import Concurrency
from gateway.config.settings import Settings
from gateway.config.watch import ConfigHolder
from gateway.decisions import DecisionIds
from gateway.hedge_budget import HedgeBudget
from gateway.idempotency import Idempotency
from gateway.keys import KeyRing
from gateway.learner import Learner
from gateway.pacing import Pacing
from gateway.rate_limits import RateLimits
from gateway.recorder import Recorder
from gateway.sessions import Sessions
from gateway.steady import SteadyClock
from router_core.classifier import ClassifierModel
from router_core.deployment import Deployment, Provider
from router_core.features import Embedder
from router_core.outcome import Reward
from router_core.ports import EventSink, Forwarder
from router_core.retry_budget import RetryBudget
from router_core.task import TaskType


class Observing(EventSink, Protocol):
    """The sink that also hears of judged answers, shares its sums, and answers the browsed routes."""

    def reward(self, reward: Reward, expected: float | None = None) -> None:
        """Hear of one judged answer, and of the quality its decision had expected."""
        ...

    def head_to_head(
        self, winner: str, loser: str, task: TaskType, *, draw: bool = False, at: float | None = None
    ) -> None:
        """Hear of one comparison of two answers."""
        ...

    def collect(self) -> dict[str, dict[str, float]]:
        """Return what was booked since the last call."""
        ...

    def apply(self, sums: Mapping[str, Mapping[str, float]]) -> None:
        """Take over totals of changed series."""
        ...


class OpenForwarder(Forwarder, Protocol):
    """A forwarder with a life: opened in its loop, warmed before readiness, closed at the end."""

    async def open(self) -> None:
        """Make the connection pool."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...

    async def warm(self, providers: Iterable[Provider] = ()) -> bool:
        """Pay first-call costs of these providers; returns whether they are paid."""
        ...

    async def dial(self, deployments: Iterable[tuple[Provider, Deployment]]) -> None:
        """Open connections ahead of the first requests; never raises."""
        ...


@dataclass(slots=True)
class Services:
    """The parts of one worker. ``quirks`` remembers parameters of ours that a deployment refused."""

    settings: Settings
    config: ConfigHolder
    forwarder: OpenForwarder
    learner: Learner
    observer: Observing
    recorder: Recorder
    keys: KeyRing
    store: Any
    budgets: Budgets
    rate_limits: RateLimits
    idempotency: Idempotency
    sessions: Sessions
    admission: Admission
    ids: DecisionIds
    classifier: ClassifierModel
    embedder: Embedder | None
    exchanger: Any = None
    experiments: Any = None
    pacing: Pacing | None = None
    shadow: Any = None
    clock: Clock = field(default_factory=SystemClock)
    steady: SteadyClock = field(default_factory=SteadyClock)
    rng: random.Random = field(default_factory=random.Random)
    retry_budget: RetryBudget = field(default_factory=RetryBudget)
    hedges: HedgeBudget = field(default_factory=HedgeBudget)
    concurrency: Concurrency = field(default_factory=Concurrency)
    quirks: set[tuple[str, str]] = field(default_factory=set)
    after: list[Callable[..., None]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    ready: bool = False
    demo: Any = None
    watcher: Any = None
    upkeep: Any = None
    feedback: Any = None
    sharing: Any = None
    watching: Any = None
    tasks: list[Any] = field(default_factory=list)
