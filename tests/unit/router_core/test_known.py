"""What is known of a deployment: the registry's prior joined with evidence, by the minute."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core import known as known_module
from router_core.decision import Known
from router_core.known import UNSEEN_AGE_H, Able, known_of, performance
from router_core.outcome import Reward, Usage
from router_core.policy import LearningPolicy, Policy, ScoringPolicy
from router_core.registry import Registry
from router_core.series import EMPTY_SERIES, Series
from router_core.snapshot import EMPTY_STATE, DeploymentState, Snapshot
from router_core.task import TaskType
from tests.fakes.outcomes import attempt
from tests.unit.router_core.builders import HOUR, NOW, after, answers, deployment, registry

POLICY = Policy()
MINUTE = int(NOW // 60)
SETUP = registry(
    {"id": "acme/m1", "quality": {"analysis": {"mean": 0.8, "weight": 10}, "testing": {"mean": 0.6, "weight": 10}}},
    {"id": "beta/m1", "latency_prior_s": 7.0},
    task_preferences={"analysis": {"preferred": ["acme/m1"]}, "testing": {"budget": ["acme/m1", "beta/m1"]}},
)


def look(
    snapshot: Snapshot,
    name: str = "acme/m1",
    rows: tuple[str, ...] = ("analysis",),
    policy: Policy = POLICY,
    minute: int = MINUTE,
    setup: Registry = SETUP,
) -> Known:
    state = snapshot.states.get(name, DeploymentState())
    return known_of(setup.deployments[name], state, rows, setup, policy, minute)


EMPTY = Snapshot.empty()


def test_a_deployment_nobody_called_is_known_by_its_prior():
    found = look(EMPTY)
    assert (found.quality, found.quality_n, found.learned, found.performance) == (0.8, 0.0, 0.5, 0.5)
    assert (found.observations, found.success_rate, found.latency_s, found.age_h) == (0.0, 1.0, 0.0, UNSEEN_AGE_H)
    assert (found.mean_output, found.input_ratio, found.adjustment) == (400.0, 1.0, 1.0)
    assert (found.vendor, found.preference) == ("acme inc", 1.0)


def test_a_latency_prior_holds_until_something_was_observed():
    assert look(EMPTY, "beta/m1").latency_p95_s == 7.0
    seen = after(EMPTY, *answers("beta/m1", 3, at=NOW - 60, duration_s=2.0))
    assert look(seen, "beta/m1").latency_p95_s == pytest.approx(2.0, rel=0.02)


def test_a_provider_outside_the_registry_is_its_own_vendor():
    lonely = Registry({}, SETUP.deployments)
    assert look(EMPTY, setup=lonely).vendor == "acme"


def test_evidence_moves_quality_and_feedback_moves_the_learned_weight():
    bad = [Reward("acme/m1", TaskType.ANALYSIS, NOW, 0.0) for _ in range(10)]
    found = look(after(EMPTY, *bad))
    assert found.quality == pytest.approx(0.4, abs=1e-3)
    assert found.learned == pytest.approx(4.5 / 19, abs=1e-3)
    assert found.quality_n == pytest.approx(10.0, rel=1e-3)
    assert found.quality_sd < look(EMPTY).quality_sd


def test_one_vote_moves_the_learned_weight_like_an_average_with_alpha_a_tenth():
    found = look(after(EMPTY, Reward("acme/m1", TaskType.ANALYSIS, NOW, 1.0)))
    assert found.learned == pytest.approx(0.9 * 0.5 + 0.1 * 1.0, abs=1e-4)


def test_what_is_learned_counts_half_after_a_half_life():
    snapshot = after(EMPTY, *[Reward("acme/m1", TaskType.ANALYSIS, NOW, 0.0) for _ in range(10)])
    later = look(snapshot, minute=MINUTE + 720 * 60)
    assert later.quality_n == pytest.approx(5.0, rel=1e-3)


def test_with_learning_switched_off_the_prior_is_all_there_is():
    snapshot = after(EMPTY, *[Reward("acme/m1", TaskType.ANALYSIS, NOW, 0.0) for _ in range(10)])
    found = look(snapshot, policy=Policy(learning=LearningPolicy(enabled=False)))
    assert (found.quality, found.learned) == (0.8, 0.5)


def test_two_task_rows_are_averaged_and_the_better_preference_counts():
    found = look(EMPTY, rows=("testing", "analysis"))
    assert found.quality == pytest.approx(0.7)
    assert found.preference == 1.0
    assert look(EMPTY, rows=("testing",)).preference == 0.3


def test_token_ratio_is_learned_over_all_tasks_and_lengths_first_over_the_task():
    mine = answers("acme/m1", 4, at=NOW - 60, usage=Usage(120, output=300), input_estimate=100)
    other = [attempt("acme/m1", NOW - 60, task=TaskType.TESTING, usage=Usage(120, output=100), input_estimate=100)] * 4
    snapshot = after(EMPTY, *mine, *other)
    assert look(snapshot).input_ratio == pytest.approx(1.2)
    assert look(snapshot).mean_output == pytest.approx(300.0)
    assert look(snapshot, rows=("planning",)).mean_output == pytest.approx(200.0, rel=1e-3)


# --- performance


def series(n: float, ok: float, seconds: float) -> Series:
    from router_core.latency import bin_of

    return Series({"n": n, "ok": ok}, {bin_of(seconds): ok}, {}, NOW)


def perform(n: float, ok: float = 1.0, seconds: float = 1e-4, age_h: float = 0.0) -> float:
    return performance(n, series(n, n * ok, seconds).summary, age_h, ScoringPolicy())


def test_performance_is_what_was_observed_as_far_as_it_is_trusted():
    assert perform(100.0) == pytest.approx(1.0, abs=1e-4)
    assert perform(50.0) == pytest.approx(0.75, abs=1e-4)
    assert perform(1000.0, ok=0.5) == pytest.approx(0.5, abs=1e-4)
    assert perform(100.0, seconds=10.0) == pytest.approx(0.5, abs=0.01)
    assert perform(100.0, age_h=168.0) == pytest.approx(0.75, abs=1e-4)


def test_without_data_performance_is_neutral_not_zero():
    assert performance(0.0, EMPTY_SERIES.summary, UNSEEN_AGE_H, ScoringPolicy()) == 0.5
    assert performance(1.0, EMPTY_SERIES.summary, UNSEEN_AGE_H, ScoringPolicy()) == pytest.approx(0.5)


counts, shares = st.floats(0.1, 1e4), st.floats(0.0, 1.0)
seconds, ages = st.floats(1e-3, 3000.0), st.floats(0.0, 1e6)


@given(counts, shares, shares, seconds, ages)
def test_performance_grows_with_the_success_rate(n: float, one: float, other: float, took: float, age: float):
    low, high = sorted((one, other))
    assert perform(n, low, took, age) <= perform(n, high, took, age) + 1e-12
    assert 0.0 <= perform(n, low, took, age) <= 1.0


@given(counts, st.floats(0.01, 1.0), seconds, seconds, ages)
def test_performance_falls_with_latency(n: float, ok: float, one: float, other: float, age: float):
    quick, slow = sorted((one, other))
    assert perform(n, ok, slow, age) <= perform(n, ok, quick, age) + 1e-12


# --- remembering what was computed


def test_within_a_minute_nothing_is_computed_twice():
    snapshot = after(EMPTY, attempt("acme/m1", NOW))
    assert look(snapshot) is look(snapshot)
    assert look(snapshot, minute=MINUTE + 1) is not look(snapshot)


def test_another_policy_or_registry_is_never_answered_from_memory():
    snapshot = after(EMPTY, attempt("acme/m1", NOW))
    first = look(snapshot)
    assert look(snapshot, policy=Policy()) is not first
    assert look(snapshot, setup=Registry(SETUP.providers, SETUP.deployments)).preference == 0.0


def test_a_changed_circuit_keeps_what_was_computed():
    from router_core import breaker

    snapshot = after(EMPTY, attempt("acme/m1", NOW))
    moved = snapshot.with_circuit("acme/m1", breaker.eject(snapshot.circuit("acme/m1"), NOW, 5.0))
    assert look(moved) is look(snapshot)


def test_after_an_outcome_only_its_deployment_stands_anew():
    able, policy, rows = Able(SETUP.deployments.values()), Policy(), ("analysis",)
    seen = after(EMPTY, attempt("acme/m1", NOW), attempt("beta/m1", NOW))
    first = able.standing(seen.states, rows, SETUP, policy, MINUTE)
    moved = after(seen, attempt("acme/m1", NOW, duration_s=9.0))
    again = able.standing(moved.states, rows, SETUP, policy, MINUTE)
    assert again == Able(SETUP.deployments.values()).standing(moved.states, rows, SETUP, policy, MINUTE)
    assert [now is then for now, then in zip(again, first, strict=True)] == [False, True]
    assert first[0].state is seen.states["acme/m1"]


def test_another_policy_registry_or_minute_lets_everybody_stand_anew():
    able, rows, other = Able(SETUP.deployments.values()), ("analysis",), Registry(SETUP.providers, SETUP.deployments)
    for setup, policy, minute in ((SETUP, POLICY, 0), (SETUP, Policy(), 0), (other, POLICY, 0), (other, POLICY, 9)):
        first = able.standing(EMPTY.states, rows, setup, policy, MINUTE + minute)
        assert able.standing(EMPTY.states, rows, setup, policy, MINUTE + minute) is first
        fresh = Able(SETUP.deployments.values()).standing(EMPTY.states, rows, setup, policy, MINUTE + minute)
        assert [stand.known for stand in first] == [stand.known for stand in fresh]


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(known_module, "_MEMO_LIMIT", 4)
    state = DeploymentState()
    for number in range(20):
        for minute in (MINUTE, MINUTE + 1):
            known_of(deployment(f"acme/m{number}"), state, ("analysis",), SETUP, POLICY, minute)
            assert 1 <= len(state.memo) <= 4


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=8), st.floats(0.0, 30 * 24 * HOUR))
def test_everything_known_stays_in_its_range(values: list[float], later: float):
    rewards: list[Any] = [Reward("acme/m1", TaskType.ANALYSIS, NOW, value) for value in values]
    found = look(after(EMPTY, *rewards), minute=int((NOW + later) // 60))
    for share in (found.quality, found.quality_sd, found.learned, found.preference, found.performance):
        assert 0.0 <= share <= 1.0


def test_the_state_all_unknown_deployments_share_is_never_given_series():
    look(EMPTY)
    assert (EMPTY_STATE.tasks, EMPTY_STATE.recent) == ({}, {})
