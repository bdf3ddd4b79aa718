"""Folding outcomes into what is known: pure, order-free where workers merge, bounded in size."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_core import decay
from router_core.gain import NO_GAIN, gain, half_window
from router_core.latency import BINS, bin_of
from router_core.outcome import AttemptRole, FailureKind, Reward, Usage
from router_core.policy import Policy
from router_core.retry_policy import RULES, Counts
from router_core.series import ALL_TASKS, FIELDS, Increment
from router_core.snapshot import Snapshot, fold, increment
from router_core.task import TaskType
from tests.fakes.outcomes import attempt
from tests.unit.router_core.builders import NOW, after, answers, features

POLICY = Policy()
EMPTY = Snapshot.empty()
WEIGHT = decay.weight(NOW, POLICY.learning.half_life_h * 3600.0)

tasks = st.sampled_from([TaskType.ANALYSIS, TaskType.TESTING])
names = st.sampled_from(["acme/m1", "acme/m2", "beta/m1"])
times = st.floats(NOW - 3000.0, NOW)
attempts = st.builds(
    attempt,
    names,
    times,
    task=tasks,
    failure=st.none() | st.sampled_from(["server", "rate_limited", "auth", "invalid_request", "cancelled"]),
    duration_s=st.floats(0.01, 100.0),
    cost_usd=st.floats(0.0, 1.0),
    stream=st.booleans(),
    time_to_first_content_s=st.none() | st.floats(0.01, 50.0),
    input_estimate=st.integers(0, 1000),
    role=st.sampled_from(AttemptRole),
)
rewards = st.builds(
    Reward,
    names,
    tasks,
    times,
    st.floats(0.0, 1.0),
    st.floats(0.1, 1.0),
    st.sampled_from(["feedback", "verifier"]),
    st.none() | tasks,
    st.sampled_from([None, features("2 + 2?"), features("Write a long story about a river.\n" * 30)]),
)
outcomes = attempts | rewards
shuffled = st.lists(outcomes, max_size=10).flatmap(lambda items: st.tuples(st.just(items), st.permutations(items)))


def added(*seen: Any) -> list[Increment]:
    """What some outcomes add."""
    return [item for outcome in seen if (item := increment(outcome, POLICY)) is not None]


def of_call(**changes: Any) -> Increment:
    (only,) = added(attempt(at=NOW, **changes))
    return only


def learned(snapshot: Snapshot) -> dict[str, Any]:
    """Everything workers merge, as one flat mapping."""
    found: dict[str, Any] = {}
    last = half_window(NOW, POLICY)
    for name, state in snapshot.states.items():
        for task, series in state.tasks.items():
            found |= {f"{name} {task} {field}": value for field, value in series.to_fields().items()}
            found[f"{name} {task} at"] = series.last_at
        for task, recent in state.recent.items():
            found |= {f"{name} {task} recent {i}": value for i, value in enumerate(recent.total(last))}
    for key, sums in snapshot.quality.sums().items():
        found |= {f"{key} {field}": value for field, value in sums.items()}
    return found


def picture(snapshot: Snapshot) -> str:
    """All of a snapshot, to see whether anything in it changed."""
    states = {name: (state.recent, state.circuit) for name, state in snapshot.states.items()}
    return repr((snapshot.version, learned(snapshot), states, snapshot.provider_open, snapshot.quality))


@settings(max_examples=50)
@given(shuffled)
def test_what_is_learned_does_not_depend_on_the_order(orders: tuple[list[Any], list[Any]]):
    one, other = orders
    assert learned(after(EMPTY, *one)) == pytest.approx(learned(after(EMPTY, *other)))


@settings(max_examples=50)
@given(shuffled, st.integers(0, 10))
def test_two_workers_increments_merge_in_either_order_to_what_one_would_have_seen(
    orders: tuple[list[Any], list[Any]], part: int
):
    everything, mixed = orders
    apart = [added(*half) for half in (mixed[:part], mixed[part:])]
    alone = EMPTY.plus(added(*everything), POLICY)
    one = EMPTY.plus(apart[0], POLICY).plus(apart[1], POLICY)
    other = EMPTY.plus(apart[1], POLICY).plus(apart[0], POLICY)
    assert learned(one) == pytest.approx(learned(other))
    assert learned(one) == pytest.approx(learned(alone))


@settings(max_examples=50)
@given(st.lists(outcomes, max_size=10), st.integers(0, 10))
def test_what_was_added_up_in_parts_adds_what_each_outcome_would_have_added(seen: list[Any], part: int):
    together = NO_GAIN.plus(gain(added(*seen[:part]), POLICY)).plus(gain(added(*seen[part:]), POLICY))
    one_by_one = EMPTY
    for outcome in seen:
        one_by_one = one_by_one.plus(added(outcome), POLICY)
    assert learned(EMPTY.gained(together)) == pytest.approx(learned(one_by_one))


@settings(max_examples=50)
@given(st.lists(outcomes, max_size=10), st.booleans())
def test_who_starts_over_keeps_windows_and_times_and_the_other_sums(seen: list[Any], judged: bool):
    whole = gain(added(*seen), POLICY)
    left = whole.without("acme/m1", judged=judged)
    assert left.halves == whole.halves
    before, after_it = learned(EMPTY.gained(whole)), learned(EMPTY.gained(left))
    gone = {"rw", "rv", "fw", "fv"}
    for name, value in before.items():
        deployment, _, field = name.split()[:3]
        forgotten = deployment == "acme/m1" and field not in {"at", "recent"} and (field in gone) is judged
        assert after_it.get(name) == (None if forgotten else pytest.approx(value))


@settings(max_examples=50)
@given(st.lists(outcomes, max_size=6), outcomes)
def test_folding_never_changes_the_view_before(past: list[Any], news: Any):
    before = after(EMPTY, *past)
    kept = picture(before)
    later = fold(before, news, POLICY, peers=["acme/m1", "acme/m2"])
    before.plus(added(news), POLICY)
    assert picture(before) == kept
    assert later.version >= before.version


@settings(max_examples=20)
@given(st.lists(outcomes, max_size=40))
def test_what_is_remembered_is_bounded_by_deployments_and_tasks(past: list[Any]):
    snapshot = after(EMPTY, *past, *past)
    assert set(snapshot.states) <= {"acme/m1", "acme/m2", "beta/m1"}
    for state in snapshot.states.values():
        assert set(state.tasks) | set(state.recent) <= {*TaskType, ALL_TASKS}
        for series in state.tasks.values():
            assert set(series.fields) <= set(FIELDS)
            assert all(0 <= index < BINS for index in (*series.durations, *series.firsts))
        assert len(state.circuit.window) <= 10


def test_the_empty_view_knows_nothing():
    assert EMPTY.circuit("acme/m1").state == "closed"
    assert EMPTY.of("acme/m1").to_fields() == {}
    assert EMPTY.version == 0


# --- what one outcome adds


def test_a_good_answer_adds_to_its_task_and_to_all_tasks():
    good = attempt(at=NOW, stream=True, time_to_first_content_s=0.25, input_estimate=90, duration_s=2.0)
    mine = increment(good, POLICY)
    assert mine is not None
    assert mine.tasks == ("analysis", ALL_TASKS)
    assert mine.fields == {
        "n": 1.0,
        "ok": 1.0,
        "dur": 2.0,
        "cost": 0.002,
        "out": 50.0,
        "out_n": 1.0,
        "act": 100.0,
        "est": 90.0,
    }
    assert (mine.weight, mine.at) == (WEIGHT, NOW)
    assert (mine.duration_bin, mine.first_bin) == (bin_of(2.0), bin_of(0.25))
    assert mine.recent == (1.0, 1.0, 2.0, 0.002)


@pytest.mark.parametrize(
    "changes",
    [{"input_estimate": 0}, {"usage": Usage(0, 0, 0, 50), "input_estimate": 90}],
)
def test_the_token_ratio_learns_only_from_counted_and_estimated_tokens(changes: dict[str, Any]):
    assert "est" not in of_call(**changes).fields


def test_estimated_usage_teaches_no_lengths():
    guessed = of_call(usage=Usage(100, 0, 0, 50, estimated=True), input_estimate=90)
    assert set(guessed.fields) == {"n", "ok", "dur", "cost"}


@pytest.mark.parametrize("changes", [{"stream": False}, {"stream": True, "time_to_first_content_s": None}])
def test_the_first_content_is_timed_for_streams_alone(changes: dict[str, Any]):
    values = {"time_to_first_content_s": 0.25, **changes}
    assert of_call(**values).first_bin is None


@pytest.mark.parametrize("kind", FailureKind)
def test_a_failure_counts_exactly_when_it_is_the_provider_s(kind: FailureKind):
    failed = increment(attempt(at=NOW, failure=kind), POLICY)
    if RULES[kind].counts is Counts.NO:
        assert failed is None
    else:
        assert failed is not None
        assert failed.fields == {"n": 1.0}
        assert failed.recent == (1.0, 0.0, 0.0, 0.0)
        assert (failed.duration_bin, failed.first_bin) == (None, None)


def test_a_failure_that_cost_money_is_paid_for_in_the_baseline_and_the_window_alike():
    broken = of_call(failure="stream_broken", cost_usd=0.03)
    assert broken.fields == {"n": 1.0, "cost": 0.03}
    assert broken.recent == (1.0, 0.0, 0.0, 0.03)


def test_a_judge_s_own_call_says_nothing_about_answers():
    assert increment(attempt(at=NOW, role=AttemptRole.JUDGE), POLICY) is None


def test_a_reward_counts_for_both_rows_of_its_task():
    reward = Reward("acme/m1", TaskType.TOOL_USE, NOW, 0.75, 0.5, "verifier", TaskType.TESTING)
    (only,) = added(reward)
    assert only.tasks == ("testing", "tool_use")
    assert only.fields == {"rw": 0.5, "rv": 0.375}


def test_explicit_feedback_also_moves_the_learned_weight():
    reward = Reward("acme/m1", TaskType.TESTING, NOW, 0.75, 0.5, "feedback:alice")
    (only,) = added(reward)
    assert only.tasks == ("testing",)
    assert only.fields == {"rw": 0.5, "rv": 0.375, "fw": 0.5, "fv": 0.375}
    assert only.recent is None


def test_a_reward_for_a_known_prompt_also_teaches_about_prompts_like_it():
    question = features("What is 2 + 2?")
    snapshot = after(EMPTY, Reward("acme/m1", TaskType.ANALYSIS, NOW, 0.0, features=question))
    assert len(snapshot.quality.sums()) == 1
    assert snapshot.quality.unit == WEIGHT
    assert after(EMPTY, Reward("acme/m1", TaskType.ANALYSIS, NOW, 0.0)).quality is EMPTY.quality


# --- the parts of a view


def test_reading_a_series_by_task():
    snapshot = after(EMPTY, *answers("acme/m1", 3, at=NOW))
    assert snapshot.of("acme/m1", "analysis").fields["n"] == pytest.approx(3 * WEIGHT, rel=1e-4)
    assert snapshot.of("acme/m1").fields["n"] == pytest.approx(3 * WEIGHT, rel=1e-4)
    assert snapshot.of("acme/m1", "planning").to_fields() == {}


def test_the_same_circuit_again_is_the_same_view():
    snapshot = after(EMPTY, attempt(at=NOW))
    assert snapshot.with_circuit("acme/m1", snapshot.circuit("acme/m1")) is snapshot
