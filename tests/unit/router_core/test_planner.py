"""From a choice to a plan: fallbacks, parallel legs, the judge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.decision import ScoredCandidate
from router_core.planner import choose_judge, choose_legs, mode_of, order_fallbacks
from router_core.policy import ParallelPolicy, Policy
from router_core.request import Hints, Mode
from tests.unit.router_core.builders import candidate

A1, A2, A3 = (candidate(f"acme/m{number}", 100.0 - number) for number in (1, 2, 3))
B1, C1 = candidate("beta/m1", 50.0), candidate("gamma/m1", 40.0)
RANKING = [A1, A2, A3, B1, C1]


def names(items: list[ScoredCandidate]) -> list[str]:
    return [item.deployment for item in items]


@pytest.mark.parametrize(
    ("first", "count", "diverse", "expected"),
    [
        ((), 3, True, ["beta/m1", "gamma/m1", "acme/m2"]),
        ((), 3, False, ["acme/m2", "acme/m3", "beta/m1"]),
        ((), 0, True, []),
        ((), 9, True, ["beta/m1", "gamma/m1", "acme/m2", "acme/m3"]),
        (("acme/m3",), 3, True, ["acme/m3", "beta/m1", "gamma/m1"]),
        (("acme/m3", "gamma/m1"), 1, True, ["acme/m3"]),
        (("acme/m1", "nobody/m9", "beta/m1", "beta/m1"), 2, True, ["beta/m1", "gamma/m1"]),
    ],
    ids=["other providers first", "by score", "none wanted", "all", "the operator's first", "bounded", "not eligible"],
)
def test_fallbacks(first: tuple[str, ...], count: int, diverse: bool, expected: list[str]):
    assert names(order_fallbacks(A1, RANKING, first, count, diverse=diverse)) == expected


@given(
    st.permutations(RANKING),
    st.lists(st.sampled_from([*names(RANKING), "nobody/m9"]), max_size=4),
    st.integers(0, 6),
    st.booleans(),
)
def test_a_plan_repeats_nobody(ranking: list[ScoredCandidate], first: list[str], count: int, diverse: bool):
    plan = names(order_fallbacks(ranking[0], ranking, first, count, diverse=diverse))
    assert len(plan) == len(set(plan)) == min(count, len(ranking) - 1)
    assert ranking[0].deployment not in plan


# --- one or several?

TRIGGERS = {
    "trigger_tasks": ("security_audit",),
    "trigger_critical": True,
    "trigger_min_quality": 0.9,
    "trigger_mode": Mode.VOTING,
}


@pytest.mark.parametrize(
    ("hints", "task", "rules", "mode"),
    [
        ({}, "analysis", {}, Mode.SINGLE),
        ({"critical": True, "min_quality": 0.99}, "security_audit", {}, Mode.SINGLE),
        ({"mode": Mode.JUDGE}, "analysis", {}, Mode.JUDGE),
        ({"mode": Mode.SINGLE, "critical": True}, "security_audit", TRIGGERS, Mode.SINGLE),
        ({"critical": True}, "analysis", TRIGGERS, Mode.VOTING),
        ({}, "security_audit", TRIGGERS, Mode.VOTING),
        ({"min_quality": 0.9}, "analysis", TRIGGERS, Mode.VOTING),
        ({"min_quality": 0.89}, "analysis", TRIGGERS, Mode.SINGLE),
        ({}, "analysis", TRIGGERS, Mode.SINGLE),
    ],
)
def test_only_a_hint_or_the_operator_s_trigger_fans_out(
    hints: dict[str, Any], task: str, rules: dict[str, Any], mode: Mode
):
    assert mode_of(Hints(**hints), task, Policy(parallel=ParallelPolicy(**rules))) is mode


# --- legs and the judge


def test_legs_are_diverse_and_the_chosen_one_leads():
    assert names(choose_legs(A1, RANKING, 3, None)) == ["acme/m1", "beta/m1", "gamma/m1"]
    assert names(choose_legs(A1, RANKING, 4, None)) == ["acme/m1", "beta/m1", "gamma/m1", "acme/m2"]
    assert names(choose_legs(A1, [A1], 3, None)) == ["acme/m1"]


def test_legs_together_stay_within_the_budget():
    dear = candidate("beta/m1", 50.0, worst_cost_usd=0.5)
    assert names(choose_legs(A1, [A1, dear, C1], 3, 0.1)) == ["acme/m1", "gamma/m1"]
    assert names(choose_legs(A1, RANKING, 3, 0.015)) == ["acme/m1"]


@given(st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5), st.floats(0.0, 3.0), st.integers(2, 5))
def test_no_fan_out_costs_more_than_its_budget(costs: list[float], budget: float, width: int):
    ranking = [
        candidate(item.deployment, item.score, worst_cost_usd=cost) for item, cost in zip(RANKING, costs, strict=True)
    ]
    legs = choose_legs(ranking[0], ranking, width, budget)
    assert len(legs) <= width
    assert len(legs) == 1 or sum(leg.facts.worst_cost_usd for leg in legs) <= budget * (1 + 1e-12)


def test_the_judge_does_not_answer_itself():
    assert choose_judge([A1, B1], RANKING, ["beta/m1", "gamma/m1"]) == "gamma/m1"
    assert choose_judge(RANKING, RANKING, ["acme/m1"]) is None


def test_without_a_preferred_judge_the_best_one_left_judges():
    good = candidate("acme/m2", 10.0, quality=0.9, expected_cost_usd=0.2)
    cheaper = candidate("beta/m1", 10.0, quality=0.9, expected_cost_usd=0.1)
    assert choose_judge([A1], [A1, good, cheaper, C1], ["nobody/m9"]) == "beta/m1"
