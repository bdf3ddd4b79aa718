"""One sentence that says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from router_core.choosing import Choice
from router_core.decision import Rejection, ScoredCandidate
from router_core.task import TaskProfile

_NAMES: Final = (
    "quality",
    "cost",
    "performance",
    "feedback",
    "task preference",
    "vendor diversity",
    "vendor preference",
)
"""What people call the terms, in the order of ``Terms``."""


def sentence(
    profile: TaskProfile,
    ranking: Sequence[ScoredCandidate],
    choice: Choice | None,
    rejections: Sequence[Rejection],
    order: str,
) -> str:
    """Say in one sentence who was chosen and what spoke for it, or who refused whom.

    ``ranking`` are those who could have been chosen, without the mere fallbacks; ``order`` is ``scored`` or says whose.
    """
    task = f"{profile.task} ({profile.confidence:.2f})"
    if choice is None:
        rules = Counter(str(item.rule) for item in rejections)
        why = ", ".join(f"{rule} {count}" for rule, count in rules.most_common()) or "nobody is registered"
        return f"{task}: no deployment is eligible; refused by {why}."
    chosen = choice.chosen
    if order != "scored":
        return f"{task}: {chosen.deployment} comes first by the {order} order."
    if choice.explored:
        share = f"{choice.propensity:.4f}"
        return f"{task}: {chosen.deployment} was explored with probability {share} to keep its evidence fresh."
    if len(ranking) == 1:
        return f"{task}: {chosen.deployment} is the only eligible one of what was asked for."
    rival = ranking[1] if ranking[0] is chosen else ranking[0]
    margin = chosen.score - rival.score
    return f"{task}: {chosen.deployment} scored {chosen.score:.1f}, {_versus(margin, rival, chosen)}."


def _versus(margin: float, rival: ScoredCandidate, chosen: ScoredCandidate) -> str:
    if margin < 0.0:
        return f"behind {rival.deployment}, which is coming back gradually"
    gaps = [
        (ours - theirs, name)
        for name, ours, theirs in zip(_NAMES, chosen.terms, rival.terms, strict=True)
        if ours > theirs
    ]
    reasons = [f"{name} {gap:+.1f}" for gap, name in sorted(gaps, reverse=True)[:2]]
    if not reasons:
        return f"ahead of {rival.deployment} by its recent form" if margin > 0.0 else f"level with {rival.deployment}"
    return f"{margin:.1f} ahead of {rival.deployment}, mainly by {' and '.join(reasons)}"
