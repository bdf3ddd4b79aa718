"""A/B tests on live traffic: who takes part, what is booked to an arm, and when an arm is stopped for harm.

Experiments are documents of the store, the same for all workers within seconds; what was measured travels as sums, like
everything that workers learn. A request never waits for either.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.context import RequestContext
from gateway.experiment_record import from_json, of_wishes, to_json
from gateway.store_errors import StoreError
from router_core.errors import ConfigError
from router_core.experiment import ArmSums, Assignment, Experiment, ExperimentState, Metric, Report, analyse, assign
from router_core.outcome import FailureKind, RequestOutcome
from router_core.ports import StateStore
from router_core.sequential import Moments

_log = logging.getLogger("gateway.experiments")
KIND: Final = "experiment"
TOPIC: Final = "experiments"
POLL_S: Final = 2.0
MOST: Final = 500
_NOT_THE_ARMS: Final = frozenset(
    {
        FailureKind.CANCELLED,
        FailureKind.INVALID_REQUEST,
        FailureKind.CONTEXT_OVERFLOW,
        FailureKind.CONTENT_FILTER,
        FailureKind.CONFLICT,
    }
)
"""Failures that the client's own request caused: they say nothing of an arm."""


class UnknownExperiment(LookupError):
    """There is no experiment of this id."""


class Experiments:
    """This worker's view of all experiments, and its part of what is measured. ``now`` is wall-clock seconds."""

    def __init__(self, store: StateStore, now: Callable[[], float]) -> None:
        """Begin with none; ``reload`` reads them from the store."""
        self._store = store
        self._now = now
        self._all: dict[str, Experiment] = {}
        self._running: tuple[Experiment, ...] = ()
        self._totals: dict[str, dict[str, float]] = {}
        self._pending: dict[str, dict[str, float]] = {}
        self._wake = asyncio.Event()
        self._told = 0
        self.last_error = ""

    @property
    def any_running(self) -> bool:
        """Whether a request may take part in anything: the one question asked of every request."""
        return bool(self._running)

    def candidates(self, task: str, tags: tuple[str, ...], route: str | None, now: float) -> list[Experiment]:
        """Return the experiments that a request of this task, with these tags, takes part in; the oldest first."""
        return [each for each in self._running if each.route == route and each.applies(task, tags, now)]

    def arm_for(
        self, task: str, tags: tuple[str, ...], unit: str, now: float, *, route: str | None = None
    ) -> Assignment | None:
        """Return the arm of a unit in the oldest experiment it takes part in; None when there is none."""
        for experiment in self.candidates(task, tags, route, now):
            return Assignment(experiment.id, assign(experiment, unit))
        return None

    # ---- what is measured ----

    def book(self, experiment: str, arm: str, metric: Metric, value: float) -> None:
        """Add one value to an arm."""
        row = self._pending.setdefault(f"{experiment}|{arm}", {})
        for name, more in ((f"{metric}.n", 1.0), (f"{metric}.t", value), (f"{metric}.s", value * value)):
            row[name] = row.get(name, 0.0) + more

    def finished(self, ctx: RequestContext, outcome: RequestOutcome, *_: object) -> None:
        """Book a finished request to its arm: success always, cost and latency of good answers.

        An arm that is a deployment succeeds when that deployment answered: a fallback that stood in is its failure.
        """
        found = ctx.experiment
        if found is None or outcome.status == 499:
            return
        arm = found.arm
        good = outcome.ok and (arm.deployment is None or outcome.served_by == arm.deployment)
        kinds = {attempt.failure.kind for attempt in outcome.attempts if attempt.failure is not None}
        if not outcome.ok and (outcome.status < 500 and not kinds - _NOT_THE_ARMS):
            return
        self.book(found.experiment, arm.name, Metric.SUCCESS, float(good))
        if good:
            self.book(found.experiment, arm.name, Metric.COST, outcome.cost_usd)
            self.book(found.experiment, arm.name, Metric.LATENCY, outcome.duration_s)

    def rewarded(self, where: tuple[str, str] | None, value: float) -> None:
        """Book a reward to the arm of its decision: ``where`` is (experiment, arm)."""
        if where is not None:
            self.book(*where, Metric.REWARD, value)

    def collect(self) -> dict[str, dict[str, float]]:
        """Return what was added since the last call: key -> field -> increment."""
        pending, self._pending = self._pending, {}
        for key, fields in pending.items():
            _add(self._totals.setdefault(key, {}), fields)
        return pending

    def apply(self, sums: Mapping[str, Mapping[str, float]]) -> None:
        """Take over the store's totals of changed arms."""
        for key, fields in sums.items():
            self._totals[key] = dict(fields)

    def sums(self, experiment: Experiment) -> dict[str, ArmSums]:
        """Return what was measured in each arm so far, by every worker."""
        found = {}
        for arm in experiment.arms:
            key = f"{experiment.id}|{arm.name}"
            row = dict(self._totals.get(key, {}))
            _add(row, self._pending.get(key, {}))
            found[arm.name] = ArmSums(**{str(metric): _moments(row, metric) for metric in Metric})
        return found

    def report(self, experiment: Experiment) -> Report:
        """Return what may be said of an experiment now."""
        return analyse(experiment, self.sums(experiment))

    # ---- what the operator does ----

    def list(self) -> list[Experiment]:
        """Return all experiments, the newest first."""
        return sorted(self._all.values(), key=lambda each: (-each.created_at, each.id))

    def get(self, experiment_id: str) -> Experiment:
        """Return one; raises UnknownExperiment."""
        found = self._all.get(experiment_id)
        if found is None:
            msg = f"there is no experiment {experiment_id[:80]!r}"
            raise UnknownExperiment(msg)
        return found

    async def create(
        self,
        wishes: Mapping[str, Any],
        deployments: Mapping[str, Any],
        policies: Mapping[str, Any],
        routes: Mapping[str, Any],
    ) -> Experiment:
        """Make a draft; raises ConfigError that begins with the field's name, StoreError."""
        made = of_wishes(wishes, f"exp_{secrets.token_hex(6)}", self._now())
        for place, arm in enumerate(made.arms):
            if arm.deployment is not None and arm.deployment not in deployments:
                msg = f"arms[{place}].deployment: there is no deployment {arm.deployment!r}"
                raise ConfigError(msg)
            if arm.policy is not None and arm.policy not in policies:
                msg = f"arms[{place}].policy: there is no policy {arm.policy!r}"
                raise ConfigError(msg)
        if made.route is not None and made.route not in routes:
            msg = f"route: there is no route {made.route!r}"
            raise ConfigError(msg)
        if len(self._all) >= MOST:
            msg = f"name: there are {MOST} experiments already"
            raise ConfigError(msg)
        await self._store.put(KIND, made.id, to_json(made))
        await self._tell(made)
        return made

    async def move(self, experiment_id: str, state: ExperimentState, reason: str = "") -> Experiment:
        """Start, stop or conclude; raises UnknownExperiment, ConfigError for a move that may not be, StoreError."""
        while True:
            data = await self._store.get(KIND, experiment_id)
            found = None if data is None else from_json(data)
            if found is None:
                msg = f"there is no experiment {experiment_id[:80]!r}"
                raise UnknownExperiment(msg)
            moved = found.moved(state, reason)
            # Over what was read only: a worker that stops an experiment for harm and an operator may come together.
            if await self._store.swap(KIND, experiment_id, to_json(moved), data):
                await self._tell(moved)
                return moved

    async def _tell(self, experiment: Experiment) -> None:
        self._told += 1
        self._install({**self._all, experiment.id: experiment})
        await self._store.publish(TOPIC, experiment.id.encode())

    # ---- keeping up ----

    async def reload(self) -> None:
        """Read all experiments; one that cannot be read is left out. Raises StoreError."""
        told = -1
        while told != self._told:  # else what changed here meanwhile would be undone until the next look
            told = self._told
            rows = await self._store.list(KIND, limit=MOST)
        found = {}
        for name, data in rows:
            experiment = from_json(data)
            if experiment is None:
                _log.warning("the stored experiment %s cannot be read", name)
            else:
                found[experiment.id] = experiment
        self._install(found)

    def poke(self) -> None:
        """Look at the store now: another worker changed something."""
        self._wake.set()

    async def follow(self) -> None:
        """Keep up with the store and end what is over, until cancelled. A store that is away changes nothing."""
        while True:
            try:
                await self.reload()
                await self.check()
                self.last_error = ""
            except StoreError as exc:
                self.last_error = str(exc)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_S)
            self._wake.clear()

    async def check(self) -> None:
        """Stop a running experiment whose arm does harm, conclude one whose time is over. Raises StoreError."""
        for experiment in self._running:
            breach = self.report(experiment).breach
            if breach is not None:
                _log.warning("experiment %s is stopped: %s", experiment.id, breach)
                await self._end(experiment, ExperimentState.STOPPED, f"guardrail: {breach}")
            elif experiment.ends_at is not None and self._now() >= experiment.ends_at:
                await self._end(experiment, ExperimentState.CONCLUDED, "its end date has come")

    async def _end(self, experiment: Experiment, state: ExperimentState, reason: str) -> None:
        with contextlib.suppress(ConfigError, UnknownExperiment):  # somebody else has ended it already
            await self.move(experiment.id, state, reason)

    def _install(self, found: dict[str, Experiment]) -> None:
        self._all = found
        running = [each for each in found.values() if each.state is ExperimentState.RUNNING]
        self._running = tuple(sorted(running, key=lambda each: (each.created_at, each.id)))


def _add(into: dict[str, float], fields: Mapping[str, float]) -> None:
    for name, value in fields.items():
        into[name] = into.get(name, 0.0) + value


def _moments(row: Mapping[str, float], metric: Metric) -> Moments:
    return Moments(*(row.get(f"{metric}.{letter}", 0.0) for letter in "nts"))
