"""The fault knobs: what a rule is, which kinds exist, and the queue that hands rules to requests in order."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Final

from gateway.demo.ask import Ask, Json
from gateway.demo.complaints import COMPLAINTS

NO_ANSWER: Final = frozenset({"reset", "close", "hang", "headers_then_nothing", "not_http"})
"""Nothing usable comes: RST, FIN, silence, headers and silence, or bytes that are no HTTP."""

REPLIES: Final = frozenset({"status", "html", "redirect", "error_object_200", "empty_body", "gzip_bomb"}) | set(
    COMPLAINTS
)
"""Another reply takes the place of the answer. Every complaint's name is a kind."""

STREAM_BREAKS: Final = frozenset(
    {
        "slow_first_token",
        "role_then_silence",
        "keepalive_forever",
        "hang_after",
        "reset_after",
        "cut_after",
        "clean_end_after",
        "no_done",
        "error_event_first",
        "error_event_after",
        "malformed_event",
        "huge_event",
        "invalid_utf8",
        "slow_drip",
    }
)
"""The answer begins and then goes wrong, after ``after`` pieces of content where that has a meaning."""

BODY_FAULTS: Final = frozenset(
    {
        "truncated_json",
        "short_body",
        "wrong_content_type",
        "empty_choices",
        "no_usage",
        "json_to_stream",
        "leak_headers",
        "refusal",
        "finish_content_filter",
    }
)
"""The answer is whole but odd."""

CONDITIONAL: Final = frozenset({"reject_prefill", "reject_param"})
"""Only requests that have the thing (an assistant's beginning, a body key named ``param``) are refused and counted."""

KINDS: Final = NO_ANSWER | REPLIES | STREAM_BREAKS | BODY_FAULTS | CONDITIONAL
_MAX_SECONDS: Final = 3600.0
_MAX_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One fault: what goes wrong, how often, and for whom.

    ``times`` is the number of requests it hits (None: for ever); ``probability`` is within [0, 1]; ``model`` and
    ``stream`` limit it to some requests. ``seconds`` (None: for ever) is the length of a wait, ``interval_s`` the
    pause between drips or comments, ``after`` a count of content events, ``size`` bytes. ``status``, ``headers``,
    ``body``, ``message``, ``code``, ``param`` and ``retry_after`` (seconds) shape a reply; ``size`` has a default of
    its own for each kind that uses it and ``step`` is the bytes of one drip. ``then_answer`` lets a ``hang`` end with
    the real answer; ``insert`` adds the malformed event instead of putting it in a good one's place.
    """

    kind: str
    times: int | None = 1
    probability: float = 1.0
    model: str | None = None
    stream: bool | None = None
    seconds: float | None = None
    interval_s: float = 0.3
    after: int = 3
    size: int | None = None
    step: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    message: str | None = None
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None
    location: str = "http://127.0.0.1:1/elsewhere"
    content_type: str = "text/plain; charset=utf-8"
    then_answer: bool = False
    insert: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown kinds and values out of range, naming what is allowed."""
        if self.kind not in KINDS:
            msg = f"unknown kind {self.kind!r}; known: {', '.join(sorted(KINDS))}"
            raise ValueError(msg)
        checks = (
            (self.times is None or self.times >= 1, "times must be at least 1, or null"),
            (0.0 <= self.probability <= 1.0, "probability must be within [0, 1]"),
            (self.seconds is None or 0.0 <= self.seconds <= _MAX_SECONDS, "seconds must be within [0, 3600]"),
            (0.0 < self.interval_s <= _MAX_SECONDS, "interval_s must be within (0, 3600]"),
            (self.after >= 0, "after must not be negative"),
            (self.size is None or 1 <= self.size <= _MAX_BYTES, "size must be within [1, 1 GiB]"),
            (self.step >= 1, "step must be at least 1"),
            (self.status is None or 200 <= self.status <= 599, "status must be within [200, 599]"),
            (self.kind != "reject_param" or bool(self.param), "reject_param needs param"),
        )
        for good, message in checks:
            if not good:
                raise ValueError(message)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> FaultRule:
        """Read one rule of the control call's JSON. Raises ``ValueError`` for unknown keys or bad values."""
        known = {item.name for item in fields(cls)}
        if unknown := set(raw) - known:
            msg = f"unknown options {sorted(unknown)}; known: {sorted(known)}"
            raise ValueError(msg)
        if "kind" not in raw:
            msg = "a rule needs a kind"
            raise ValueError(msg)
        return cls(**raw)

    def hits(self, ask: Ask, body: Json) -> bool:
        """Say whether this rule is meant for this request; chance is not part of it."""
        if self.model is not None and self.model != ask.model:
            return False
        if self.stream is not None and self.stream is not ask.stream:
            return False
        if self.kind == "reject_prefill":
            return ask.prefill is not None
        return self.kind != "reject_param" or self.param in body


class FaultQueue:
    """The rules in force, consumed in order: each request takes the first rule that is meant for it."""

    def __init__(self, seed: int = 0) -> None:
        self._rules: list[tuple[FaultRule, int | None]] = []
        self._random = random.Random(seed)

    def add(self, rules: Iterable[FaultRule]) -> None:
        """Append rules."""
        self._rules.extend((rule, rule.times) for rule in rules)

    def clear(self) -> None:
        """Forget all rules."""
        self._rules.clear()

    def take(self, ask: Ask, body: Json) -> FaultRule | None:
        """Return the rule for this request, counting it down, or None when the request is to be answered well."""
        for at, (rule, left) in enumerate(self._rules):
            if not rule.hits(ask, body):
                continue
            if rule.probability < 1.0 and self._random.random() >= rule.probability:
                continue
            if left == 1:
                del self._rules[at]
            elif left is not None:
                self._rules[at] = (rule, left - 1)
            return rule
        return None

    def rows(self) -> list[Json]:
        """Return what is in force, with what is left of each."""
        return [{"kind": rule.kind, "left": left, "probability": rule.probability} for rule, left in self._rules]
