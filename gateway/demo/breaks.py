"""Answers that break on the way: in the middle of a stream, or of a whole body. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.demo.faults import FaultRule
from gateway.demo.plain import complaint_of, refusal
from gateway.demo.script import End, Repeat, Script, Send, Step, Wait
from gateway.demo.wire import Wire

_SHORT_BY: Final = 64
_SLOW_S: Final = 20.0


def _split(steps: tuple[Step, ...], after: int) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Cut the steps behind ``after`` content events (behind the last one when there are fewer)."""
    seen = 0
    end = 0
    for at, step in enumerate(steps):
        if isinstance(step, Send) and step.content:
            if seen == after:
                return steps[:at], steps[at:]
            seen += 1
            end = at + 1
    return steps[:end], steps[end:]


def broken_stream(rule: FaultRule, wire: Wire, good: Script) -> tuple[tuple[Step, ...], End]:
    """Return the steps and the end of a stream that goes wrong."""
    lead, rest = _split(good.steps, 0)
    head, tail = _split(good.steps, rule.after)
    error = Send(wire.error_event(complaint_of(rule, "overloaded" if wire.name == "anthropic" else "server_error")))
    bad = _cut_event(tail)
    comments = Repeat(b": keep-alive\n\n", rule.interval_s, rule.seconds)
    ways: dict[str, tuple[tuple[Step, ...], End]] = {
        "slow_first_token": ((*lead, Wait(_SLOW_S if rule.seconds is None else rule.seconds), *rest), End.WHOLE),
        "role_then_silence": ((*lead, Wait(rule.seconds)), End.CUT),
        "keepalive_forever": ((*lead, comments), End.CUT),
        "hang_after": ((*head, Wait(rule.seconds)), End.CUT),
        "reset_after": (head, End.RESET),
        "cut_after": (head, End.CUT),
        "short_body": (head, End.CUT),
        "clean_end_after": (head, End.WHOLE),
        "no_done": (tuple(s for s in good.steps if not (isinstance(s, Send) and s.data == wire.done)), End.WHOLE),
        "error_event_first": ((error,), End.WHOLE),
        "error_event_after": ((*head, error), End.WHOLE),
        "truncated_json": ((*head, bad), End.WHOLE),
        "malformed_event": ((*head, bad, *(tail if rule.insert else tail[1:])), End.WHOLE),
    }
    return ways[rule.kind]


def _cut_event(steps: tuple[Step, ...]) -> Send:
    """Return the first event cut in the middle of its JSON; the event's own end stays."""
    data = steps[0].data if steps and isinstance(steps[0], Send) else b'data: {"choices": [{"delta"'
    text = data.rstrip(b"\n")
    return Send(text[: len(text) * 2 // 3] + b"\n\n", content=True)


def broken_body(rule: FaultRule, wire: Wire, good: Script) -> Script:
    """Do to a whole body what the same fault does to a stream, as far as it has a meaning there."""
    body = b"".join(step.data for step in good.steps if isinstance(step, Send))
    half = Send(body[: len(body) // 2], content=True)
    match rule.kind:
        case "slow_first_token":
            return replace(good, before_s=_SLOW_S if rule.seconds is None else rule.seconds)
        case "role_then_silence" | "keepalive_forever" | "hang_after":
            return replace(good, steps=(half, Wait(rule.seconds)), end=End.CUT)
        case "reset_after":
            return replace(good, steps=(half,), end=End.RESET)
        case "cut_after":
            return replace(good, steps=(half,), end=End.CUT, length=None)
        case "short_body":
            return replace(good, length=len(body) + _SHORT_BY, end=End.CUT)
        case "truncated_json" | "malformed_event" | "clean_end_after":
            return replace(good, steps=(half,), length=len(half.data))
        case "error_event_first" | "error_event_after":
            return refusal(wire, complaint_of(rule, "server_error"))
        case _:
            return good
