"""What an answer's own signs say of it: verifiers, refusal, emptiness, a cut, a quick re-ask. Off the response path.

Weak evidence with small weights (``reward.WEIGHTS``); feedback and judges weigh more. No text is kept: a re-ask is
known by a hash that never leaves the process.
"""

from __future__ import annotations

import logging
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.backlog import Backlog
from gateway.context import RequestContext
from gateway.services import Services
from gateway.stages import Steps
from router_core.outcome import AttemptOutcome, AttemptRole, RequestOutcome
from router_core.policy import Policy
from router_core.reward import of_outcome
from router_core.task import TaskType
from router_core.verify import verify

if TYPE_CHECKING:
    from gateway.streams import ClientStream

_log = logging.getLogger("gateway.signals")
_DELAY_S: Final = 0.05
_AT_ONCE: Final = 5
REASK_S: Final = 120.0
"""The same prompt of the same caller within so many seconds means that the first answer did not do."""
_MOST_PROMPTS: Final = 10_000
_EVERY: Final = 4
"""One in so many streams is looked at where no form was asked for."""
_REFUSED: Final = "not_refused"
_FORM: Final = frozenset({"not_empty", "not_cut", _REFUSED})
"""Signs that there is no answer, which weigh less; the rest look at the form that was asked for."""


_FORMED: Final = frozenset({"response_format", "tools"})
"""What asks for a form."""
_Answered = tuple[RequestContext, AttemptOutcome, Mapping[str, Any] | None]
"""A finished request, the call that served it, and what it said."""


_Prompt = tuple[str, str, int, int]
"""Who asked what: key, session, number of messages, hash of what the last one says."""


class _Asked(NamedTuple):
    """An answered request, as far as its rewards need it: contexts are large, and many are remembered."""

    attempt: AttemptOutcome
    policy: Policy
    secondary: TaskType | None
    features: Any
    expected: float | None


class Signals:
    """Turns finished requests into rewards. Use ``after`` as a hook of ``Services.after``."""

    def __init__(self, services: Services) -> None:
        """Begin having seen nothing."""
        self._services = services
        self._asked: OrderedDict[_Prompt, _Asked] = OrderedDict()
        self._waiting: Backlog[_Answered] = Backlog(
            self._judge, at_once=_AT_ONCE, log=_log, fault="an answer could not be looked at"
        )

    def after(
        self,
        ctx: RequestContext,
        outcome: RequestOutcome,
        answer: Mapping[str, Any] | None,
        stream: ClientStream | None = None,
    ) -> None:
        """Take a finished request; the work is done a moment later."""
        if answer is None and stream is not None:
            answer = _streamed(stream, outcome)
        attempt = next((item for item in reversed(ctx.attempts) if item.deployment == outcome.served_by), None)
        if attempt is not None and ctx.policy.learning.enabled:
            self._waiting.put((ctx, attempt, answer), _DELAY_S)

    def _judge(self, answered: _Answered) -> Steps[None]:
        ctx, attempt, answer = answered
        found = _checks(ctx, answer)
        if any(check.name == _REFUSED for check in found):
            attempt = replace(attempt, refusal=True)  # declined in words, without the flag for it
        yield
        asked = _asked(ctx, attempt)
        self._learn(asked, [check.held for check in found if check.name not in _FORM])
        name = _prompt(ctx)
        before = self._asked.pop(name, None)
        if before is not None and attempt.at - before.attempt.at <= REASK_S:
            self._learn(before, (), reasked=True)
        self._asked[name] = asked
        if len(self._asked) > _MOST_PROMPTS:
            self._asked.popitem(last=False)

    def _learn(self, asked: _Asked, checks: Sequence[bool], *, reasked: bool = False) -> None:
        reward = of_outcome(asked.attempt, checks, reasked=reasked, secondary=asked.secondary, features=asked.features)
        if reward is not None:
            self._services.learner.reward(reward, asked.policy, asked.expected)
            self._services.observer.reward(reward, asked.expected)


def keeps_answer(ctx: RequestContext) -> bool:
    """Whether what a stream says is kept to its end, to look at its form: where one was asked for, else of some."""
    if not ctx.policy.learning.enabled or ctx.chat.n > 1:
        return False
    return not _FORMED.isdisjoint(ctx.chat.body) or zlib.crc32(ctx.decision_id.encode()) % _EVERY == 0


def _prompt(ctx: RequestContext) -> _Prompt:
    messages = ctx.chat.body["messages"]
    last = messages[-1].get("content")
    said = hash(last if isinstance(last, str) else repr(last))
    return ctx.principal.key_id, ctx.hints.session or "", len(messages), said


def _asked(ctx: RequestContext, attempt: AttemptOutcome) -> _Asked:
    facts = ctx.facts(attempt.deployment)
    expected = None if facts is None else facts.quality
    return _Asked(attempt, ctx.policy, ctx.decision.profile.secondary, ctx.routing.features, expected)


def _streamed(stream: ClientStream, outcome: RequestOutcome) -> dict[str, Any] | None:
    """Return what a stream said, as a whole answer; None when it was not kept, or several calls wrote it."""
    if any(each.role is AttemptRole.CONTINUATION for each in outcome.attempts):
        return None
    text, calls = stream.relay.text, stream.relay.calls
    if not text and not calls:
        return None
    message = {"content": text, "tool_calls": calls}
    return {"choices": [{"message": message, "finish_reason": stream.relay.finish_reason}]}


def _checks(ctx: RequestContext, answer: Mapping[str, Any] | None) -> list[Any]:
    choices = answer.get("choices") if answer is not None else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return []
    message = choices[0].get("message")
    if not isinstance(message, dict):
        return []
    return list(verify(ctx.chat.body, message, choices[0].get("finish_reason")))
