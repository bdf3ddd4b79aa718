"""What people say of answers: once per decision and source, late, twice, or before we know the decision at all.

A vote counts through the key that made the request. A vote for a well-formed id that this worker does not know yet
waits up to a minute for the record to arrive from its worker or the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import orjson

from gateway.decisions import Served
from gateway.http.errors import ApiError
from gateway.keys import Principal
from gateway.recorder import KIND
from gateway.services import Services
from gateway.store_errors import StoreError
from router_core.compact import expanded
from router_core.outcome import Feedback
from router_core.reward import feedback_score, of_feedback
from router_core.task import TaskType

_log = logging.getLogger("gateway.feedback")
VOTE: Final = "feedback"
HELD_S: Final = 60.0
_STEP_S: Final = 1.0
_MOST_HELD: Final = 1000
_MOST_VOTES: Final = 50_000
_DAY_S: Final = 86_400.0


class FeedbackDesk:
    """Takes votes. All state is bounded."""

    def __init__(self, services: Services) -> None:
        """Begin with no votes."""
        self._services = services
        self._votes: OrderedDict[tuple[str, str], float | None] = OrderedDict()
        self._held: set[asyncio.Task[None]] = set()
        self.dropped = 0

    async def accept(self, feedback: Feedback, principal: Principal) -> tuple[int, dict[str, Any]]:
        """Book a vote; returns (status, body). Raises ApiError for a foreign or forged decision."""
        services = self._services
        made_at = services.ids.made_at(feedback.decision_id)
        if made_at is None:
            raise ApiError(404, "there is no such decision", "decision_not_found", "decision_id", should_retry=False)
        served = await self.find(feedback.decision_id)
        if served is None:
            if feedback.at - made_at > HELD_S:
                raise ApiError(404, "there is no such decision", "decision_not_found", "decision_id")
            self._hold(feedback, principal)
            return 202, {"status": "held", "decision_id": feedback.decision_id}
        return 200, await self.book(feedback, served, principal)

    async def book(self, feedback: Feedback, served: Served, principal: Principal) -> dict[str, Any]:
        """Fold a vote for a known decision; the same source's second vote changes nothing, whichever worker gets it."""
        services = self._services
        if served.key_id != principal.key_id and not principal.admin:
            raise ApiError(404, "there is no such decision", "decision_not_found", "decision_id", should_retry=False)
        score = feedback_score(feedback)
        answer = {"decision_id": feedback.decision_id, "source": feedback.source, "score": score}
        name = (feedback.decision_id, feedback.source)
        if name in self._votes:
            return {"status": "duplicate", **answer, "score": self._votes[name]}
        if served.deployment is None:
            return {"status": "ignored", **answer, "reason": "no deployment answered that request"}
        config = services.config.current
        if not await self._enter(feedback, score, config.policy.capture.decision_days * _DAY_S):
            return {"status": "duplicate", **answer, "score": self._votes[name]}
        reward = of_feedback(
            feedback, served.deployment, served.task, secondary=served.secondary, features=served.features
        )
        if reward is not None:
            services.learner.reward(reward, config.policy, served.expected)
            services.learner.settle()
            services.observer.reward(reward, served.expected)
            if services.experiments is not None:
                services.experiments.rewarded(served.arm, reward.value)
        gone = served.deployment not in config.registry.deployments
        note = {"note": "the deployment is no longer registered; the vote is kept with it"} if gone else {}
        return {"status": "accepted", **answer, "deployment": served.deployment, **note}

    async def find(self, decision_id: str) -> Served | None:
        """Return what is known of a decision, from memory or from the store."""
        recorded = self._services.recorder.find(decision_id)
        if recorded is not None:
            return recorded.served
        store = self._services.store
        if store is None:
            return None
        try:
            data = await store.get(KIND, decision_id)
        except StoreError:
            return None
        return None if data is None else _of_record(expanded(orjson.loads(data)))

    async def _enter(self, feedback: Feedback, score: float | None, keep_s: float) -> bool:
        """Enter a vote where all workers look; False when this source's vote was there before, from whichever of them.

        While the store is away it is entered here alone, and written when the store is back.
        """
        name, services = (feedback.decision_id, feedback.source), self._services
        row = {field: getattr(feedback, field) for field in _FIELDS}
        data = orjson.dumps({**row, "entry": secrets.token_hex(8)})
        place, expires = "|".join(name), feedback.at + keep_s
        try:
            if not await services.store.swap(VOTE, place, data, None, expires):
                found = await services.store.get(VOTE, place)
                if found is not None and found != data:  # else the answer to our own write was lost on the way
                    with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError):
                        kept = orjson.loads(found)
                        score = feedback_score(Feedback(**{field: kept[field] for field in _FIELDS}))
                    self._note(feedback, score)
                    return False
        except StoreError:
            if name in self._votes:
                return False
            services.recorder.document(VOTE, place, data, expires)
        self._note(feedback, score)
        return True

    def _note(self, feedback: Feedback, score: float | None) -> None:
        self._votes[feedback.decision_id, feedback.source] = score
        while len(self._votes) > _MOST_VOTES:
            self._votes.popitem(last=False)

    def _hold(self, feedback: Feedback, principal: Principal) -> None:
        if len(self._held) >= _MOST_HELD:
            self.dropped += 1
            raise ApiError(503, "too much feedback is waiting for its decisions", "overloaded", retry_after_s=5.0)
        task = asyncio.create_task(self._wait(feedback, principal), name="held-feedback")
        self._held.add(task)
        task.add_done_callback(self._held.discard)

    async def _wait(self, feedback: Feedback, principal: Principal) -> None:
        for _ in range(int(HELD_S / _STEP_S)):
            await asyncio.sleep(_STEP_S)
            served = await self.find(feedback.decision_id)
            if served is not None:
                try:
                    await self.book(feedback, served, principal)
                except ApiError as exc:
                    _log.warning("held feedback was refused: %s", exc.code)
                return
        self.dropped += 1
        _log.warning("feedback for an unknown decision was dropped after %d s", int(HELD_S))


_FIELDS: Final = (
    "decision_id",
    "at",
    "source",
    "score",
    "rating",
    "outcome",
    "pr_merged",
    "pr_reverted",
    "label",
    "correction",
)


def _of_record(record: Mapping[str, Any]) -> Served:
    task = record["task"]
    secondary = TaskType(task["secondary"]) if task.get("secondary") else None
    experiment = record.get("experiment")
    arm = None if experiment is None else (experiment["id"], experiment["arm"])
    served_by = record["outcome"]["served_by"]
    return Served(served_by, TaskType(task["task"]), secondary, record["key_id"], arm=arm)
