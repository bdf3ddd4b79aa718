from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.hedge_budget import HedgeBudget
from router_core.policy import HedgingPolicy

POLICY = HedgingPolicy(enabled=True, max_share=0.05, max_cost_share=0.05)


def test_a_gateway_that_has_seen_little_may_hedge_once():
    budget = HedgeBudget()
    assert budget.allows(POLICY)
    budget.hedge(1.0)
    assert not budget.allows(POLICY)


def test_no_share_means_no_hedge():
    assert not HedgeBudget().allows(HedgingPolicy(max_share=0.0))


@given(st.lists(st.floats(0.0, 0.2), min_size=1, max_size=300))
def test_hedges_stay_a_share_of_requests(costs):
    budget, hedges = HedgeBudget(), 0
    for number, cost in enumerate(costs, 1):
        budget.request(cost)
        if budget.allows(POLICY):
            budget.hedge(0.0)
            hedges += 1
        assert hedges <= 1.5 + 0.06 * number  # the floor of twenty requests, and what fades


def test_hedges_stay_a_share_of_spend():
    budget = HedgeBudget()
    for _ in range(1000):
        budget.request(0.001)
    spent_usd = 0.0
    while budget.allows(POLICY) and spent_usd < 1.0:
        budget.hedge(0.01)
        spent_usd += 0.01
    assert 0.0 < spent_usd <= 0.05 * 1.0 + 0.011


def test_the_budget_fills_again_with_traffic():
    budget = HedgeBudget()
    budget.hedge(0.001)
    assert not budget.allows(POLICY)
    for _ in range(100):
        budget.request(0.01)
    assert budget.allows(POLICY)
