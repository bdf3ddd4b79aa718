"""A deployment that changed in silence starts over: found by its rewards, shared with other workers, kept by a store."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gateway.learner import Learner
from gateway.observe.anomalies import NEW_NORMAL
from gateway.observe.watching import Watching
from gateway.renewal import Streams
from gateway.renewals import Renewals
from gateway.series_keys import JUDGED, SERVED, near_key, read
from router_core.deployment import QualityPrior
from router_core.known import known_of
from router_core.outcome import Reward
from router_core.policy import Policy
from router_core.quality import RENEWED_WEIGHT, QualityState, residuals
from router_core.task import TaskType
from tests.fakes.outcomes import attempt
from tests.unit.gateway.test_learner import Clock, Store
from tests.unit.router_core.builders import NOW, features, registry

POLICY = Policy()
SETUP = registry({"id": "acme/m1", "quality": {"default": {"mean": 0.8, "weight": 400}}}, "acme/m2", "beta/m1")
PROMPT = features("Solve 3 + 4 = x for x, with steps.")


def vote(value: float, deployment: str = "acme/m1", **changes: Any) -> Reward:
    return Reward(deployment, TaskType.ANALYSIS, NOW, value, **{"features": PROMPT, "source": "feedback:a", **changes})


def quality(worker: Learner, deployment: str = "acme/m1") -> float:
    state = worker.snapshot.states[deployment]
    rows = (str(TaskType.ANALYSIS),)
    return known_of(SETUP.deployments[deployment], state, rows, SETUP, POLICY, int(NOW // 60)).quality


def lived(*, until: int = 700, worker: Learner | None = None) -> Learner:
    """A worker that has heard good of a deployment until it became bad."""
    worker, rng = worker or Learner(Clock()), random.Random(3)
    for index in range(until):
        good = rng.random() < (0.8 if index < 600 else 0.2)
        worker.reward(vote(float(good)), POLICY, 0.8)
    return worker


def test_a_deployment_that_became_bad_starts_over_and_is_known_for_it():
    heard: list[tuple[str, str, str]] = []
    worker = Learner(Clock())
    worker.on_renewed = lambda *told: heard.append(told)
    lived(worker=worker)
    assert heard == [("acme/m1", JUDGED, "worse")]
    assert worker.epochs == {(JUDGED, "acme/m1"): int(NOW)}
    assert quality(worker) < 0.45
    stubborn = Learner(Clock())
    rng = random.Random(3)
    for index in range(700):
        stubborn.reward(vote(float(rng.random() < (0.8 if index < 600 else 0.2))), POLICY)
    assert quality(stubborn) > 0.7


def test_other_workers_and_a_restart_follow_without_being_told():
    store, worker, other = Store(), Learner(Clock()), Learner(Clock())
    lived(until=600, worker=worker)
    store.push(worker.collect(POLICY))
    store.give(other)
    assert quality(other) == pytest.approx(quality(worker))
    assert quality(other) > 0.75
    rng = random.Random(5)
    for _ in range(100):
        worker.reward(vote(float(rng.random() < 0.2)), POLICY, 0.8)
    other.reward(vote(1.0), POLICY, 0.8)  # not delivered yet, and of the time before
    store.push(worker.collect(POLICY))
    store.give(other)
    store.give(worker)
    fresh = Learner(Clock())
    store.give(fresh)
    for each in (other, fresh):
        assert each.epochs == worker.epochs
        assert quality(each) == pytest.approx(quality(worker))
        assert residuals(each.snapshot.quality, PROMPT, ["analysis"]) == pytest.approx(
            residuals(worker.snapshot.quality, PROMPT, ["analysis"])
        )
    store.push(other.collect(POLICY))
    store.give(worker)
    assert quality(worker) == pytest.approx(quality(other))


def test_sums_of_the_time_before_that_arrive_late_change_nothing():
    worker = lived()
    before = quality(worker)
    late = {"row|acme/m1|analysis": {"rw": 500.0, "rv": 500.0}, "near|acme/m1|analysis|s-f-": {"w": 9.0, "wv": 9.0}}
    worker.apply(late, {"row|acme/m1|analysis": NOW}, POLICY)
    assert quality(worker) == before


def test_rewards_that_start_over_leave_times_and_failures_alone_and_the_other_way_round():
    worker = Learner(Clock())
    worker.attempt(attempt(at=NOW, duration_s=2.0), SETUP, POLICY)
    worker.reward(vote(1.0), POLICY)
    worker.renew("acme/m1", JUDGED, POLICY, "test")
    series = worker.snapshot.of("acme/m1", "analysis")
    assert series.summary.latency_p50_s == pytest.approx(2.0, rel=0.02)
    assert series.fields["rw"] > 0.0  # its last rewards are kept
    assert worker.snapshot.states["acme/m1"].renewed
    worker.renew("acme/m1", SERVED, POLICY, "test")
    series = worker.snapshot.of("acme/m1", "analysis")
    assert series.summary.latency_p50_s is None
    assert series.fields["rw"] > 0.0
    worker.attempt(attempt(at=NOW, duration_s=9.0), SETUP, POLICY)
    store = Store()
    store.push(worker.collect(POLICY))
    other = Learner(Clock())
    store.give(other)
    store.give(worker)
    for each in (worker, other):
        found = each.snapshot.of("acme/m1", "analysis")
        assert found.summary.latency_p50_s == pytest.approx(9.0, rel=0.02)
        assert found.fields["n"] == pytest.approx(series_weight(each))
        assert each.epochs == {(JUDGED, "acme/m1"): int(NOW), (SERVED, "acme/m1"): int(NOW)}


def series_weight(worker: Learner) -> float:
    """The decayed weight of one call."""
    return worker.snapshot.of("acme/m1", "*").fields["n"]


def test_starting_over_twice_within_a_second_gives_two_epochs():
    worker = Learner(Clock())
    for _ in range(2):
        worker.renew("acme/m1", JUDGED, POLICY, "test")
    assert worker.epochs[JUDGED, "acme/m1"] == int(NOW) + 1


def test_a_calibration_loaded_afterwards_is_worth_ten_observations():
    worker = lived()
    priors = {name: {"default": QualityPrior(0.9, 300.0)} for name in ("acme/m1", "acme/m2")}
    worker.calibrate(QualityState(priors=priors))
    held = worker.snapshot.quality.priors
    assert held["acme/m1"]["default"] == QualityPrior(0.9, RENEWED_WEIGHT)
    assert held["acme/m2"]["default"].weight == 300.0


def test_hints_and_answers_whose_expectation_was_not_kept_are_not_watched():
    streams, rng = Streams(), random.Random(0)
    for index in range(2000):
        value = float(rng.random() < (0.8 if index < 800 else 0.1))
        assert streams.hear(vote(value, source="implicit"), 0.8) == 0
        assert streams.hear(vote(value), None) == 0
    assert len(streams.last("acme/m1")) == 24


def test_streams_are_bounded_and_belong_to_their_source():
    streams = Streams()
    for index in range(2500):
        streams.hear(vote(1.0, f"acme/m{index}"), 0.9)
    assert len(streams._changes) == len(streams._last) == 2000
    assert streams.last("acme/m0") == []


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("row|a/b#c|analysis", ("row", 0, "a/b#c", "analysis", "")),
        ("judged@17|a/b|*", ("judged", 17, "a/b", "*", "")),
        ("near@3|a/b|analysis|s-f-", ("near", 3, "a/b", "analysis", "s-f-")),
        ("pace|3600|1~2~|balanced", None),
    ],
)
def test_keys_are_taken_apart(key, found):
    assert read(key) == found


def test_keys_that_are_broken_are_left_alone():
    worker = Learner(Clock())
    worker.apply(
        {"row|x": {}, "judged@x|a/b|c": {"rw": 1.0}, "now|a/b|c|x~1~": {"n": 1.0}, "near|a": {}, "what": {}}, {}, POLICY
    )
    assert worker.snapshot.states == {}
    assert near_key("near|a/b|analysis|s-f-", {(JUDGED, "a/b"): 5}) == "near@5|a/b|analysis|s-f-"


def test_a_latency_that_became_the_normal_lets_times_start_over_and_tells():
    learner, watching = Learner(Clock()), Watching({}, now=lambda: NOW)
    told: list[tuple[str, dict[str, Any]]] = []
    watching.tell = lambda kind, data: told.append((kind, dict(data)))  # type: ignore[method-assign]
    policy = Policy()
    Renewals(learner, watching, lambda: policy)
    rng = random.Random(1)
    for index in range(400 + NEW_NORMAL + 200):
        seconds = rng.uniform(1.0, 2.0) * (1.0 if index < 400 else 4.0)
        outcome = attempt(at=NOW, duration_s=seconds)
        learner.attempt(outcome, SETUP, policy)
        watching.observer.attempt(outcome)
        watching.observer.collect()
    assert (SERVED, "acme/m1") in learner.epochs
    assert (JUDGED, "acme/m1") not in learner.epochs
    slow = learner.snapshot.of("acme/m1", "analysis").summary.latency_p50_s
    assert slow is not None
    assert slow > 4.0
    assert [data["why"] for kind, data in told if kind == "renewed"] == ["latency is usual now"]


def test_nobody_starts_over_where_learning_is_off():
    learner, watching = Learner(Clock()), Watching({}, now=lambda: NOW)
    policy = Policy(learning=POLICY.learning.__class__(enabled=False))
    Renewals(learner, watching, lambda: policy)
    rng = random.Random(1)
    for index in range(400 + NEW_NORMAL + 200):
        seconds = rng.uniform(1.0, 2.0) * (1.0 if index < 400 else 4.0)
        watching.observer.attempt(attempt(at=NOW, duration_s=seconds))
    watching.observer.collect()
    assert watching.observer.watch.rows()[0]["ended"] == "new_normal"
    assert learner.epochs == {}
