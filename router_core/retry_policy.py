"""(attempt, failure, elapsed) -> again, next or stop. The only place that answers "and now?".

``RULES`` is the failure table: for each kind, whether the same deployment is tried once more, whether another one is,
and whether it counts for the breaker. ``docs/failures.md`` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from router_core.outcome import Failure, FailureKind
from router_core.policy import Policy


class Counts(StrEnum):
    """What a failure means for the circuit breaker."""

    YES = "yes"
    NO = "no"
    LONG = "long"
    EJECT = "eject"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the failure table."""

    again: bool
    next: bool
    counts: Counts


RULES: Final = {
    FailureKind.CONNECT: Rule(again=True, next=True, counts=Counts.YES),
    FailureKind.SERVER: Rule(again=True, next=True, counts=Counts.YES),
    FailureKind.OVERLOADED: Rule(again=True, next=True, counts=Counts.YES),
    FailureKind.TIMEOUT: Rule(again=False, next=True, counts=Counts.YES),
    FailureKind.PROTOCOL: Rule(again=True, next=True, counts=Counts.YES),
    FailureKind.CONFLICT: Rule(again=False, next=True, counts=Counts.NO),
    FailureKind.RATE_LIMITED: Rule(again=True, next=True, counts=Counts.EJECT),
    FailureKind.AUTH: Rule(again=False, next=True, counts=Counts.LONG),
    FailureKind.BILLING: Rule(again=False, next=True, counts=Counts.LONG),
    FailureKind.NOT_FOUND: Rule(again=False, next=True, counts=Counts.LONG),
    FailureKind.CONTEXT_OVERFLOW: Rule(again=False, next=True, counts=Counts.NO),
    FailureKind.CONTENT_FILTER: Rule(again=False, next=False, counts=Counts.NO),
    FailureKind.INVALID_REQUEST: Rule(again=False, next=False, counts=Counts.NO),
    FailureKind.STREAM_BROKEN: Rule(again=False, next=True, counts=Counts.YES),
    FailureKind.STREAM_TRUNCATED: Rule(again=False, next=True, counts=Counts.YES),
    FailureKind.CANCELLED: Rule(again=False, next=False, counts=Counts.NO),
}
"""What follows from each kind. A redirect, empty choices and a gateway's 502-504 are never tried again at the same
place; a context overflow goes on only to a larger window; ``rate_limited``, and whatever came with a Retry-After, again
only after that wait and within ``rate_limit.wait_max_s``."""


@dataclass(frozen=True, slots=True)
class Again:
    """The same deployment once more after ``wait_s`` seconds; ``without`` names our own parameter to leave out."""

    wait_s: float
    without: str | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """The plan's next deployment, at once; only one with a window above ``above_window`` tokens if that is set."""

    above_window: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """No further call; the reason is for the record."""

    reason: str


Step = Again | Next | Stop


@dataclass(frozen=True, slots=True)
class Situation:
    """Where the attempt loop stands when a call failed.

    ``calls`` made so far for this request or leg; ``tries_here`` at this deployment since it was chosen; ``waited_s``
    already
    waited for 429s here; ``remaining_s`` until the deadline; ``fallback_ready``: the plan holds another deployment;
    ``budget_ok``: the retry budget allows one more; ``window`` of the deployment that failed, in tokens.
    """

    calls: int
    tries_here: int
    remaining_s: float
    fallback_ready: bool
    budget_ok: bool = True
    waited_s: float = 0.0
    window: int = 0


def next_step(failure: Failure, situation: Situation, policy: Policy, jitter: float) -> Step:
    """Judge a failed call. ``jitter`` is a random number in [0, 1)."""
    if situation.remaining_s <= 0.0:
        return Stop("deadline")
    if situation.calls >= policy.retry.max_attempts:
        return Stop("attempts used up")
    if failure.ours is not None and situation.tries_here <= 1:
        return Again(0.0, without=failure.ours)
    if failure.kind is FailureKind.RATE_LIMITED:
        return _after_rate_limit(failure, situation, policy, jitter)
    if _again(RULES[failure.kind], failure, situation, policy) and situation.budget_ok:
        wish = failure.retry_after_s or 0.0
        if wish <= 0.0:
            return Again(_backoff(situation.tries_here, policy, jitter))
        if _waits(wish, situation, policy):
            return Again(wish)
    return _elsewhere(failure, situation, policy)


def _elsewhere(failure: Failure, situation: Situation, policy: Policy) -> Step:
    if failure.kind is FailureKind.INVALID_REQUEST and not failure.sent and situation.fallback_ready:
        return Next()  # it never left: this deployment's wire cannot say it, another one's may
    filtered = failure.kind is FailureKind.CONTENT_FILTER and policy.retry.content_filter_fallback
    if not RULES[failure.kind].next and not filtered:
        return Stop(f"{failure.kind} is the request's own")
    if not situation.fallback_ready:
        return Stop("no fallback left" if situation.budget_ok else "retry budget used up")
    return Next(above_window=situation.window if failure.kind is FailureKind.CONTEXT_OVERFLOW else None)


def _again(rule: Rule, failure: Failure, situation: Situation, policy: Policy) -> bool:
    if not rule.again or situation.tries_here > 1 or _last_for_another(situation, policy):
        return False
    # Only the first choice is tried twice while others wait: they would never be asked within ``max_attempts``.
    if situation.fallback_ready and situation.calls > situation.tries_here:
        return False
    return not (failure.redirect or failure.empty or failure.gateway)


def _backoff(tries: int, policy: Policy, jitter: float) -> float:
    return jitter * min(policy.retry.backoff_cap_s, policy.retry.backoff_base_s * 2.0 ** (tries - 1))


def rate_limit_wait_s(failure: Failure, tries: int, policy: Policy, jitter: float) -> float:
    """Return seconds to stay away after a 429: its Retry-After, else doubling from the base, with 20 % jitter.

    A Retry-After of zero says no more than none.
    """
    if failure.retry_after_s:
        return max(0.0, failure.retry_after_s)
    step = min(policy.rate_limit.backoff_cap_s, policy.rate_limit.backoff_base_s * 2.0 ** max(0, tries - 1))
    return step * (1.0 + 0.2 * jitter)


def _after_rate_limit(failure: Failure, situation: Situation, policy: Policy, jitter: float) -> Step:
    wait = rate_limit_wait_s(failure, situation.tries_here, policy, jitter)
    if _waits(wait, situation, policy) and not _last_for_another(situation, policy):
        return Again(wait)
    return Next() if situation.fallback_ready else Stop("rate limited")


def _last_for_another(situation: Situation, policy: Policy) -> bool:
    """Say whether only one call is left and another deployment stands ready: it is not spent on this one."""
    return situation.fallback_ready and situation.calls + 1 >= policy.retry.max_attempts


def _waits(wait: float, situation: Situation, policy: Policy) -> bool:
    """Say whether a request may wait so long for the same deployment."""
    allowed = policy.rate_limit.wait_max_s
    if allowed is None:
        allowed = 0.0 if situation.fallback_ready else situation.remaining_s
    return 0.0 < wait + situation.waited_s <= allowed and wait < situation.remaining_s
