"""From feedback, verdicts and implicit signs to a reward in [0, 1] with the trust its source deserves.

Sources, strongest first, with the weight one vote carries (how many explicit votes it counts for):

========== ====== ==================================================================================
explicit   1.0    somebody who read the answer said so: score, rating, outcome, merged or reverted
judge      0.6    another model compared answers; agrees with people about as often as people agree
                  with each other, but knows nothing of what the answer was needed for
verifier   0.4    a check of form (schema, arguments, syntax): certain when it fails, weak when it holds
implicit   0.15   cut, refused, empty, asked again: a hint, and users ask again for other reasons too
========== ====== ==================================================================================

The order and the ratio are judgements, not measurements: one explicit vote outweighs six hints. Silence is no vote: an
answer about which nothing is known earns no reward at all, so traffic without feedback leaves the posterior alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

from router_core.outcome import AttemptOutcome, Feedback, Reward
from router_core.task import TaskType


class Source(StrEnum):
    """Who judged an answer."""

    EXPLICIT = "explicit"
    JUDGE = "judge"
    VERIFIER = "verifier"
    IMPLICIT = "implicit"


WEIGHTS: Final = {Source.EXPLICIT: 1.0, Source.JUDGE: 0.6, Source.VERIFIER: 0.4, Source.IMPLICIT: 0.15}
"""How many explicit votes one vote of each source counts for."""

OUTCOMES: Final = {"success": 1.0, "partial": 0.5, "failure": 0.0}
MERGED_BONUS: Final = 0.2
REVERTED_MALUS: Final = 0.5

REFUSED_VALUE: Final = 0.1
EMPTY_VALUE: Final = 0.0
CUT_VALUE: Final = 0.4
"""A cut answer is often useful up to the cut; the limit may have been the client's own."""
REASKED_VALUE: Final = 0.2
FAILED_CHECK_VALUE: Final = 0.0
HELD_CHECK_VALUE: Final = 0.8
"""The form holds: better than an average answer, no proof of a right one."""


def feedback_score(feedback: Feedback) -> float | None:
    """Return the score of one vote in [0, 1]; None when it says nothing about quality (a label or correction alone).

    Base from ``outcome`` (1, 0.5, 0); averaged with ``score``; +0.2 merged, -0.5 reverted; averaged with
    ``(rating - 1) / 4``; clamped. Without outcome and score the base is the rating, else neutral (0.5) for a merge or
    a revert. A correction without any other signal says that the answer was wrong enough to be replaced: 0.
    """
    base = OUTCOMES[feedback.outcome] if feedback.outcome is not None else None
    if feedback.score is not None:
        base = feedback.score if base is None else (base + feedback.score) / 2.0
    rating = (feedback.rating - 1) / 4.0 if feedback.rating is not None else None
    moved = MERGED_BONUS * feedback.pr_merged - REVERTED_MALUS * feedback.pr_reverted
    if base is None and rating is None and not moved:
        return None if feedback.correction is None else 0.0
    if base is None:
        base, rating = (0.5, None) if rating is None else (rating, None)
    value = base + moved
    if rating is not None:
        value = (value + rating) / 2.0
    return min(1.0, max(0.0, value))


def of_feedback(
    feedback: Feedback,
    deployment: str,
    task: TaskType,
    *,
    secondary: TaskType | None = None,
    features: Any = None,
) -> Reward | None:
    """Return the reward of one vote for the deployment that served the decision; None: it says nothing of it."""
    value = feedback_score(feedback)
    if value is None:
        return None
    return Reward(
        deployment,
        task,
        feedback.at,
        value,
        WEIGHTS[Source.EXPLICIT],
        f"feedback:{feedback.source}",
        secondary,
        features,
    )


def of_verdict(
    deployment: str,
    task: TaskType,
    at: float,
    value: float,
    *,
    secondary: TaskType | None = None,
    features: Any = None,
) -> Reward:
    """Return the reward of a judge's verdict; ``value`` is 1 won, 0.5 tied, 0 lost, or a grade in [0, 1]."""
    return Reward(deployment, task, at, value, WEIGHTS[Source.JUDGE], Source.JUDGE.value, secondary, features)


def of_outcome(
    attempt: AttemptOutcome,
    checks: Iterable[bool] = (),
    *,
    reasked: bool = False,
    secondary: TaskType | None = None,
    features: Any = None,
) -> Reward | None:
    """Return what an answer's own signs say, the strongest first; None when it failed or nothing is known.

    ``checks`` are the verifiers' results (``verify.verify``). A failed check decides alone; then refusal, emptiness,
    the length cut, the quick re-ask; a held check last. A failed attempt earns no reward: that is availability, which
    ``performance`` and the breaker count, not quality.
    """
    if not attempt.ok:
        return None
    results = tuple(checks)
    if results and not all(results):
        value, source = FAILED_CHECK_VALUE, Source.VERIFIER
    elif attempt.refusal or attempt.finish_reason == "content_filter":
        value, source = REFUSED_VALUE, Source.IMPLICIT
    elif attempt.usage.completion == 0 and attempt.tool_calls == 0 and not attempt.usage.estimated:
        value, source = EMPTY_VALUE, Source.IMPLICIT
    elif attempt.finish_reason == "length":
        value, source = CUT_VALUE, Source.IMPLICIT
    elif reasked:
        value, source = REASKED_VALUE, Source.IMPLICIT
    elif results:
        value, source = HELD_CHECK_VALUE, Source.VERIFIER
    else:
        return None
    return Reward(
        attempt.deployment, attempt.task, attempt.at, value, WEIGHTS[source], source.value, secondary, features
    )
