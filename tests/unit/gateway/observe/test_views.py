from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe import views


def test_wilson_agrees_with_published_values():
    # Newcombe (1998), table I, method 3: 81 of 263 and 15 of 148
    assert views.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert views.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert views.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_no_observations_have_no_interval():
    assert views.wilson(0, 0) is None
    assert views.quality({}) == {"mean": None, "n": 0.0, "low": None, "high": None}
    assert views.win_rate({})["rate"] is None


@given(st.floats(0.01, 1e6), st.floats(0.0, 1.0))
def test_an_interval_holds_the_share_and_stays_within_zero_and_one(n: float, share: float):
    found = views.wilson(n * share, n)
    assert found is not None
    low, high = found
    assert 0.0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1.0


def test_nothing_observed_is_none_and_not_zero():
    found = views.calls({})
    assert found["success_rate"] is None
    assert found["latency_ms"] == {"n": 0, "avg": None, "p50": None, "p95": None, "p99": None}
    assert found["cost_usd"] == {"total": 0.0, "per_request": None, "per_success": None}
    assert views.requests({})["success_rate"] is None
    assert views.savings({})["saved_share"] is None
    assert views.bill({})["cost_usd"]["per_request"] is None


def test_failures_are_listed_most_frequent_first_without_cancellations():
    assert list(views.failures({"f:timeout": 1, "f:server": 3, "f:cancelled": 9, "n": 5, "f:auth": 0})) == [
        "server",
        "timeout",
    ]
