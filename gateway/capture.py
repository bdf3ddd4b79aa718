"""Keeps the text of prompts, for calibration only, and only where ``capture`` in policy.yaml was turned on.

Off by default. What is kept: the messages, tools and answer format of a sampled share of answered requests, without
the answer, for ``capture.days``. A key may opt out (``capture: false``), a request by the tag ``calibration``. No route
shows what is kept; whoever can read the store can.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from gateway.calibration_prompts import UNKEPT_TAG
from gateway.context import RequestContext
from gateway.services import Services
from router_core.outcome import RequestOutcome
from router_core.task import TaskType

KIND: Final = "prompt"
"""Kind of the store's documents; their id is the decision's."""
MOST_BYTES: Final = 200_000
"""Larger prompts are not kept: they would cost more to calibrate with than they tell."""
FIELDS: Final = ("messages", "tools", "tool_choice", "response_format", "max_tokens", "max_completion_tokens")
_DAY_S: Final = 86_400.0
_UNKEPT: Final = frozenset({TaskType.MULTIMODAL})


class Capture:
    """A hook of ``Services.after``."""

    def __init__(self, services: Services) -> None:
        """Begin; what counts is the policy of each request."""
        self._services = services
        self.kept = 0

    def finished(
        self, ctx: RequestContext, outcome: RequestOutcome, answer: Mapping[str, Any] | None = None, stream: Any = None
    ) -> None:
        """Keep a request's prompt when it was sampled."""
        del answer, stream
        rules = ctx.policy.capture
        if not rules.enabled or not ctx.principal.capture or not outcome.ok:
            return
        if ctx.decision.profile.task in _UNKEPT or UNKEPT_TAG in ctx.tags or _place(ctx.decision_id) >= rules.share:
            return
        body = ctx.chat.body
        data = orjson.dumps({name: body[name] for name in FIELDS if body.get(name) is not None})
        if len(data) <= MOST_BYTES:
            self.kept += 1
            self._services.recorder.document(KIND, ctx.decision_id, data, outcome.at + rules.days * _DAY_S)


def _place(decision_id: str) -> float:
    """Return a decision's place in [0, 1), the same in every worker."""
    return zlib.crc32(decision_id.encode()) / 2**32
