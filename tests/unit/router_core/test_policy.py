from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from router_core import policy as policies
from router_core.errors import ConfigError
from router_core.policy import Policy, Weights

INFINITE, NAN = float("inf"), float("nan")

IMPOSSIBLE = [
    ("ScoringPolicy", {"cost_scale_usd": 0.0}, "cost_scale_usd"),
    ("ScoringPolicy", {"latency_scale_s": INFINITE}, "latency_scale_s"),
    ("ScoringPolicy", {"neutral": 1.5}, "neutral"),
    ("ScoringPolicy", {"live_low": 1.5}, "both sides of 1"),
    ("ScoringPolicy", {"live_high": 0.9}, "both sides of 1"),
    ("LearningPolicy", {"half_life_h": 0.0}, "half_life_h"),
    ("LearningPolicy", {"half_life_h": 24.0}, "at least 168"),
    ("LearningPolicy", {"residual_share": NAN}, "residual_share"),
    ("ExplorationPolicy", {"share": -0.1}, "share"),
    ("ExplorationPolicy", {"share": 0.8, "probe_share": 0.3}, "together"),
    ("Timeouts", {"idle_s": 0.0}, "idle_s"),
    ("Timeouts", {"connect_s": NAN}, "connect_s"),
    ("RetryPolicy", {"max_attempts": 0}, "max_attempts"),
    ("RetryPolicy", {"max_attempts": 7}, "max_attempts"),
    ("RetryPolicy", {"max_upstream_calls": 33}, "max_upstream_calls"),
    ("RetryPolicy", {"budget_floor": -1}, "budget_floor"),
    ("RetryPolicy", {"fallbacks": -1}, "fallbacks"),
    ("RetryPolicy", {"budget_ratio": 1.1}, "budget_ratio"),
    ("RateLimitPolicy", {"wait_max_s": -1.0}, "wait_max_s"),
    ("RateLimitPolicy", {"backoff_base_s": 0.0}, "backoff_base_s"),
    ("BreakerPolicy", {"consecutive_failures": 0}, "consecutive_failures"),
    ("BreakerPolicy", {"failure_rate": 1.2}, "failure_rate"),
    ("HedgingPolicy", {"quantile": 2.0}, "quantile"),
    ("ParallelPolicy", {"width": 1}, "width"),
    ("ParallelPolicy", {"width": 9}, "width"),
    ("ParallelPolicy", {"quorum": 0}, "quorum"),
    ("ShadowPolicy", {"share": 1.01}, "share"),
    ("AdmissionPolicy", {"max_in_flight": 0}, "max_in_flight"),
    ("InputLimits", {"depth": 0}, "depth"),
    ("BudgetPolicy", {"on_store_loss": "shrug"}, "deny or allow"),
    ("BudgetPolicy", {"lease_s": 0.0}, "lease_s"),
    ("BudgetRule", {"window": "day", "usd": 1.0, "tag": "a", "key": "k"}, "not both"),
    ("BudgetRule", {"window": "week", "usd": 1.0}, "hour, day, month or total"),
    ("BudgetRule", {"window": "day", "usd": 0.0}, "usd"),
    ("BudgetRule", {"window": "day", "usd": NAN}, "usd"),
    ("CapturePolicy", {"days": 0}, "days"),
    ("Weights", {"quality": -1.0}, "weight quality"),
    ("Weights", {"cost": INFINITE}, "weight cost"),
    ("Policy", {"default_policy": "lavish"}, "balanced, cost, quality, speed"),
    ("Policy", {"long_context_tokens": 0}, "long_context_tokens"),
    ("Policy", {"stream_keepalive_s": 0.0}, "stream_keepalive_s"),
]


@pytest.mark.parametrize(("section", "values", "says"), IMPOSSIBLE)
def test_an_impossible_value_is_refused_by_name(section: str, values: dict[str, object], says: str):
    with pytest.raises(ConfigError, match=says):
        getattr(policies, section)(**values)


@pytest.mark.parametrize("section", [spec.name for spec in fields(Policy)])
def test_no_section_can_be_changed_in_place(section: str):
    with pytest.raises(FrozenInstanceError):
        setattr(Policy(), section, None)


def test_a_value_may_be_left_open_where_none_means_something():
    assert policies.RateLimitPolicy(wait_max_s=None).wait_max_s is None
    assert policies.RateLimitPolicy(wait_max_s=0.0).wait_max_s == 0.0
    assert Policy(stream_keepalive_s=2.0).stream_keepalive_s == 2.0


def test_a_budget_is_for_a_tag_a_key_or_all():
    rules = (
        policies.BudgetRule("day", 5.0, tag="team-a"),
        policies.BudgetRule("month", 50.0, key="k-1"),
        policies.BudgetRule("total", 9e6),
    )
    assert policies.BudgetPolicy(rules=rules).rules == rules


def test_balanced_weighs_all_seven_factors_alike():
    assert Policy().weights("balanced") == Weights(1, 1, 1, 1, 1, 1, 1)
    assert Policy().weights("cost").cost > Policy().weights("balanced").cost


def test_an_unknown_set_of_weights_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="'lavish'; known: balanced, cost, quality, speed"):
        Policy().weights("lavish")


def test_a_copy_changes_only_the_named_sections():
    mine = Policy().replace(default_policy="cost", version="2")
    assert (mine.default_policy, mine.version) == ("cost", "2")
    assert mine.breaker == Policy().breaker
