"""The seven factors, 0-100 points, and the live adjustment. Candidates in, their terms and scores out.

Terms are unweighted and stay within ``decision.TERM_MAXIMA``; score = sum of weight x term, times the adjustment.
"""

from __future__ import annotations

from collections.abc import Iterable

from router_core.decision import Facts, ScoredCandidate, Terms, make
from router_core.policy import ScoringPolicy, Weights
from router_core.request import RoutingRequest

_MAX_QUALITY, _MAX_COST, _MAX_PERFORMANCE, _MAX_LEARNING = 50.0, 20.0, 15.0, 10.0
_MAX_PREFERENCE, _MAX_DIVERSITY, _MAX_VENDOR = 5.0, 3.0, 2.0


def score(
    candidates: Iterable[Facts], request: RoutingRequest, weights: Weights, policy: ScoringPolicy
) -> list[ScoredCandidate]:
    """Return each candidate with its seven terms, its live adjustment and its score (unclamped)."""
    prefer, diverse, recent = request.hints.prefer, request.hints.diversity, request.recent_providers
    wished, cost_scale_usd = diverse or prefer is not None, policy.cost_scale_usd
    by_quality, by_cost, by_performance = weights.quality, weights.cost, weights.performance
    by_learning, by_preference = weights.learning, weights.task_preference
    scored: list[ScoredCandidate] = []
    for facts in candidates:
        name, provider, known, expected, _, _, _, usd, _, _, _, _ = facts
        quality = _MAX_QUALITY * expected
        cost = _MAX_COST / (1.0 + usd / cost_scale_usd)
        performance = _MAX_PERFORMANCE * known.performance
        learning = _MAX_LEARNING * known.learned
        preference = _MAX_PREFERENCE * known.preference
        diversity = vendor = 0.0
        total = (
            by_quality * quality
            + by_cost * cost
            + by_performance * performance
            + by_learning * learning
            + by_preference * preference
        )
        if wished:
            diversity = _MAX_DIVERSITY if diverse and provider not in recent else 0.0
            vendor = _MAX_VENDOR if prefer is not None and prefer in (provider, known.vendor) else 0.0
            total = total + weights.vendor_diversity * diversity + weights.vendor_preference * vendor
        terms = make(Terms, (quality, cost, performance, learning, preference, diversity, vendor))
        adjustment = known.adjustment
        scored.append(make(ScoredCandidate, (name, terms, adjustment, total * adjustment, facts)))
    return scored
