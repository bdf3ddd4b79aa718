from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.learner import Learner
from router_core.breaker import Circuit, State
from router_core.deployment import QualityPrior
from router_core.gain import half_window
from router_core.outcome import Reward
from router_core.policy import BreakerPolicy, Policy
from router_core.quality import QualityState, residuals
from router_core.series import ALL_TASKS, EMPTY_RECENT, EMPTY_SERIES, Series
from router_core.snapshot import DeploymentState
from router_core.task import TaskType
from tests.fakes.outcomes import attempt
from tests.unit.router_core.builders import NOW, features, registry

POLICY = Policy(breaker=BreakerPolicy(consecutive_failures=2, min_calls=50, jitter=0.0, half_open_probes=1))
REGISTRY = registry("acme/m1", "acme/m2", "beta/m1")
TASK = str(TaskType.ANALYSIS)
PROMPTS = [features(text) for text in ("hello", "Solve 3 + 4 = x for x, with steps.", "def f():\n    return 1\n" * 20)]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Store:
    """Sums and maxima as a store keeps them; a pull returns whole totals of what changed."""

    def __init__(self) -> None:
        self.sums: dict[str, dict[str, float]] = {}
        self.maxima: dict[str, float] = {}

    def push(self, gathered: tuple[Mapping[str, Mapping[str, float]], Mapping[str, float]]) -> None:
        sums, maxima = gathered
        for key, fields in sums.items():
            held = self.sums.setdefault(key, {})
            for name, value in fields.items():
                held[name] = held.get(name, 0.0) + value
        for key, value in maxima.items():
            self.maxima[key] = max(self.maxima.get(key, 0.0), value)

    def give(self, learner: Learner, policy: Policy = POLICY) -> None:
        learner.apply({key: dict(fields) for key, fields in self.sums.items()}, dict(self.maxima), policy)


def learner(clock: Clock | None = None) -> Learner:
    return Learner(clock or Clock())


def reward(deployment: str = "acme/m1", at: float = NOW, value: float = 1.0, **changes: Any) -> Reward:
    return Reward(deployment, TaskType.ANALYSIS, at, value, **{"features": PROMPTS[0], **changes})


def sums_of(series: Series) -> dict[str, float]:
    return series.to_fields()


def assert_same(found: Learner, wanted: Learner, at: float) -> None:
    bucket = half_window(at, POLICY)
    left, right = found.snapshot, wanted.snapshot
    assert set(left.states) == set(right.states)
    for name, state in right.states.items():
        assert set(left.states[name].tasks) == set(state.tasks)
        for task, series in state.tasks.items():
            mine = left.of(name, task)
            assert sums_of(mine) == pytest.approx(sums_of(series), rel=1e-9)
            assert mine.last_at == series.last_at
            assert window(left.states[name], task, bucket) == pytest.approx(window(state, task, bucket), abs=1e-9)
    assert flat(left.quality) == pytest.approx(flat(right.quality), rel=1e-9)


def window(state: DeploymentState, task: str, bucket: int) -> tuple[float, ...]:
    return state.recent.get(task, EMPTY_RECENT).total(bucket)


def flat(quality: QualityState) -> dict[tuple[str, str], float]:
    return {(key, name): value for key, fields in quality.sums().items() for name, value in fields.items()}


def test_an_attempt_counts_at_once():
    worker = learner()
    worker.attempt(attempt(at=NOW), REGISTRY, POLICY)
    worker.attempt(attempt(at=NOW, failure="server"), REGISTRY, POLICY)
    for task in (TASK, ALL_TASKS):
        assert worker.snapshot.of("acme/m1", task).summary.success_rate == pytest.approx(0.5)
    assert window(worker.snapshot.states["acme/m1"], TASK, half_window(NOW, POLICY))[:2] == (2.0, 1.0)
    assert worker.snapshot.circuit("acme/m1").consecutive == 1


def test_a_reward_counts_at_once():
    worker = learner()
    worker.reward(reward(value=0.25), POLICY)
    fields = worker.snapshot.of("acme/m1", TASK).fields
    assert fields["rv"] / fields["rw"] == pytest.approx(0.25)
    assert worker.snapshot.quality.cells


def test_what_was_added_is_collected_once():
    worker = learner()
    worker.attempt(attempt(at=NOW), REGISTRY, POLICY)
    worker.reward(reward(), POLICY)
    sums, maxima = worker.collect(POLICY)
    kinds = {key.partition("|")[0] for key in sums}
    assert kinds == {"row", "now", "near"}
    assert maxima == {f"row|acme/m1|{TASK}": NOW, "row|acme/m1|*": NOW}
    assert worker.collect(POLICY) == ({}, {})
    assert worker.snapshot.of("acme/m1").fields["n"] > 0.0


def test_a_short_window_s_key_says_when_it_may_be_forgotten():
    worker = learner()
    worker.attempt(attempt(at=NOW), REGISTRY, POLICY)
    keys = [key for key in worker.collect(POLICY)[0] if key.startswith("now|")]
    assert len(keys) == 2
    for key in keys:
        _, _, end = key.rpartition("|")
        bucket, expires, nothing = end.split("~")
        assert nothing == ""
        assert int(bucket) == half_window(NOW, POLICY)
        assert NOW + POLICY.scoring.live_window_s < int(expires) <= NOW + 2.0 * POLICY.scoring.live_window_s


def test_totals_and_what_is_still_pending_add_up():
    clock, store = Clock(), Store()
    worker, other, alone = learner(clock), learner(clock), learner(clock)
    for each in (other, alone):
        each.attempt(attempt("acme/m1", at=NOW, cost_usd=0.5), REGISTRY, POLICY)
        each.reward(reward(value=0.0), POLICY)
    store.push(other.collect(POLICY))
    for each in (worker, alone):
        each.attempt(attempt("acme/m1", at=NOW + 1), REGISTRY, POLICY)
        each.reward(reward(at=NOW + 1), POLICY)
    store.give(worker)
    assert_same(worker, alone, NOW + 1)
    store.push(worker.collect(POLICY))
    store.give(worker)
    assert_same(worker, alone, NOW + 1)


def test_a_worker_that_starts_later_weighs_what_others_learned_as_they_do():
    clock, store = Clock(), Store()
    worker, late = learner(clock), learner(clock)
    for number in range(8):
        near = PROMPTS[2 * (number % 2)]
        worker.reward(reward("acme/m1", value=float(number % 2), features=near), POLICY)
        worker.reward(reward("acme/m2", value=0.5, features=near), POLICY)
    store.push(worker.collect(POLICY))
    store.give(late)
    wanted = residuals(worker.snapshot.quality, PROMPTS[2], [TASK])
    assert wanted is not None
    assert abs(wanted["acme/m1"]) > 0.01
    assert residuals(late.snapshot.quality, PROMPTS[2], [TASK]) == pytest.approx(wanted, rel=1e-6)


def test_keys_of_another_version_are_left_alone():
    worker = learner()
    worker.apply({"row|short": {"n": 1.0}, "now|acme/m1|x|yesterday": {"n": 1.0}, "what|ever": {"n": 1.0}}, {}, POLICY)
    assert worker.snapshot.states == {}


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_a_window_of_another_length_begins_anew_and_goes_on(factor):
    other = POLICY.replace(scoring=replace(POLICY.scoring, live_window_s=POLICY.scoring.live_window_s * factor))
    worker, store = learner(), Store()
    worker.attempt(attempt(at=NOW), REGISTRY, POLICY)
    store.push(worker.collect(POLICY))
    worker.attempt(attempt(at=NOW), REGISTRY, POLICY)
    worker.collect(other)  # the first exchange under the new policy
    assert window(worker.snapshot.states["acme/m1"], TASK, half_window(NOW, other)) == (0.0, 0.0, 0.0, 0.0)
    worker.attempt(attempt(at=NOW), REGISTRY, POLICY)  # a request begun before the change counts as those after it
    worker.attempt(attempt(at=NOW), REGISTRY, other)
    store.give(worker, other)  # what others wrote under the earlier one is left alone
    assert window(worker.snapshot.states["acme/m1"], TASK, half_window(NOW, other))[0] == 2.0
    store.push(worker.collect(other))
    store.give(worker, other)
    assert window(worker.snapshot.states["acme/m1"], TASK, half_window(NOW, other))[0] == 2.0
    assert worker.snapshot.of("acme/m1", TASK).summary.success_rate == 1.0
    late = learner()
    store.give(late, other)
    assert window(late.snapshot.states["acme/m1"], TASK, half_window(NOW, other))[0] == 2.0


def test_a_calibrated_state_goes_underneath_what_was_learned():
    worker = learner()
    worker.reward(reward(value=0.0), POLICY)
    before = flat(worker.snapshot.quality)
    priors = {"acme/m1": {"default": QualityPrior(0.9, 30.0)}}
    worker.calibrate(QualityState(priors=priors))
    assert worker.snapshot.quality.priors == priors
    assert flat(worker.snapshot.quality) == before
    assert worker.snapshot.quality.unit > 1.0


ACTION = st.tuples(
    st.sampled_from(["attempt", "fail", "reward", "exchange", "exchange with traffic"]),
    st.integers(0, 1),
    st.sampled_from(["acme/m1", "acme/m2", "beta/m1"]),
    st.sampled_from([TaskType.ANALYSIS, TaskType.TESTING]),
    st.floats(0.0, 700.0),
    st.floats(0.0, 1.0),
)


@settings(max_examples=60)
@given(st.lists(ACTION, max_size=30))
def test_two_workers_that_exchange_end_as_one_worker_that_saw_everything(actions):
    clock, store = Clock(), Store()
    workers, alone = (learner(clock), learner(clock)), learner(clock)

    def happen(kind: str, worker: int, name: str, task: TaskType, value: float) -> None:
        for each in (workers[worker], alone):
            if kind == "reward":
                near = PROMPTS[int(value * 2.99)]
                each.reward(Reward(name, task, clock.now, value, 0.5, features=near), POLICY)
            else:
                failure = "server" if kind == "fail" else None
                times = {"duration_s": 0.1 + value, "time_to_first_content_s": value, "stream": True}
                each.attempt(attempt(name, at=clock.now, task=task, failure=failure, **times), REGISTRY, POLICY)

    def exchange(worker: int, between: tuple[Any, ...] | None) -> None:
        store.push(workers[worker].collect(POLICY))
        if between is not None:
            happen(*between)
        store.give(workers[worker])

    for kind, worker, name, task, passed, value in actions:
        clock.now += passed
        traffic = ("attempt", worker, name, task, value)
        match kind:
            case "exchange":
                exchange(worker, None)
            case "exchange with traffic":
                exchange(worker, traffic)
            case _:
                happen(kind, worker, name, task, value)
    for worker in (0, 1, 0):
        exchange(worker, None)
    for each in workers:
        assert_same(each, alone, clock.now)
        assert each.collect(POLICY) == ({}, {})


def opened(worker: Learner, name: str = "acme/m1") -> None:
    for _ in range(2):
        worker.attempt(attempt(name, at=NOW, failure="server"), REGISTRY, POLICY)


def test_a_closed_circuit_needs_no_lease_and_a_half_open_one_lends_as_many_as_it_has():
    clock = Clock()
    worker = learner(clock)
    deployment = REGISTRY.deployments["acme/m1"]
    assert worker.grant(deployment, POLICY) == (True, None)
    opened(worker)
    assert worker.grant(deployment, POLICY) == (False, None)
    clock.now += POLICY.breaker.open_s + 1
    allowed, lease = worker.grant(deployment, POLICY)
    assert allowed
    assert lease is not None
    assert worker.grant(deployment, POLICY) == (False, None)
    worker.release("acme/m1", lease)
    assert worker.grant(deployment, POLICY)[0]


def test_nobody_s_lease_is_given_back_by_one_who_has_none():
    worker = learner()
    before = worker.snapshot
    worker.release("acme/m1", None)
    assert worker.snapshot is before


def test_the_last_resort_takes_a_lease_from_an_open_circuit():
    worker = learner()
    opened(worker)
    allowed, lease = worker.grant(REGISTRY.deployments["acme/m1"], POLICY, force=True)
    assert allowed
    assert lease is not None
    assert worker.snapshot.circuit("acme/m1").state is State.HALF_OPEN


def test_each_change_of_a_circuit_is_told_once_and_only_its_own_changes():
    clock = Clock()
    worker = learner(clock)
    told: list[tuple[str, State]] = []
    worker.on_circuit = lambda name, circuit: told.append((name, circuit.state))
    opened(worker)
    assert told == [("acme/m1", State.OPEN)]
    clock.now += POLICY.breaker.open_s + 1
    _, lease = worker.grant(REGISTRY.deployments["acme/m1"], POLICY)
    worker.attempt(attempt(at=clock.now, probe_lease=lease), REGISTRY, POLICY)
    assert told[1:] == [("acme/m1", State.HALF_OPEN), ("acme/m1", State.CLOSED)]
    assert worker.reset("acme/m1").state is State.CLOSED
    worker.join("acme/m1", Circuit(State.OPEN, open_until=clock.now + 9, epoch=99))
    assert len(told) == 4  # the reset was told; what came from others is not told again


def test_another_worker_s_circuit_is_taken_over_when_it_is_newer():
    clock = Clock()
    worker, other = learner(clock), learner(clock)
    opened(other)
    theirs = other.snapshot.circuit("acme/m1")
    worker.join("acme/m1", theirs)
    assert worker.grant(REGISTRY.deployments["acme/m1"], POLICY) == (False, None)
    assert worker.reset("acme/m1").epoch > theirs.epoch
    worker.join("acme/m1", theirs)  # older than the reset
    assert worker.snapshot.circuit("acme/m1").state is State.CLOSED
    assert worker.snapshot.of("acme/m1") is EMPTY_SERIES
