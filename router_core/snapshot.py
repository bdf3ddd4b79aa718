"""An immutable view of everything learned, for one decision; ``fold`` is its only way forward.

What workers merge (series, recent windows, quality sums) are sums, added in any order; what depends on order (circuits)
stays with its worker and is joined by epoch. ``increment`` says what an outcome adds; a worker adds many of them up
(``gain.py``), folds that, and sends it to the others later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any, Final

from router_core import breaker, decay
from router_core.breaker import Circuit
from router_core.decision import Known
from router_core.gain import Gain, gain
from router_core.latency import bin_of
from router_core.outcome import AttemptOutcome, AttemptRole, Failure, FailureKind, Reward
from router_core.policy import Policy
from router_core.quality import QualityState
from router_core.retry_policy import RULES, Counts, rate_limit_wait_s
from router_core.series import ALL_TASKS, EMPTY_RECENT, EMPTY_SERIES, Increment, Recent, Series
from router_core.value import value_class


class DeploymentState:
    """What is remembered of one deployment: series and recent windows by task, and its circuit.

    Never changed after construction but for ``memo``, which keeps what ``known.known_of`` computed from it. ``calm``:
    its circuit is closed and has not been open or ejected lately, so that it asks for no look at the clock.
    """

    __slots__ = ("calm", "circuit", "memo", "recent", "renewed", "tasks")

    def __init__(
        self,
        tasks: Mapping[str, Series] | None = None,
        recent: Mapping[str, Recent] | None = None,
        circuit: Circuit = breaker.CLOSED,
        *,
        renewed: bool = False,
    ) -> None:
        """Hold the given parts; the caller gives them up. ``renewed``: it changed since its prior was written."""
        self.tasks: Mapping[str, Series] = tasks if tasks is not None else {}
        self.recent: Mapping[str, Recent] = recent if recent is not None else {}
        self.circuit = circuit
        self.calm = circuit is breaker.CLOSED or (
            circuit.state is breaker.State.CLOSED and not circuit.opens and not circuit.ejected_until
        )
        self.renewed = renewed
        self.memo: dict[str, tuple[Policy, Any, int, dict[tuple[str, ...], Known]]] = {}

    def with_circuit(self, circuit: Circuit) -> DeploymentState:
        """Return this state with another circuit; what was computed from the rest stays."""
        moved = DeploymentState(self.tasks, self.recent, circuit, renewed=self.renewed)
        moved.memo = self.memo
        return moved

    def with_task(self, task: str, series: Series) -> DeploymentState:
        """Return this state with one task's series replaced."""
        return DeploymentState({**self.tasks, task: series}, self.recent, self.circuit, renewed=self.renewed)

    def with_recent(self, task: str, recent: Recent) -> DeploymentState:
        """Return this state with one task's recent window replaced."""
        return DeploymentState(self.tasks, {**self.recent, task: recent}, self.circuit, renewed=self.renewed)

    def without_recent(self) -> DeploymentState:
        """Return this state without its recent windows."""
        return DeploymentState(self.tasks, None, self.circuit, renewed=self.renewed)

    def without(self, *, judged: bool) -> DeploymentState:
        """Return this state without what rewards, or what calls, have shown so far; ``judged`` marks it renewed."""
        tasks = {task: series.part(judged=not judged) for task, series in self.tasks.items()}
        return DeploymentState(tasks, self.recent, self.circuit, renewed=self.renewed or judged)


EMPTY_STATE: Final = DeploymentState()


@value_class()
class Snapshot:
    """Everything a decision reads that changes while serving.

    ``states`` are by deployment; ``provider_open`` holds the moment until which a provider is open because its
    deployments failed together.
    """

    version: int = 0
    states: Mapping[str, DeploymentState] = field(default_factory=dict)
    provider_open: Mapping[str, float] = field(default_factory=dict)
    quality: QualityState = field(default_factory=QualityState.empty)

    @classmethod
    def empty(cls) -> Snapshot:
        """Return the view of a gateway that has seen nothing."""
        return cls()

    def circuit(self, deployment: str) -> Circuit:
        """Return a deployment's circuit; closed when never touched."""
        return self.states.get(deployment, EMPTY_STATE).circuit

    def of(self, deployment: str, task: str = ALL_TASKS) -> Series:
        """Return the series of a deployment and task, empty when nothing was seen."""
        return self.states.get(deployment, EMPTY_STATE).tasks.get(task, EMPTY_SERIES)

    def with_circuit(self, deployment: str, circuit: Circuit) -> Snapshot:
        """Return this view with one circuit replaced."""
        state = self.states.get(deployment, EMPTY_STATE)
        if state.circuit is circuit:
            return self
        return self._next({**self.states, deployment: state.with_circuit(circuit)})

    def plus(self, increments: Iterable[Increment], policy: Policy) -> Snapshot:
        """Return this view with increments added; many at once cost little more than one."""
        return self.gained(gain(increments, policy))

    def gained(self, more: Gain) -> Snapshot:
        """Return this view with what was added up."""
        states = dict(self.states)
        tasks: dict[str, dict[str, Series]] = {}
        recent: dict[str, dict[str, Recent]] = {}
        for deployment, _, _ in (*more.rows, *more.halves):
            if deployment not in tasks:
                state = states.get(deployment, EMPTY_STATE)
                tasks[deployment], recent[deployment] = dict(state.tasks), dict(state.recent)
        for (deployment, names, _), series in more.rows.items():
            held = tasks[deployment]
            for task in names:
                held[task] = held.get(task, EMPTY_SERIES).plus(series)
        for (deployment, names, half), (_, sums) in more.halves.items():
            windows = recent[deployment]
            for task in names:
                windows[task] = windows.get(task, EMPTY_RECENT).plus(half, sums)
        for deployment, series_of in tasks.items():
            state = states.get(deployment, EMPTY_STATE)
            moved = DeploymentState(series_of, recent[deployment], state.circuit, renewed=state.renewed)
            states[deployment] = moved
        return self._next(states)

    def _next(self, states: Mapping[str, DeploymentState]) -> Snapshot:
        """Return the next version; ``replace`` would cost several times as much, on every outcome."""
        return Snapshot(self.version + 1, states, self.provider_open, self.quality)


def increment(outcome: AttemptOutcome | Reward, policy: Policy) -> Increment | None:
    """Return what an outcome adds to the series of its tasks, None for nothing.

    Cancelled calls, judges' calls and the client's own faults add nothing. A failure counts against the success rate
    exactly when it counts for the breaker or is a 429.
    """
    weight = decay.weight(outcome.at, policy.learning.half_life_h * 3600.0)
    if isinstance(outcome, Reward):
        return _of_reward(outcome, weight)
    if outcome.role is AttemptRole.JUDGE:
        return None
    if outcome.failure is not None:
        if RULES[outcome.failure.kind].counts is Counts.NO:
            return None
        fields: dict[str, float] = {"n": 1.0, "cost": outcome.cost_usd} if outcome.cost_usd else {"n": 1.0}
        recent = (1.0, 0.0, 0.0, outcome.cost_usd)
        durations = firsts = None
    else:
        usage = outcome.usage
        fields = {"n": 1.0, "ok": 1.0, "dur": outcome.duration_s, "cost": outcome.cost_usd}
        if not usage.estimated:
            prompt = usage.prompt
            fields["out"] = float(usage.completion)
            fields["out_n"] = 1.0
            if outcome.input_estimate > 0 and prompt > 0:
                fields["act"] = float(prompt)
                fields["est"] = float(outcome.input_estimate)
        recent = (1.0, 1.0, outcome.duration_s, outcome.cost_usd)
        durations = bin_of(outcome.duration_s)
        first = outcome.time_to_first_content_s
        firsts = bin_of(first) if first is not None and outcome.stream else None
    tasks = (str(outcome.task), ALL_TASKS)
    return Increment(outcome.deployment, tasks, outcome.at, weight, fields, durations, firsts, recent)


def _of_reward(reward: Reward, weight: float) -> Increment:
    fields = {"rw": reward.weight, "rv": reward.weight * reward.value}
    if reward.source.startswith("feedback"):
        fields |= {"fw": reward.weight, "fv": reward.weight * reward.value}
    task, secondary = str(reward.task), str(reward.secondary or reward.task)
    tasks = (task,) if secondary == task else tuple(sorted((task, secondary)))
    return Increment(reward.deployment, tasks, reward.at, weight, fields)


def fold(
    snapshot: Snapshot,
    outcome: AttemptOutcome | Reward,
    policy: Policy,
    *,
    now: float | None = None,
    jitter: float = 0.0,
    peers: Iterable[str] = (),
) -> Snapshot:
    """Return the view after an outcome: series, quality and circuit.

    ``now`` is the steady clock's second for the circuit (default: the outcome's own time); ``jitter`` a random number
    in [0, 1); ``peers`` are the deployments that share this one's credentials and provider.
    """
    found = increment(outcome, policy)
    moved = snapshot.plus(() if found is None else (found,), policy)
    if isinstance(outcome, Reward):
        unit = decay.weight(outcome.at, policy.learning.half_life_h * 3600.0)
        sums = snapshot.quality.increments(outcome, unit)
        return replace(moved, quality=moved.quality.absorb(sums, unit)) if sums else moved
    return fold_circuit(moved, outcome, policy, now=outcome.at if now is None else now, jitter=jitter, peers=peers)


def fold_circuit(
    snapshot: Snapshot,
    outcome: AttemptOutcome,
    policy: Policy,
    *,
    now: float,
    jitter: float = 0.0,
    peers: Iterable[str] = (),
) -> Snapshot:
    """Return the view with the outcome booked on its deployment's circuit, and on its provider's."""
    circuit = snapshot.circuit(outcome.deployment)
    rules = policy.breaker
    failure = outcome.failure
    if failure is None:
        late = outcome.time_to_first_content_s
        slow = late is not None and outcome.stream and late > policy.timeouts.first_content_reasoning_s
        moved = breaker.on_success(circuit, now, rules, slow=slow, jitter=jitter)
        return _provider_recovered(snapshot.with_circuit(outcome.deployment, moved), outcome.provider)
    counts = RULES[failure.kind].counts
    if counts is Counts.NO:
        return snapshot.with_circuit(outcome.deployment, breaker.release(circuit, outcome.probe_lease))
    if counts is Counts.EJECT:
        wait = rate_limit_wait_s(failure, circuit.ejections + 1, policy, jitter)
        moved = breaker.eject(breaker.release(circuit, outcome.probe_lease), now, wait)
        return snapshot.with_circuit(outcome.deployment, moved)
    if counts is Counts.LONG:
        return _trip(snapshot, outcome, failure, policy, now, peers)
    moved = breaker.on_failure(
        circuit, now, rules, reason=str(failure.kind), jitter=jitter, at_least_s=_bounded(failure.retry_after_s, policy)
    )
    after = snapshot.with_circuit(outcome.deployment, moved)
    if rules.provider_opens and moved.state is breaker.State.OPEN and circuit.state is not breaker.State.OPEN:
        return _provider_failing(after, outcome.provider, moved.open_until, peers, now)
    return after


def _bounded(retry_after_s: float | None, policy: Policy) -> float:
    return 0.0 if retry_after_s is None else min(retry_after_s, policy.breaker.open_cap_s)


def _trip(
    snapshot: Snapshot, outcome: AttemptOutcome, failure: Failure, policy: Policy, now: float, peers: Iterable[str]
) -> Snapshot:
    """Open at once; a refused key or an empty account takes everything that shares it along."""
    everyone = failure.kind is FailureKind.BILLING or (failure.kind is FailureKind.AUTH and failure.status != 403)
    reason = "not_found" if failure.kind is FailureKind.NOT_FOUND else "credentials"
    after = snapshot
    for deployment in {outcome.deployment, *(peers if everyone else ())}:
        tripped = breaker.trip(after.circuit(deployment), now, policy.breaker.credentials_open_s, reason)
        after = after.with_circuit(deployment, tripped)
    return after


def _provider_failing(snapshot: Snapshot, provider: str, until: float, peers: Iterable[str], now: float) -> Snapshot:
    """Open the provider when two or more of its deployments are open and none that was called lately is well."""
    circuits = [snapshot.circuit(deployment) for deployment in peers]
    broken = sum(1 for circuit in circuits if circuit.state is breaker.State.OPEN and circuit.open_until > now)
    well = sum(1 for circuit in circuits if circuit.state is breaker.State.CLOSED and circuit.window)
    if broken < 2 or well:
        return snapshot
    return replace(snapshot, version=snapshot.version + 1, provider_open={**snapshot.provider_open, provider: until})


def _provider_recovered(snapshot: Snapshot, provider: str) -> Snapshot:
    if provider not in snapshot.provider_open:
        return snapshot
    left = {name: until for name, until in snapshot.provider_open.items() if name != provider}
    return replace(snapshot, version=snapshot.version + 1, provider_open=left)
