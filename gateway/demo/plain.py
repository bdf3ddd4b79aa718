"""The plain scripts: a good answer, an error in the vendor's shape, a whole reply of bytes."""

from __future__ import annotations

from typing import Final

import orjson

from gateway.demo.answer import Answer
from gateway.demo.ask import Ask, Complaint
from gateway.demo.complaints import COMPLAINTS, kind_for
from gateway.demo.faults import FaultRule
from gateway.demo.script import Script, Send, Step
from gateway.demo.wire import Event, Wire

JSON_TYPE: Final = "application/json"
SSE_TYPE: Final = "text/event-stream; charset=utf-8"


def well(wire: Wire, ask: Ask, answer: Answer) -> Script:
    """Return the script of a good answer."""
    headers = wire.headers(answer.id)
    if ask.stream:
        headers |= {"Content-Type": SSE_TYPE, "Cache-Control": "no-cache"}
        return Script(headers=headers, steps=_sends(wire.events(answer, ask)))
    body = orjson.dumps(wire.whole(answer, ask))
    return Script(headers=headers | {"Content-Type": JSON_TYPE}, steps=(Send(body, content=True),), length=len(body))


def refusal(wire: Wire, complaint: Complaint, extra: dict[str, str] | None = None) -> Script:
    """Return the script of an error in the vendor's shape."""
    headers = {"Content-Type": JSON_TYPE, **wire.headers("error")}
    if complaint.retry_after_s is not None:
        headers["Retry-After"] = f"{complaint.retry_after_s:g}"
    return reply(complaint.status, orjson.dumps(wire.complain(complaint)), headers | (extra or {}))


def reply(status: int, body: bytes, headers: dict[str, str]) -> Script:
    """Return the script of a whole reply."""
    return Script(status=status, headers=headers, steps=(Send(body),), length=len(body))


def complaint_of(rule: FaultRule, default: str) -> Complaint:
    """Return the complaint a rule asks for: its kind's, its status', or the one named ``default``."""
    name = rule.kind if rule.kind in COMPLAINTS else kind_for(rule.status) if rule.status else default
    base = COMPLAINTS[name]
    param = rule.param if rule.param is not None else base.param
    message = rule.message if rule.message is not None else base.message.replace("{param}", str(param))
    code = rule.code if rule.code is not None else base.code
    return Complaint(rule.status or base.status, base.kind, message, code, param, rule.retry_after)


def _sends(events: list[Event]) -> tuple[Step, ...]:
    return tuple(Send(event.data, event.content) for event in events)
