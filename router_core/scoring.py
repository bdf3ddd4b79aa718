"""The seven factors, 0-100 points, and the live adjustment. One candidate in, its terms and its score out.

Terms are unweighted and stay within ``decision.TERM_MAXIMA``; score = sum of weight x term, times the adjustment.
"""

from __future__ import annotations

from router_core.decision import Facts, ScoredCandidate, Terms
from router_core.policy import ScoringPolicy, Weights
from router_core.request import RoutingRequest

_MAX_QUALITY, _MAX_COST, _MAX_PERFORMANCE, _MAX_LEARNING = 50.0, 20.0, 15.0, 10.0
_MAX_PREFERENCE, _MAX_DIVERSITY, _MAX_VENDOR = 5.0, 3.0, 2.0


def score(facts: Facts, request: RoutingRequest, weights: Weights, policy: ScoringPolicy) -> ScoredCandidate:
    """Return a candidate's seven terms, its live adjustment and its score (unclamped)."""
    hints = request.hints
    known = facts.known
    diverse = hints.diversity and facts.provider not in request.recent_providers
    preferred = hints.prefer is not None and hints.prefer in (facts.provider, known.vendor)
    quality = _MAX_QUALITY * facts.quality
    cost = _MAX_COST / (1.0 + facts.expected_cost_usd / policy.cost_scale_usd)
    performance = _MAX_PERFORMANCE * known.performance
    learning = _MAX_LEARNING * known.learned
    preference = _MAX_PREFERENCE * known.preference
    diversity = _MAX_DIVERSITY if diverse else 0.0
    vendor = _MAX_VENDOR if preferred else 0.0
    total = (
        weights.quality * quality
        + weights.cost * cost
        + weights.performance * performance
        + weights.learning * learning
        + weights.task_preference * preference
        + weights.vendor_diversity * diversity
        + weights.vendor_preference * vendor
    )
    adjustment = known.adjustment
    terms = Terms(quality, cost, performance, learning, preference, diversity, vendor)
    return ScoredCandidate(facts.deployment, terms, adjustment, total * adjustment, facts)
