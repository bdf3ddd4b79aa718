"""From facts to a decision: refuse by facts, score, rank, choose and plan.

Needs no snapshot, so ``record.recompute`` repeats it from a decision's record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from router_core import choosing, planner
from router_core.choosing import Choice
from router_core.decision import Attempt, Decision, Facts, Rejection, Rule, ScoredCandidate
from router_core.deployment import Deployment
from router_core.eligibility import attempt_for, nobody_refused, refuse_by_facts
from router_core.manifest import Order
from router_core.policy import Policy, Weights
from router_core.rationale import sentence
from router_core.registry import Resolved
from router_core.request import Mode, RoutingRequest
from router_core.scoring import score

_JUDGE_NEEDED: Final = frozenset({Mode.JUDGE, Mode.SYNTHESIZE})


class Question(NamedTuple):
    """What is to be decided, without what is known.

    ``pool`` are all who may be called, ``policy_name`` names the weights in force.
    """

    request: RoutingRequest
    resolved: Resolved
    pool: Mapping[str, Deployment]
    policy: Policy
    policy_name: str
    judges: tuple[str, ...]
    registry_version: str
    snapshot_version: int
    now: float
    draws: tuple[float, float]


class Plan(NamedTuple):
    """How a choice is carried out: the attempts in order, how many of them run at once, and who judges them."""

    attempts: tuple[Attempt, ...]
    mode: Mode
    legs: int = 1
    judge: str | None = None
    last_resort: bool = False


def settle(question: Question, known: Sequence[Facts], refused: Sequence[Rejection]) -> Decision:
    """Refuse by facts, score, rank, choose and plan."""
    request, policy, pool = question.request, question.policy, question.pool
    weights = weights_of(question)
    rejections = list(refused)
    eligible: list[Facts] = []
    if question.pool is question.resolved.pool and nobody_refused(known, request, question.resolved.window):
        eligible += known
    else:
        for facts in known:
            refusal = refuse_by_facts(pool[facts.deployment], facts, request)
            if refusal is None:
                eligible.append(facts)
            else:
                rejections.append(refusal)
    last_resort = not eligible and policy.breaker.last_resort
    if last_resort:
        eligible = least_bad(known, rejections)
    scored = score(eligible, request, weights, policy.scoring)
    everyone = _ordered(scored, question)
    ranking, named = everyone, question.resolved.pool
    if pool is not named:  # there are fallbacks: they stand in when what was named is refused
        ranking = [item for item in everyone if item.deployment in named] or everyone
    mode = planner.mode_of(request.hints, request.profile.task, policy)
    if not ranking:
        return _decision(question, (), (), rejections, None, Plan((), mode), weights)
    choice = _choose(ranking, question, single=mode is Mode.SINGLE)
    legs, others = _plan(choice.chosen, ranking, everyone, question, mode)
    judge = None
    if mode in _JUDGE_NEEDED:
        judge = planner.choose_judge(legs, everyone, question.judges)
    plan = Plan(_attempts(legs, others, question), mode, len(legs), judge, last_resort)
    return _decision(question, everyone, ranking, rejections, choice, plan, weights)


def weights_of(question: Question) -> Weights:
    """Return the weights of the question's policy, cost weighed as much more as its spend ceiling asks for."""
    weights = question.policy.policies[question.policy_name]
    factor = question.request.cost_factors.get(question.policy_name, 1.0)
    return weights if factor == 1.0 else replace(weights, cost=weights.cost * factor)


def least_bad(known: Sequence[Facts], rejections: Sequence[Rejection]) -> list[Facts]:
    """Return the open deployment that would be admitted soonest, when an open breaker is all that speaks against it.

    Who asked to be left alone (a 429) is not resorted to.
    """
    waiting = {item.deployment: item.retry_after_s or 0.0 for item in rejections if item.rule is Rule.BREAKER}
    if not waiting:
        return []
    soonest = min(waiting, key=lambda name: (waiting[name], name))
    return [facts for facts in known if facts.deployment == soonest]


def _ordered(scored: Sequence[ScoredCandidate], question: Question) -> list[ScoredCandidate]:
    if question.resolved.order is Order.LISTED:
        position = {name: index for index, name in enumerate(question.pool)}
        return sorted(scored, key=lambda item: position[item.deployment])
    ranking = list(choosing.rank(scored))
    wished = question.request.hints.order
    if wished:
        place = {name: index for index, name in enumerate(wished)}
        ranking.sort(key=lambda item: min(place.get(n, len(place)) for n in question.pool[item.deployment].names))
    return ranking


def _order_of(question: Question) -> str:
    """Name what orders the candidates: the route's rule, or the request's own list."""
    if question.resolved.order is Order.SCORED:
        return "request's" if question.request.hints.order else "scored"
    return f"route's {question.resolved.order}"


def _choose(ranking: Sequence[ScoredCandidate], question: Question, *, single: bool) -> Choice:
    if question.resolved.order is Order.WEIGHTED:
        return choosing.choose_weighted(ranking, question.pool, question.draws[0])
    if question.resolved.order is Order.LISTED or question.request.hints.order:
        return Choice(ranking[0], 1.0)
    explore = single and not question.resolved.pinned and question.policy.learning.enabled
    return choosing.choose_scored(ranking, question.policy.exploration, question.draws, explore=explore)


def _plan(
    chosen: ScoredCandidate,
    ranking: Sequence[ScoredCandidate],
    everyone: Sequence[ScoredCandidate],
    question: Question,
    mode: Mode,
) -> tuple[list[ScoredCandidate], list[ScoredCandidate]]:
    hints, rules = question.request.hints, question.policy
    legs = [chosen]
    if mode is not Mode.SINGLE:
        width = rules.parallel.width
        if mode in _JUDGE_NEEDED and len(everyone) == len(ranking):
            width = max(2, min(width, len(ranking) - 1))  # somebody must be left to judge
        legs = planner.choose_legs(chosen, ranking, width, hints.max_cost_usd)
    if hints.fallbacks is not None:
        first: Sequence[str] = [
            item.id for name in hints.fallbacks for item in question.pool.values() if name in item.names
        ]
        rest: Sequence[ScoredCandidate] = [item for item in everyone if item.deployment in first]
    else:
        first, rest = question.pool[chosen.deployment].fallbacks, everyone
    if len(legs) > 1:
        taken = {leg.deployment for leg in legs}
        rest = [item for item in rest if item.deployment not in taken]
    diverse = question.resolved.order is not Order.LISTED
    return legs, planner.order_fallbacks(chosen, rest, first, rules.retry.fallbacks, diverse=diverse)


def _attempts(
    legs: Sequence[ScoredCandidate], others: Sequence[ScoredCandidate], question: Question
) -> tuple[Attempt, ...]:
    """Turn a plan into calls under the cost limit. Legs share it: each has its worst case and its part of the rest."""
    request, pool = question.request, question.pool
    limit = request.hints.max_cost_usd
    if limit is None:
        return tuple([attempt_for(pool[item.deployment], item.facts, request, None) for item in (*legs, *others)])
    rest = (limit - sum(leg.facts.worst_cost_usd for leg in legs)) / len(legs)
    shares = [min(limit, leg.facts.worst_cost_usd + rest) for leg in legs] + [limit] * len(others)
    calls = zip((*legs, *others), shares, strict=True)
    return tuple([attempt_for(pool[item.deployment], item.facts, request, share) for item, share in calls])


def _decision(
    question: Question,
    everyone: Sequence[ScoredCandidate],
    ranking: Sequence[ScoredCandidate],
    rejections: Sequence[Rejection],
    choice: Choice | None,
    plan: Plan,
    weights: Weights,
) -> Decision:
    return Decision(
        profile=question.request.profile,
        policy=question.policy_name,
        ranking=tuple(everyone),
        rejections=tuple(rejections),
        attempts=plan.attempts,
        chosen=choice.chosen.deployment if choice else None,
        confidence=choosing.confidence(choice.chosen, ranking) if choice else 0.0,
        propensity=choice.propensity if choice else 0.0,
        rationale=sentence(question.request.profile, ranking, choice, rejections, _order_of(question)),
        at=question.now,
        draws=question.draws,
        policy_version=question.policy.version,
        registry_version=question.registry_version,
        snapshot_version=question.snapshot_version,
        order=str(question.resolved.order),
        mode=plan.mode,
        explored=choice.explored if choice else False,
        judge=plan.judge,
        legs=plan.legs,
        last_resort=plan.last_resort,
        weights=weights,
    )
