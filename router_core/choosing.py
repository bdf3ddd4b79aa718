"""Who is called first: the best of a ranking, an explored rival with a stated probability, or one drawn by weight."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Final, NamedTuple

from router_core.decision import ScoredCandidate
from router_core.deployment import Deployment
from router_core.policy import ExplorationPolicy

_SCORE: Final = attrgetter("score")


class Choice(NamedTuple):
    """Who is called first and with which probability it was drawn."""

    chosen: ScoredCandidate
    propensity: float
    explored: bool = False


def rank(candidates: Sequence[ScoredCandidate]) -> tuple[ScoredCandidate, ...]:
    """Order by score, best first; ties go to the lower expected cost, then the id."""
    scores = list(map(_SCORE, candidates))
    if len(set(scores)) == len(scores):
        return tuple(sorted(candidates, key=_SCORE, reverse=True))
    return tuple(sorted(candidates, key=_rank_key))


def _rank_key(candidate: ScoredCandidate) -> tuple[float, float, str]:
    return (-candidate.score, candidate.facts.expected_cost_usd, candidate.deployment)


def confidence(chosen: ScoredCandidate, ranking: Sequence[ScoredCandidate]) -> float:
    """Return the lead over the best rival as a number in [0, 1): 5 points give 0.5, no lead gives 0; no rival gives 1.

    One that was explored, listed first or drawn by weight may trail its rivals.
    """
    rivals = [item.score for item in ranking if item is not chosen]
    if not rivals:
        return 1.0
    lead = max(0.0, chosen.score - max(rivals))
    return lead / (lead + 5.0)


def choose_scored(
    ranking: Sequence[ScoredCandidate], policy: ExplorationPolicy, draws: tuple[float, float], *, explore: bool
) -> Choice:
    """Choose from a ranking. The best one, unless it is coming back (ramp) or exploration draws another.

    ``policy.share`` of the choices goes evenly to plausible rivals, ``policy.probe_share`` to the others: deployments
    that evidence has demoted must be seen now and then, or they could never come back. One that costs more than
    ``policy.max_cost_ratio`` times the best is probed as much more seldom, so that it never adds more to the bill.
    """
    top = ranking[0]
    if top.facts.ramp < 1.0 and len(ranking) > 1:
        if draws[1] < top.facts.ramp:
            return Choice(top, top.facts.ramp)
        return Choice(ranking[1], 1.0 - top.facts.ramp)
    if not explore or len(ranking) < 2 or policy.share + policy.probe_share <= 0.0:
        return Choice(top, 1.0)
    dearest = policy.max_cost_ratio * max(top.facts.expected_cost_usd, 1e-6)
    plausible, others = _rivals(ranking, policy.max_score_gap, dearest)
    share = policy.share if plausible else 0.0
    probe = policy.probe_share if others else 0.0
    if share + probe <= 0.0:
        return Choice(top, 1.0)
    if draws[0] < share:
        return Choice(plausible[int(draws[1] * len(plausible))], share / len(plausible), explored=True)
    if draws[0] < share + probe:
        place = draws[1] * len(others)
        probed = others[int(place)]
        kept = _kept(probed, dearest)
        if place % 1.0 < kept:
            return Choice(probed, probe / len(others) * kept, explored=True)
    if probe > 0.0:
        probe *= sum(_kept(rival, dearest) for rival in others) / len(others)
    return Choice(top, 1.0 - share - probe)


def _kept(rival: ScoredCandidate, dearest: float) -> float:
    """Return the share of its probes that a rival gets: all up to ``dearest`` USD, beyond that what keeps its cost."""
    cost = rival.facts.expected_cost_usd
    return 1.0 if cost <= dearest else dearest / cost


def _rivals(
    ranking: Sequence[ScoredCandidate], gap: float, dearest: float
) -> tuple[list[ScoredCandidate], list[ScoredCandidate]]:
    """Part the rivals: those within ``gap`` points and ``dearest`` USD, and all others."""
    top_score = ranking[0].score
    near: list[ScoredCandidate] = []
    far: list[ScoredCandidate] = []
    for rival in ranking[1:]:
        if rival.facts.expected_cost_usd <= dearest and top_score - rival.score <= gap:
            near.append(rival)
        else:
            far.append(rival)
    return near, far


def choose_weighted(ranking: Sequence[ScoredCandidate], deployments: Mapping[str, Deployment], draw: float) -> Choice:
    """Draw in proportion to weight x ramp; when all weights are zero, evenly."""
    shares = [deployments[item.deployment].weight * item.facts.ramp for item in ranking]
    if not any(shares):
        shares = [1.0] * len(ranking)
    bounds = list(accumulate(shares))
    total = bounds[-1]
    # The first bound above the mark: one without a share is never it.
    index = min(bisect_right(bounds, draw * total), len(ranking) - 1)
    return Choice(ranking[index], shares[index] / total)
