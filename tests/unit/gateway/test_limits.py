from __future__ import annotations

from typing import Any

import pytest

from gateway.limits import first_content_limit, stall_limit, stream_limits, whole_answer_limit
from router_core.deployment import Provider, TimeoutOverrides
from router_core.outcome import Usage
from router_core.policy import Policy, Timeouts
from router_core.series import EMPTY_SERIES, Series
from router_core.snapshot import Snapshot
from tests.unit.router_core.builders import NOW, after, answers, deployment, request

POLICY = Policy(
    timeouts=Timeouts(
        first_content_s=10.0,
        first_content_reasoning_s=60.0,
        first_content_floor_s=2.0,
        idle_s=20.0,
        total_s=300.0,
        learned_quantile_factor=3.0,
    ),
    default_max_output_tokens=1000,
)
PROVIDER = Provider("acme", "openai")


def seen(count: int, first_s: float, duration_s: float = 5.0, at: float = NOW) -> Series:
    calls = answers(
        "acme/m1", count, at=at, every=0.0, time_to_first_content_s=first_s, duration_s=duration_s, stream=True
    )
    return after(Snapshot.empty(), *calls, policy=POLICY).of("acme/m1")


def first(series: Series = EMPTY_SERIES, provider: Provider = PROVIDER, tokens: int = 0, **changes: Any) -> float:
    asked = request(input_tokens=tokens)
    return first_content_limit(deployment(**changes), provider, series, asked, POLICY, NOW)


def whole(series: Series = EMPTY_SERIES, provider: Provider = PROVIDER, tokens: int = 100, **changes: Any) -> float:
    asked = request(input_tokens=0, max_output_tokens=tokens)
    return whole_answer_limit(deployment(**changes), provider, series, asked, POLICY, NOW)


def test_cold_a_class_default_holds():
    assert first() == 10.0
    assert first(reasoning=True) == 60.0


def test_reading_a_long_prompt_takes_its_time():
    assert first(tokens=50_000) == pytest.approx(20.0)
    assert first(seen(30, 2.0), tokens=50_000) - first(seen(30, 2.0)) == pytest.approx(10.0)


def test_the_limit_follows_what_was_seen_in_both_directions():
    assert first(seen(30, 2.0)) == pytest.approx(6.0, rel=0.1)
    assert first(seen(30, 20.0)) == pytest.approx(60.0, rel=0.1)
    assert first(seen(30, 1.0), reasoning=True) == pytest.approx(3.0, rel=0.1)


def test_a_learned_limit_stays_within_floor_and_total():
    assert first(seen(30, 0.01)) == 2.0
    assert first(seen(30, 250.0)) == 300.0


def test_a_few_observations_or_old_ones_teach_nothing():
    assert first(seen(19, 2.0)) == 10.0
    month = POLICY.learning.half_life_h * 3600.0
    assert first(seen(30, 2.0, at=NOW - month)) == 10.0
    assert first(seen(41, 2.0, at=NOW - month)) == pytest.approx(6.0, rel=0.1)


def test_the_operator_s_number_is_taken_as_it_is_the_deployment_s_before_the_provider_s():
    provider = Provider("acme", "openai", timeouts=TimeoutOverrides(first_content_s=4.0, idle_s=5.0, total_s=50.0))
    assert first(seen(30, 20.0), provider, tokens=50_000) == 4.0
    assert first(provider=provider, timeouts=TimeoutOverrides(first_content_s=0.5)) == 0.5
    assert stream_limits(deployment(), provider, POLICY) == (5.0, 50.0)
    assert stream_limits(deployment(timeouts=TimeoutOverrides(idle_s=1.0, total_s=2.0)), provider, POLICY) == (1.0, 2.0)
    assert stream_limits(deployment(), PROVIDER, POLICY) == (20.0, 300.0)


def test_a_whole_answer_may_take_longer_the_more_may_be_written():
    assert whole(tokens=100) == pytest.approx(20.0)
    assert whole(tokens=1000) == pytest.approx(110.0)
    assert whole(tokens=1_000_000) == pytest.approx(110.0)  # the default limit bounds what is reckoned with
    assert whole(tokens=100, reasoning=True) == pytest.approx(120.0)


def test_a_whole_answer_s_limit_is_raised_by_what_was_seen_and_never_above_the_total():
    assert whole(seen(30, 1.0, duration_s=40.0), tokens=1) == pytest.approx(120.0, rel=0.1)
    assert whole(seen(30, 1.0, duration_s=0.1), tokens=100) == pytest.approx(20.0)
    assert whole(seen(30, 1.0, duration_s=200.0)) == 300.0
    assert whole(timeouts=TimeoutOverrides(total_s=7.0)) == 7.0
    assert whole(provider=Provider("acme", "openai", timeouts=TimeoutOverrides(first_content_s=3.0))) == pytest.approx(
        6.0
    )


def test_answers_known_to_be_long_get_their_time():
    long = answers("acme/m1", 5, at=NOW, every=0.0, duration_s=0.1, usage=Usage(input=1, output=900))
    series = after(Snapshot.empty(), *long, policy=POLICY).of("acme/m1")
    assert whole(series, tokens=10) == pytest.approx(10.0 * (1.0 + 9.0))


@pytest.mark.parametrize(
    ("own", "reasoning", "idle_s", "limit_s"),
    [(None, False, 20.0, 10.0), (None, True, 20.0, 10.0), (None, False, 3.0, 3.0), (15.0, False, 20.0, 15.0)],
)
def test_an_answer_that_has_begun_is_not_silent_for_long(
    own: float | None, reasoning: bool, idle_s: float, limit_s: float
):
    policy = POLICY.replace(timeouts=Timeouts(first_content_s=10.0, first_content_reasoning_s=60.0, idle_s=idle_s))
    patient = deployment(reasoning=reasoning, timeouts=TimeoutOverrides(first_content_s=own))
    assert stall_limit(patient, PROVIDER, policy) == limit_s
