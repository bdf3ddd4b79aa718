"""What a gateway's own store holds of its traffic: captured prompts to calibrate with, decisions with their votes."""

from __future__ import annotations

import random
from typing import Any, Final

import orjson

from gateway.calibration import CalibrationError
from gateway.calibration_prompts import Task
from gateway.capture import KIND as PROMPT
from gateway.feedback import VOTE
from gateway.paging import documents
from gateway.recorder import KIND as DECISION
from router_core.ports import DocumentStore

MOST: Final = 20_000
"""Newest documents of a kind that are looked at."""


async def sampled_prompts(store: DocumentStore, count: int, seed: int = 0) -> list[Task]:
    """Draw ``count`` captured prompts by chance, the same ones for the same seed; raises CalibrationError for none.

    Repeated prompts count once: what clients ask again and again would otherwise be all there is.
    """
    found: dict[bytes, str] = {}
    async for name, data in documents(store, PROMPT, MOST):
        found.setdefault(data, name)
    if not found:
        msg = "the store holds no prompts: set capture.enabled in policy.yaml and let some traffic pass"
        raise CalibrationError(msg)
    drawn = random.Random(seed).sample(sorted(found.items(), key=lambda item: item[1]), min(count, len(found)))  # noqa: S311
    return [Task(name, orjson.loads(data)) for data, name in drawn]


async def judged_decisions(store: DocumentStore) -> list[dict[str, Any]]:
    """Return decision records as they are stored, each with the ``feedback`` it got, the newest first."""
    votes: dict[str, list[dict[str, Any]]] = {}
    async for _, data in documents(store, VOTE, 2 * MOST):
        vote = orjson.loads(data)
        votes.setdefault(vote["decision_id"], []).append(vote)
    return [
        {**orjson.loads(data), "feedback": votes.get(name, [])} async for name, data in documents(store, DECISION, MOST)
    ]
