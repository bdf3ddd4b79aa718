"""The circuit breaker, transition by transition; ``test_breaker_machine.py`` walks through it at random."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core import breaker
from router_core.breaker import CLOSED, TRANSITIONS, Circuit, Signal, State, admits, grant, on_failure, on_success
from router_core.policy import BreakerPolicy

RULES = BreakerPolicy(jitter=0.0)


def fail(circuit: Circuit, times: int, now: float = 0.0, rules: BreakerPolicy = RULES) -> Circuit:
    for _ in range(times):
        circuit = on_failure(circuit, now, rules)
    return circuit


def opened(now: float = 0.0, rules: BreakerPolicy = RULES) -> Circuit:
    return fail(CLOSED, 5, now, rules)


def half_open(now: float = 60.0, rules: BreakerPolicy = RULES) -> tuple[Circuit, int]:
    circuit, lease = grant(opened(rules=rules), now, rules)
    assert lease is not None
    return circuit, lease


def test_the_table_answers_every_signal_in_every_state():
    assert set(TRANSITIONS) == set(product(State, Signal))
    assert set(TRANSITIONS.values()) == set(State)


def test_a_closed_circuit_lets_everybody_through_and_asks_for_no_lease():
    assert admits(CLOSED, 0.0, RULES).admitted
    assert grant(CLOSED, 0.0, RULES) == (CLOSED, None)


# --- opening


def test_five_failures_in_a_row_open():
    assert fail(CLOSED, 4).state is State.CLOSED
    circuit = opened(now=100.0)
    assert (circuit.state, circuit.open_until, circuit.reason) == (State.OPEN, 160.0, "failure")


def test_a_success_between_starts_the_count_again():
    rules = BreakerPolicy(min_calls=1000)
    circuit = fail(on_success(fail(CLOSED, 4, rules=rules), 0.0, rules), 4, rules=rules)
    assert circuit.state is State.CLOSED
    assert fail(circuit, 1, rules=rules).state is State.OPEN


def test_a_failure_rate_over_a_minimum_of_calls_opens():
    circuit = CLOSED
    for _ in range(3):
        circuit = on_success(circuit, 0.0, RULES)
    circuit = fail(circuit, 2)
    assert circuit.state is State.CLOSED
    assert fail(circuit, 1).state is State.OPEN


def test_failures_that_left_the_window_no_longer_count():
    circuit = fail(CLOSED, 4, now=0.0)
    circuit = on_success(circuit, 40.0, RULES)
    circuit = fail(circuit, 1, now=40.0)
    assert circuit.state is State.CLOSED
    assert [item[1:] for item in circuit.window] == [(2, 1, 0)]


def test_slow_first_content_opens_like_failures_do():
    circuit = CLOSED
    for _ in range(4):
        circuit = on_success(circuit, 0.0, RULES, slow=True)
        assert circuit.state is State.CLOSED
    circuit = on_success(circuit, 0.0, RULES, slow=True)
    assert (circuit.state, circuit.reason) == (State.OPEN, "slow first content")


def test_a_slow_answer_among_quick_ones_opens_nothing():
    circuit = CLOSED
    for number in range(10):
        circuit = on_success(circuit, float(number), RULES, slow=number % 2 == 0)
    assert circuit.state is State.CLOSED


def test_bad_credentials_open_at_once_and_for_long():
    circuit = breaker.trip(CLOSED, 10.0, 600.0, "credentials")
    assert (circuit.state, circuit.open_until, circuit.reason) == (State.OPEN, 610.0, "credentials")
    assert breaker.trip(circuit, 20.0, 5.0, "credentials").open_until == 610.0


# --- open: how long


def test_each_opening_in_a_row_doubles_the_time_up_to_the_cap():
    circuit, times = opened(), []
    for _ in range(6):
        times.append(circuit.open_until - circuit.changed_at)
        circuit, _ = grant(circuit, circuit.open_until, RULES)
        circuit = on_failure(circuit, circuit.changed_at, RULES)
    assert times == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0]


def test_jitter_only_shortens_and_a_retry_after_is_a_lower_bound():
    rules = BreakerPolicy(jitter=0.2, consecutive_failures=1)
    assert on_failure(CLOSED, 0.0, rules, jitter=0.5).open_until == pytest.approx(54.0)
    assert on_failure(CLOSED, 0.0, rules, jitter=0.5, at_least_s=90.0).open_until == 90.0


def test_open_admits_nobody_and_says_when_to_come_back():
    circuit = opened()
    admission = admits(circuit, 45.0, RULES)
    assert (admission.admitted, admission.retry_after_s) == (False, 15.0)
    assert grant(circuit, 45.0, RULES) == (circuit, None)


def test_what_was_under_way_when_it_opened_changes_nothing():
    circuit = opened()
    assert on_success(circuit, 1.0, RULES) is circuit
    assert on_failure(circuit, 1.0, RULES) is circuit


def test_the_last_resort_may_force_a_probe_through_an_open_circuit():
    circuit, lease = grant(opened(), 1.0, RULES, force=True)
    assert (circuit.state, lease) == (State.HALF_OPEN, 1)
    assert on_success(circuit, 2.0, RULES).state is State.CLOSED


@pytest.mark.parametrize(
    ("circuit", "now", "may"),
    [
        (CLOSED, 0.0, True),
        (breaker.eject(CLOSED, 0.0, 30.0), 20.0, False),
        (opened(), 1.9, False),
        (opened(), 2.0, True),
        (opened(), 61.0, True),
        (replace(opened(), not_before=30.0), 29.0, False),
        (replace(opened(), not_before=30.0), 30.0, True),
        (replace(opened(), ejected_until=30.0), 29.0, False),
        (breaker.trip(CLOSED, 0.0, 600.0, "credentials"), 300.0, False),
        (breaker.trip(CLOSED, 0.0, 600.0, "not_found"), 300.0, False),
        (half_open()[0], 62.0, False),
        (half_open(now=3.0 + 60.0)[0], 64.0, False),
        (grant(opened(), 3.0, RULES, force=True)[0], 50.0, False),
        (breaker.release(*grant(opened(), 3.0, RULES, force=True)), 4.0, False),
        (breaker.release(*grant(opened(), 3.0, RULES, force=True)), 5.0, True),
    ],
)
def test_where_nobody_else_is_left_an_open_circuit_is_asked_now_and_then(circuit: Circuit, now: float, may: bool):
    assert breaker.resorts(circuit, now, RULES) is may


def test_a_probe_before_its_time_that_fails_leaves_the_open_time_as_it_was():
    circuit, _ = grant(opened(), 3.0, RULES, force=True)
    assert not admits(circuit, 4.0, RULES).admitted
    again = on_failure(circuit, 5.0, RULES, reason="server")
    assert (again.state, again.open_until, again.opens, again.changed_at, again.leases) == (
        State.OPEN,
        60.0,
        1,
        5.0,
        (),
    )
    assert not breaker.resorts(again, 6.9, RULES)
    assert breaker.resorts(again, 7.0, RULES)
    asked = on_failure(circuit, 5.0, RULES, at_least_s=20.0)
    assert (asked.open_until, asked.not_before) == (60.0, 25.0)


def test_a_provider_s_own_wish_is_kept_with_the_opening():
    circuit = on_failure(fail(CLOSED, 4), 10.0, RULES, at_least_s=90.0)
    assert (circuit.open_until, circuit.not_before) == (100.0, 100.0)


# --- half-open: probes


def test_after_its_time_an_open_circuit_lets_one_probe_through():
    circuit = opened()
    assert admits(circuit, 60.0, RULES).probe
    circuit, lease = grant(circuit, 60.0, RULES)
    assert (circuit.state, lease, circuit.leases) == (State.HALF_OPEN, 1, ((1, 120.0),))
    admission = admits(circuit, 70.0, RULES)
    assert (admission.admitted, admission.retry_after_s) == (False, 50.0)
    assert grant(circuit, 70.0, RULES) == (circuit, None)


def test_a_hanging_probe_keeps_its_place_only_as_long_as_its_lease():
    circuit, first = half_open(now=60.0)
    assert not admits(circuit, 119.9, RULES).admitted
    circuit, second = grant(circuit, 120.0, RULES)
    assert second is not None
    assert second != first
    assert circuit.leases == ((second, 180.0),)


def test_a_probe_s_place_can_be_given_back_without_a_verdict():
    circuit, lease = half_open()
    free = breaker.release(circuit, lease)
    assert free.leases == ()
    assert admits(free, 61.0, RULES).probe
    assert breaker.release(free, lease) is free
    assert breaker.release(circuit, None) is circuit


def test_as_many_probes_as_the_policy_says_may_be_under_way():
    rules = replace(RULES, half_open_probes=2)
    circuit, _ = half_open(rules=rules)
    circuit, second = grant(circuit, 61.0, rules)
    assert second == 2
    assert not admits(circuit, 62.0, rules).admitted


def test_any_success_closes_and_any_failure_opens_again():
    circuit, _ = half_open()
    closed = on_success(circuit, 65.0, RULES)
    assert (closed.state, closed.leases, closed.consecutive, closed.window) == (State.CLOSED, (), 0, ())
    failed = on_failure(circuit, 65.0, RULES)
    assert (failed.state, failed.open_until, failed.leases) == (State.OPEN, 185.0, ())


# --- ejection: a 429 keeps away without tripping


def test_an_ejection_ends_by_itself_and_is_never_shortened():
    circuit = breaker.eject(breaker.eject(CLOSED, 0.0, 30.0), 1.0, 5.0)
    admission = admits(circuit, 10.0, RULES)
    assert (admission.admitted, admission.ejected, admission.retry_after_s) == (False, True, 20.0)
    assert admits(circuit, 30.0, RULES).admitted
    assert (circuit.state, circuit.ejections) == (State.CLOSED, 2)
    assert on_success(circuit, 31.0, RULES).ejections == 0


# --- closed again


def test_traffic_ramps_up_after_closing_and_the_past_is_forgotten():
    circuit, _ = half_open(now=60.0)
    circuit = on_success(circuit, 100.0, RULES)
    ramps = [breaker.ramp(circuit, now, RULES) for now in (100.0, 106.0, 130.0, 160.0, 1000.0)]
    assert ramps == pytest.approx([0.1, 0.1, 0.5, 1.0, 1.0])
    assert on_success(circuit, 699.0, RULES).opens == 1
    assert on_success(circuit, 701.0, RULES).opens == 0


def test_there_is_no_ramp_without_an_opening_or_without_a_ramp_time():
    circuit, _ = half_open()
    assert breaker.ramp(CLOSED, 0.0, RULES) == 1.0
    assert breaker.ramp(circuit, 60.0, RULES) == 1.0
    assert breaker.ramp(on_success(circuit, 61.0, RULES), 61.0, replace(RULES, ramp_s=0.0)) == 1.0


def test_a_reset_forgets_everything_but_how_far_it_has_counted():
    circuit, lease = half_open()
    fresh = breaker.reset(circuit, 70.0)
    assert fresh == Circuit(changed_at=70.0, epoch=circuit.epoch + 1, next_lease=circuit.next_lease)
    assert breaker.release(fresh, lease) is fresh


# --- what workers tell each other


def test_the_newer_circuit_wins_and_counts_stay_with_their_worker():
    mine, theirs = fail(CLOSED, 2), opened()
    joined = breaker.join(mine, theirs)
    assert (joined.state, joined.open_until) == (State.OPEN, theirs.open_until)
    assert joined.window == mine.window
    assert breaker.join(theirs, mine) is theirs
    assert breaker.join(theirs, theirs) is theirs


def test_a_lease_s_number_is_not_given_out_again_after_joining():
    mine, lease = half_open()
    joined = breaker.join(mine, replace(breaker.reset(mine, 61.0), next_lease=1))
    assert joined.next_lease > lease


@given(st.lists(st.tuples(st.floats(0.0, 40.0), st.booleans(), st.booleans()), max_size=60))
def test_a_circuit_is_bounded_in_size(steps: list[tuple[float, bool, bool]]):
    rules = BreakerPolicy(consecutive_failures=10**6, min_calls=10**6)
    circuit, now = CLOSED, 0.0
    for pause, failed, slow in steps:
        now += pause
        circuit = on_failure(circuit, now, rules) if failed else on_success(circuit, now, rules, slow=slow)
        assert len(circuit.window) <= breaker.WINDOW_BUCKETS
        assert [item[0] for item in circuit.window] == sorted({item[0] for item in circuit.window})


def test_a_clock_that_steps_back_counts_in_the_newest_bucket():
    circuit = on_failure(on_failure(CLOSED, 100.0, RULES), 97.0, RULES)
    assert [item[1:] for item in circuit.window] == [(2, 2, 0)]
