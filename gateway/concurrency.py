"""How many calls a deployment may have open at once: learned from its own refusals, as TCP learns a path's width.

Additive increase, multiplicative decrease (Chiu, Jain, 1989; Netflix's concurrency-limits): a 429, 503 or overload cuts
the limit below what was open when it came, each good answer while the limit is used widens it a little, and a limit
that was not met again for a while is forgotten. Until the first refusal there is no limit at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.turns import Turns
from router_core.outcome import Failure, FailureKind
from router_core.policy import AdmissionPolicy

FORGET_S: Final = 60.0
"""Seconds without a refusal after which a limit is forgotten; one that grew to twice its beginning is, too."""


@dataclass(slots=True)
class _Room:
    open: int = 0
    limit: float | None = None
    began: float = 0.0
    cut_at: float = float("-inf")
    turns: Turns = field(default_factory=Turns)

    @property
    def full(self) -> bool:
        return self.limit is not None and self.open >= int(self.limit)


class Concurrency:
    """The open calls of each deployment of this worker. Every ``now`` is the steady clock's seconds."""

    def __init__(self) -> None:
        """Begin without limits."""
        self._rooms: dict[str, _Room] = {}

    def enter(self, deployment: str, now: float) -> bool:
        """Take a place; False when as many calls are open as the deployment was seen to bear."""
        room = self._rooms.get(deployment)
        if room is None:
            room = self._rooms[deployment] = _Room()
        if room.limit is not None:
            if now - room.cut_at > FORGET_S:
                room.limit = None
            elif room.full:
                return False
        room.open += 1
        return True

    async def wait(self, deployment: str, seconds: float) -> bool:
        """Wait for a place in turn, for at most so long; returns whether it was taken."""
        return await self._rooms[deployment].turns.wait(seconds, lambda: self.leave(deployment))

    def leave(self, deployment: str) -> None:
        """Give a place back; those who wait get in as far as there is room."""
        room = self._rooms.get(deployment)
        if room is None:
            return
        room.open -= 1
        while not room.full and room.turns.hand_over():
            room.open += 1

    def learn(
        self, deployment: str, failure: Failure | None, started: float, now: float, policy: AdmissionPolicy
    ) -> None:
        """Learn from how a call ended that still has its place.

        One burst of refusals counts once: only of calls that ``started`` after the last cut.
        """
        room = self._rooms.get(deployment)
        if room is None:
            return
        if refused(failure):
            if policy.adaptive and started > room.cut_at:
                if room.limit is None:
                    room.began = float(room.open)
                borne = min(room.limit or float(room.open), float(room.open))
                room.limit = max(float(policy.adaptive_least), borne * policy.adaptive_decrease)
                room.cut_at = now
        elif failure is None and room.limit is not None:
            if 2 * room.open >= room.limit:  # a limit that is not used says nothing about a wider one
                room.limit += 1.0 / room.limit
            if room.limit > 2.0 * max(room.began, policy.adaptive_least):
                room.limit = None

    def limit(self, deployment: str) -> int | None:
        """Return the calls a deployment may have open at once, None without a limit."""
        room = self._rooms.get(deployment)
        return None if room is None or room.limit is None else int(room.limit)


def refused(failure: Failure | None) -> bool:
    """Say whether a failure means that the deployment has too much to do."""
    if failure is None or not failure.sent:
        return False
    if failure.kind is FailureKind.SERVER:
        return failure.status == 503
    return failure.kind in {FailureKind.OVERLOADED, FailureKind.RATE_LIMITED}
