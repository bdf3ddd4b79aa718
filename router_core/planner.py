"""From a choice to a plan: who is tried next, who answers in parallel, who judges."""

from __future__ import annotations

from collections.abc import Sequence

from router_core.decision import ScoredCandidate
from router_core.policy import Policy
from router_core.request import Hints, Mode


def order_fallbacks(
    chosen: ScoredCandidate, ranking: Sequence[ScoredCandidate], first: Sequence[str], count: int, *, diverse: bool
) -> list[ScoredCandidate]:
    """Return up to ``count`` candidates to try after the chosen one.

    Those named in ``first`` lead, in that order; then, when ``diverse``, a provider not yet in the plan goes before one
    that is, best score first.
    """
    plan: list[ScoredCandidate] = []
    taken = {chosen.deployment}
    if first:
        by_name = {item.deployment: item for item in ranking}
        for name in first:
            if len(plan) < count and name in by_name and name not in taken:
                plan.append(by_name[name])
                taken.add(name)
    used = {chosen.facts.provider, *(item.facts.provider for item in plan)}
    again: list[ScoredCandidate] = []
    for item in ranking:
        if len(plan) == count:
            return plan
        if item.deployment in taken:
            continue
        provider = item.facts.provider
        if diverse and provider in used:
            again.append(item)
        else:
            plan.append(item)
            used.add(provider)
    return plan + again[: count - len(plan)]


def mode_of(hints: Hints, task: str, policy: Policy) -> Mode:
    """Return how many models answer: the hint's mode, else the operator's trigger, else one."""
    if hints.mode is not None:
        return hints.mode
    rules = policy.parallel
    if rules.trigger_critical and hints.critical:
        return rules.trigger_mode
    if task in rules.trigger_tasks:
        return rules.trigger_mode
    floor = rules.trigger_min_quality
    if floor is not None and hints.min_quality is not None and hints.min_quality >= floor:
        return rules.trigger_mode
    return Mode.SINGLE


def choose_legs(
    chosen: ScoredCandidate, ranking: Sequence[ScoredCandidate], width: int, budget_usd: float | None
) -> list[ScoredCandidate]:
    """Return who answers in parallel, the chosen one first.

    Different providers come first; the sum of all worst cases stays within the budget.
    """
    legs = [chosen]
    spent = chosen.facts.worst_cost_usd
    for rival in order_fallbacks(chosen, ranking, (), len(ranking), diverse=True):
        if len(legs) == width:
            break
        worst = rival.facts.worst_cost_usd
        if budget_usd is None or spent + worst <= budget_usd:
            legs.append(rival)
            spent += worst
    return legs


def choose_judge(
    legs: Sequence[ScoredCandidate], ranking: Sequence[ScoredCandidate], preferred: Sequence[str]
) -> str | None:
    """Return the deployment that judges: one that does not answer.

    The first preferred one, else the one of the highest expected quality outside the legs; None when all answer.
    """
    answering = {leg.deployment for leg in legs}
    outside = [item for item in ranking if item.deployment not in answering]
    able = {item.deployment for item in outside}
    for name in preferred:
        if name in able:
            return name
    if not outside:
        return None
    return max(
        outside, key=lambda item: (item.facts.quality, -item.facts.expected_cost_usd, item.deployment)
    ).deployment
