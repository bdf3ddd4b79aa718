from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.errors import ConfigError
from router_core.limits import (
    Bucket,
    BucketRequest,
    KeyLimits,
    Measure,
    ratelimit_headers,
    reset_text,
    slice_of,
    take,
)


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute", "max_in_flight"])
def test_a_limit_that_blocks_everything_is_refused(name):
    with pytest.raises(ConfigError, match=name):
        KeyLimits(**{name: 0})
    assert not KeyLimits(**{name: 1}).unlimited


def test_no_limits_is_unlimited():
    assert KeyLimits().unlimited


@pytest.mark.parametrize("wish", [{"capacity": 0}, {"need": 2.0, "want": 1.0}, {"need": -1.0}])
def test_a_wish_that_contradicts_itself_is_refused(wish):
    with pytest.raises(ValueError, match="impossible"):
        BucketRequest("b", **{"capacity": 10, **wish})


def test_a_bucket_begins_full_and_refills_with_time():
    bucket, state = take(None, BucketRequest("b", 60, 60, 60), 1000.0)
    assert state.granted == 60.0
    _, state = take(bucket, BucketRequest("b", 60, 1, 1), 1000.5)
    assert (state.granted, state.retry_after_s) == (0.0, pytest.approx(0.5))
    _, state = take(bucket, BucketRequest("b", 60, 1, 10), 1003.0)
    assert state.granted == pytest.approx(3.0)


def test_a_clock_that_goes_back_refills_nothing():
    bucket = Bucket(5.0, 1000.0)
    assert bucket.now(60.0, 0.0) == Bucket(5.0, 0.0)


def test_credit_comes_back_and_debt_must_refill():
    bucket, state = take(Bucket(0.0, 1000.0), BucketRequest("b", 60, 5, 5, back=10.0), 1000.0)
    assert (state.granted, bucket.level) == (5.0, 5.0)
    bucket, state = take(bucket, BucketRequest("b", 60, 0, 0, back=-65.0), 1000.0)
    assert bucket.level == -60.0
    assert take(bucket, BucketRequest("b", 60, 1, 1), 1060.0)[1].retry_after_s == pytest.approx(1.0)
    assert take(bucket, BucketRequest("b", 60, 1, 1), 1061.0)[1].granted == 1.0


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(0, 30)), min_size=1, max_size=50),
)
def test_no_more_passes_than_a_full_bucket_and_what_refills(capacity, calls):
    now, passed, largest = 1000.0, 0.0, 0.0
    bucket = None
    for need, more, wait in calls:
        now += wait
        bucket, state = take(bucket, BucketRequest("b", capacity, need, need + more), now)
        passed += state.granted
        largest = max(largest, need)
        assert bucket.level <= capacity
        assert state.granted == 0.0 or state.granted >= need
        assert (state.retry_after_s > 0.0) <= (state.granted == 0.0)
    refilled = capacity * (1.0 + (now - 1000.0) / 60.0)
    assert passed <= refilled + max(0.0, largest - capacity) + 1e-6


def test_a_slice_is_a_tenth_and_at_least_one_call():
    assert slice_of(1000, 1.0) == 100.0
    assert slice_of(5, 1.0) == 1.0
    assert slice_of(1000, 700.0) == 700.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.0174, "17ms"),
        (1.0, "1s"),
        (7.66, "7.66s"),
        (15.5, "15.5s"),
        (360.0, "6m0s"),
        (361.4, "6m1s"),
        (3723.0, "1h2m3s"),
    ],
)
def test_durations_are_spelled_as_openai_does(seconds, text):
    assert reset_text(seconds) == text


def test_headers_name_limit_rest_and_reset():
    assert ratelimit_headers({Measure.TOKENS: (6000, 4500.7), Measure.REQUESTS: (60, -3.0)}) == {
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "4500",
        "x-ratelimit-reset-tokens": "14.993s",
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m3s",
    }
    assert ratelimit_headers({}) == {}
