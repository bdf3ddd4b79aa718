from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router_core.retry_budget import RetryBudget

WINDOW, RATIO, FLOOR = 10.0, 0.2, 2


def spend(budget: RetryBudget, now: float, wanted: int) -> tuple[RetryBudget, int]:
    """Ask for retries until refused; how many were granted."""
    for granted in range(wanted):
        left = budget.withdraw(now, WINDOW, RATIO, FLOOR)
        if left is None:
            return budget, granted
        budget = left
    return budget, wanted


def after(requests: int, now: float) -> RetryBudget:
    budget = RetryBudget()
    for _ in range(requests):
        budget = budget.deposit(now, WINDOW)
    return budget


def test_a_quiet_gateway_may_retry_the_floor():
    assert spend(RetryBudget(), 0.0, 10)[1] == FLOOR


def test_busy_traffic_may_retry_its_share_on_top():
    assert spend(after(50, 0.0), 0.0, 100)[1] == FLOOR + 10


def test_asking_spends_nothing():
    budget = after(5, 0.0)
    assert budget.allows(0.0, WINDOW, RATIO, FLOOR)
    assert budget == after(5, 0.0)


def test_what_left_the_window_neither_earns_nor_counts():
    used, _ = spend(after(50, 0.0), 0.0, 12)
    assert not used.allows(5.0, WINDOW, RATIO, FLOOR)
    assert spend(used, 10.0, 100)[1] == FLOOR


def test_a_clock_that_steps_back_counts_in_the_newest_bucket():
    budget = after(10, 5.0).deposit(3.0, WINDOW)
    assert budget.window == ((5, 11, 0),)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 3.0)), max_size=80))
def test_retries_never_exceed_floor_and_share_of_what_the_window_saw(steps: list[tuple[bool, float]]):
    budget, now = RetryBudget(), 0.0
    for is_request, pause in steps:
        now += pause
        if is_request:
            budget = budget.deposit(now, WINDOW)
            continue
        left = budget.withdraw(now, WINDOW, RATIO, FLOOR)
        if left is not None:
            budget = left
            requests = sum(item[1] for item in budget.window)
            retries = sum(item[2] for item in budget.window)
            assert retries < FLOOR + RATIO * requests + 1
        assert len(budget.window) <= 10
