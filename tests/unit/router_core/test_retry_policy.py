"""The failure table, row by row: is the same deployment tried again, is the next one, does it count for the breaker?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.outcome import Failure, FailureKind
from router_core.outcome import FailureKind as K
from router_core.policy import Policy, RateLimitPolicy, RetryPolicy
from router_core.retry_policy import RULES, Again, Counts, Next, Situation, Step, Stop, next_step, rate_limit_wait_s
from tests.unit.router_core.builders import failure

POLICY = Policy()
FIRST = Situation(calls=1, tries_here=1, remaining_s=60.0, fallback_ready=True, window=8000)
SECOND = Situation(calls=2, tries_here=2, remaining_s=60.0, fallback_ready=True, window=8000)
ALONE = Situation(calls=1, tries_here=1, remaining_s=60.0, fallback_ready=False)


def judge(what: Failure, where: Situation = FIRST, policy: Policy = POLICY, jitter: float = 0.5) -> Step:
    return next_step(what, where, policy, jitter)


ROWS = [
    # what happened upstream, the failure, again?, next?, counts?
    ("refused, reset, TLS or DNS", failure(K.CONNECT), True, True, Counts.YES),
    ("500", failure(K.SERVER, status=500), True, True, Counts.YES),
    ("529", failure(K.OVERLOADED, status=529), True, True, Counts.YES),
    ("502 or 503", failure(K.SERVER, status=503, gateway=True), False, True, Counts.YES),
    ("504", failure(K.TIMEOUT, status=504, gateway=True), False, True, Counts.YES),
    ("body is not JSON", failure(K.PROTOCOL, status=200), True, True, Counts.YES),
    ("redirect", failure(K.PROTOCOL, status=302, redirect=True), False, True, Counts.YES),
    ("empty choices", failure(K.PROTOCOL, status=200, empty=True), False, True, Counts.YES),
    ("409", failure(K.CONFLICT, status=409), False, True, Counts.NO),
    ("429 with a fallback ready", failure(K.RATE_LIMITED, status=429), False, True, Counts.EJECT),
    ("408, silence", failure(K.TIMEOUT), False, True, Counts.YES),
    ("401 or 403", failure(K.AUTH, status=401), False, True, Counts.LONG),
    ("402, insufficient_quota", failure(K.BILLING, status=402), False, True, Counts.LONG),
    ("404 model", failure(K.NOT_FOUND, status=404), False, True, Counts.LONG),
    ("400 context length", failure(K.CONTEXT_OVERFLOW, status=400), False, True, Counts.NO),
    ("400 content filter", failure(K.CONTENT_FILTER, status=400), False, False, Counts.NO),
    ("400, 413, 422", failure(K.INVALID_REQUEST, status=422), False, False, Counts.NO),
    ("stream cut or stalled", failure(K.STREAM_BROKEN), False, True, Counts.YES),
    ("stream without finish_reason", failure(K.STREAM_TRUNCATED), False, True, Counts.YES),
    ("the client left", failure(K.CANCELLED), False, False, Counts.NO),
]


@pytest.mark.parametrize(("what", "again", "then", "counts"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_row_of_the_failure_table(what: Failure, again: bool, then: bool, counts: Counts):
    first = judge(what)
    assert isinstance(first, Again) is again
    # Nothing is tried a third time at the same place; after the second call the row says where to go.
    second = judge(what, SECOND)
    assert isinstance(second, Next) is then
    assert isinstance(second, Stop) is not then
    if not again:
        assert first == second
    assert RULES[what.kind].counts is counts


def test_the_table_is_total():
    assert set(RULES) == set(FailureKind)
    assert {row[1].kind for row in ROWS} == set(FailureKind)


def test_a_context_overflow_goes_on_only_to_a_larger_window():
    assert judge(failure(K.CONTEXT_OVERFLOW)) == Next(above_window=8000)
    assert judge(failure(K.SERVER), SECOND) == Next(above_window=None)


def test_content_filters_are_passed_by_only_where_the_operator_says_so():
    allowed = Policy(retry=RetryPolicy(content_filter_fallback=True))
    assert judge(failure(K.CONTENT_FILTER)) == Stop("content_filter is the request's own")
    assert judge(failure(K.CONTENT_FILTER), policy=allowed) == Next()


def test_what_we_added_is_left_out_once_without_waiting():
    refused = failure(K.INVALID_REQUEST, status=400, ours="stream_options")
    assert judge(refused) == Again(0.0, without="stream_options")
    assert judge(refused, SECOND) == Stop("invalid_request is the request's own")


def test_what_a_wire_cannot_say_may_be_said_by_another():
    unsent = failure(K.INVALID_REQUEST, sent=False)
    assert judge(unsent) == Next()
    assert judge(unsent, ALONE) == Stop("invalid_request is the request's own")


def situation(**changes: Any) -> Situation:
    values = {"calls": 1, "tries_here": 1, "remaining_s": 60.0, "fallback_ready": True, **changes}
    return Situation(**values)


@pytest.mark.parametrize(
    ("where", "step"),
    [
        (situation(remaining_s=0.0), Stop("deadline")),
        (situation(calls=POLICY.retry.max_attempts), Stop("attempts used up")),
        (situation(budget_ok=False), Next()),
        (situation(budget_ok=False, fallback_ready=False), Stop("retry budget used up")),
        (situation(tries_here=2, fallback_ready=False), Stop("no fallback left")),
        (situation(), Again(0.05)),
    ],
)
def test_a_server_error_is_bounded_by_deadline_attempts_and_budget(where: Situation, step: Step):
    assert judge(failure(K.SERVER), where) == step


# --- 429: wait for the same one, or go on?


@pytest.mark.parametrize(
    ("wait_max_s", "after_s", "where", "step"),
    [
        (None, 1.0, FIRST, Next()),
        (None, 1.0, ALONE, Again(1.0)),
        (None, 59.0, ALONE, Again(59.0)),
        (None, 60.0, ALONE, Stop("rate limited")),
        (None, None, ALONE, Again(1.1)),
        (5.0, 2.0, FIRST, Again(2.0)),
        (5.0, 5.1, FIRST, Next()),
        (5.0, 5.1, ALONE, Stop("rate limited")),
        (5.0, 2.0, situation(waited_s=3.5), Next()),
        (5.0, 2.0, situation(waited_s=3.0), Again(2.0)),
        (5.0, 2.0, situation(remaining_s=1.0), Next()),
        (0.0, 1.0, ALONE, Stop("rate limited")),
        (None, 0.0, FIRST, Next()),
    ],
)
def test_a_rate_limit_is_waited_for_within_bounds(
    wait_max_s: float | None, after_s: float | None, where: Situation, step: Step
):
    policy = Policy(rate_limit=RateLimitPolicy(wait_max_s=wait_max_s))
    assert judge(failure(K.RATE_LIMITED, retry_after_s=after_s), where, policy) == step


@pytest.mark.parametrize(("tries", "seconds"), [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (7, 60.0), (50, 60.0)])
def test_without_a_retry_after_the_back_off_doubles_up_to_a_cap(tries: int, seconds: float):
    assert rate_limit_wait_s(failure(K.RATE_LIMITED), tries, POLICY, 0.0) == seconds
    assert rate_limit_wait_s(failure(K.RATE_LIMITED), tries, POLICY, 1.0) == pytest.approx(1.2 * seconds)


@pytest.mark.parametrize(
    ("after_s", "where", "step"),
    [
        (7.0, FIRST, Next()),
        (7.0, ALONE, Again(7.0)),
        (60.0, ALONE, Stop("no fallback left")),
        (0.0, ALONE, Again(0.05)),
    ],
)
def test_a_provider_that_says_when_to_come_back_is_not_asked_before(after_s: float, where: Situation, step: Step):
    for kind in (K.SERVER, K.OVERLOADED):
        assert judge(failure(kind, retry_after_s=after_s), where) == step


def test_a_retry_after_of_zero_says_no_more_than_none():
    assert rate_limit_wait_s(failure(K.RATE_LIMITED, retry_after_s=0.0), 2, POLICY, 0.0) == 2.0


def test_a_retry_after_in_the_past_means_now():
    assert rate_limit_wait_s(failure(K.RATE_LIMITED, retry_after_s=-3.0), 1, POLICY, 0.0) == 0.0


situations = st.builds(
    Situation,
    st.integers(1, 8),
    st.integers(1, 4),
    st.floats(-1.0, 600.0),
    st.booleans(),
    st.booleans(),
    st.floats(0.0, 60.0),
    st.integers(1, 10**6),
)
failures = st.builds(
    Failure,
    st.sampled_from(FailureKind),
    retry_after_s=st.none() | st.floats(0.0, 4000.0),
    redirect=st.booleans(),
    empty=st.booleans(),
    gateway=st.booleans(),
    ours=st.none() | st.just("stream_options"),
)


@given(failures, situations, st.floats(0.0, 0.999))
def test_no_call_is_made_after_the_deadline_the_attempts_or_the_plan_ran_out(
    what: Failure, where: Situation, jitter: float
):
    step = judge(what, where, jitter=jitter)
    if where.remaining_s <= 0.0 or where.calls >= POLICY.retry.max_attempts:
        assert isinstance(step, Stop)
    if isinstance(step, Next):
        assert where.fallback_ready
    if isinstance(step, Again):
        assert step.wait_s >= 0.0
        assert where.tries_here <= 1 or what.kind is K.RATE_LIMITED


@pytest.mark.parametrize("most", [2, 3, 4])
def test_the_last_call_is_another_deployments_where_one_stands_ready(most: int):
    policy = Policy(retry=RetryPolicy(max_attempts=most), rate_limit=RateLimitPolicy(wait_max_s=30.0))
    last = {"calls": most - 1, "tries_here": most - 1, "remaining_s": 60.0}
    slow = failure(K.RATE_LIMITED, status=429, retry_after_s=1.0)
    assert judge(slow, Situation(**last, fallback_ready=True), policy) == Next()
    assert judge(slow, Situation(**last, fallback_ready=False), policy) == Again(1.0)
    server = failure(K.SERVER, status=500)
    first = {"calls": 1, "tries_here": 1, "remaining_s": 60.0}
    assert (judge(server, Situation(**first, fallback_ready=True), policy) == Next()) is (most == 2)
    assert isinstance(judge(server, Situation(**first, fallback_ready=False), policy), Again)


def test_only_the_first_choice_is_tried_twice_while_others_wait():
    server = failure(K.SERVER, status=500)
    assert isinstance(judge(server, FIRST), Again)
    assert judge(server, Situation(calls=2, tries_here=1, remaining_s=60.0, fallback_ready=True)) == Next()
    assert isinstance(judge(server, Situation(calls=2, tries_here=1, remaining_s=60.0, fallback_ready=False)), Again)
