"""Who is called first: the best of a ranking, an explored rival with a stated probability, or one drawn by weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from router_core.decision import ScoredCandidate
from router_core.deployment import Deployment
from router_core.policy import ExplorationPolicy


class Choice(NamedTuple):
    """Who is called first and with which probability it was drawn."""

    chosen: ScoredCandidate
    propensity: float
    explored: bool = False


def rank(candidates: Sequence[ScoredCandidate]) -> tuple[ScoredCandidate, ...]:
    """Order by score, best first; ties go to the lower expected cost, then the id."""
    return tuple(sorted(candidates, key=_rank_key))


def _rank_key(candidate: ScoredCandidate) -> tuple[float, float, str]:
    return (-candidate.score, candidate.facts.expected_cost_usd, candidate.deployment)


def confidence(ranking: Sequence[ScoredCandidate]) -> float:
    """Return the margin to the runner-up as a number in [0, 1]: a lead of 5 points gives 0.5; no rival gives 1."""
    if len(ranking) < 2:
        return 1.0
    margin = ranking[0].score - ranking[1].score
    return margin / (margin + 5.0)


def choose_scored(
    ranking: Sequence[ScoredCandidate], policy: ExplorationPolicy, draws: tuple[float, float], *, explore: bool
) -> Choice:
    """Choose from a ranking. The best one, unless it is coming back (ramp) or exploration draws another.

    ``policy.share`` of the choices goes evenly to plausible rivals, ``policy.probe_share`` to the others: deployments
    that evidence has demoted must be seen now and then, or they could never come back.
    """
    top = ranking[0]
    if top.facts.ramp < 1.0 and len(ranking) > 1:
        if draws[1] < top.facts.ramp:
            return Choice(top, top.facts.ramp)
        return Choice(ranking[1], 1.0 - top.facts.ramp)
    if not explore or len(ranking) < 2:
        return Choice(top, 1.0)
    plausible, others = _rivals(ranking, policy)
    share = policy.share if plausible else 0.0
    probe = policy.probe_share if others else 0.0
    if share + probe <= 0.0:
        return Choice(top, 1.0)
    if draws[0] < share:
        return Choice(plausible[int(draws[1] * len(plausible))], share / len(plausible), explored=True)
    if draws[0] < share + probe:
        return Choice(others[int(draws[1] * len(others))], probe / len(others), explored=True)
    return Choice(top, 1.0 - share - probe)


def _rivals(
    ranking: Sequence[ScoredCandidate], policy: ExplorationPolicy
) -> tuple[list[ScoredCandidate], list[ScoredCandidate]]:
    top = ranking[0]
    dearest = policy.max_cost_ratio * max(top.facts.expected_cost_usd, 1e-6)
    affordable = [rival for rival in ranking[1:] if rival.facts.expected_cost_usd <= dearest]
    near = [rival for rival in affordable if top.score - rival.score <= policy.max_score_gap]
    far = [rival for rival in affordable if top.score - rival.score > policy.max_score_gap]
    return near, far


def choose_weighted(ranking: Sequence[ScoredCandidate], deployments: Mapping[str, Deployment], draw: float) -> Choice:
    """Draw in proportion to weight x ramp; when all weights are zero, evenly."""
    shares = [deployments[item.deployment].weight * item.facts.ramp for item in ranking]
    total = sum(shares)
    if total <= 0.0:
        shares = [1.0] * len(ranking)
        total = float(len(ranking))
    mark = draw * total
    for candidate, share in zip(ranking, shares, strict=True):
        mark -= share
        if mark < 0.0:
            return Choice(candidate, share / total)
    return Choice(ranking[-1], shares[-1] / total)
