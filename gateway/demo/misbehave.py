"""Turn an answer and a fault rule into a script of what goes over the wire. Pure: no socket, no clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import orjson

from gateway.demo.answer import Answer
from gateway.demo.ask import Ask
from gateway.demo.bomb import bomb
from gateway.demo.breaks import broken_body, broken_stream
from gateway.demo.complaints import COMPLAINTS
from gateway.demo.faults import CONDITIONAL, FaultRule
from gateway.demo.plain import JSON_TYPE, SSE_TYPE, complaint_of, refusal, reply, well
from gateway.demo.script import Drip, End, Script, Send, Wait
from gateway.demo.wire import Wire

_MARK: Final = "\ue000"  # a private character that stands where bytes are put that are no UTF-8
_HUGE_BYTES: Final = 8 << 20
_BOMB_BYTES: Final = 256 << 20
_HTML: Final = (
    b"<!DOCTYPE html><html><head><title>Gateway</title></head><body><h1>Something is wrong</h1></body></html>"
)
_LEAKS: Final = {
    "Set-Cookie": "session=upstream-secret; Path=/; HttpOnly",
    "Access-Control-Allow-Origin": "https://evil.example",
    "Access-Control-Allow-Credentials": "true",
    "X-Powered-By": "demo",
    "Strict-Transport-Security": "max-age=1",
}


def expressible(kind: str, wire_name: str) -> bool:
    """Say whether a wire has the thing a fault takes away or adds."""
    return not (kind == "no_done" and wire_name == "gemini")


def misbehave(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    """Return the script of what ``rule`` makes of ``answer``."""
    kind = rule.kind
    if kind in COMPLAINTS or kind in CONDITIONAL or kind == "status":
        return _status(rule, wire)
    if kind in _REPLIES:
        return _REPLIES[kind](rule, wire, ask, answer)
    if kind in _ALTERED:
        return _altered(rule, wire, ask, answer)
    good = well(wire, ask, answer)
    if kind == "slow_drip":
        whole = b"".join(step.data for step in good.steps if isinstance(step, Send))
        return replace(good, steps=(Drip(whole, rule.interval_s, rule.step),))
    if kind == "wrong_content_type":
        return replace(good, headers=good.headers | {"Content-Type": rule.content_type})
    if kind == "leak_headers":
        return replace(good, headers=good.headers | _LEAKS | rule.headers)
    if ask.stream:
        steps, end = broken_stream(rule, wire, good)
        return replace(good, steps=steps, end=end)
    return broken_body(rule, wire, good)


# ---- replies that take the answer's place ----


def _status(rule: FaultRule, wire: Wire) -> Script:
    default = {"reject_prefill": "prefill_rejected", "reject_param": "unknown_parameter"}.get(rule.kind, "server_error")
    script = refusal(wire, complaint_of(rule, default), rule.headers)
    if rule.body is None:
        return script
    body = rule.body.encode()
    return replace(script, steps=(Send(body),), length=len(body))


def _no_answer(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    match rule.kind:
        case "reset":
            return Script(raw=True, end=End.RESET)
        case "not_http":
            return Script(
                raw=True, steps=(Send(b"SSH-2.0-demo\r\n\x00\x01\x02 this is not HTTP\r\n\r\n"),), end=End.CUT
            )
        case "hang" if rule.then_answer:
            return replace(well(wire, ask, answer), before_s=rule.seconds)
        case "hang":
            return Script(raw=True, before_s=rule.seconds, end=End.CUT)
        case "headers_then_nothing":
            kind = SSE_TYPE if ask.stream else JSON_TYPE
            return Script(headers={"Content-Type": kind}, steps=(Wait(rule.seconds),), end=End.CUT)
        case _:
            return Script(raw=True, end=End.CUT)


def _html(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    del wire, ask, answer
    body = _HTML if rule.body is None else rule.body.encode()
    return reply(rule.status or 502, body, {"Content-Type": "text/html; charset=utf-8"} | rule.headers)


def _redirect(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    del wire, ask, answer
    return reply(rule.status or 302, b"", {"Location": rule.location} | rule.headers)


def _error_object(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    del ask, answer
    complaint = replace(complaint_of(replace(rule, status=None), "server_error"), status=500)
    return reply(200, orjson.dumps(wire.complain(complaint)), {"Content-Type": JSON_TYPE})


def _empty_body(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    del wire, answer
    return reply(rule.status or 200, b"", {"Content-Type": SSE_TYPE if ask.stream else JSON_TYPE})


def _gzip_bomb(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    good = well(wire, ask, answer)
    body = b"".join(step.data for step in good.steps if isinstance(step, Send))
    packed = bomb(rule.size or _BOMB_BYTES, body)
    return replace(good, headers=good.headers | {"Content-Encoding": "gzip"}, steps=(Send(packed),), length=len(packed))


def _json_to_stream(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    del rule
    return well(wire, replace(ask, stream=False), answer)


def _empty_choices(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    del rule
    if ask.stream:
        return well(wire, ask, replace(answer, choices=()))
    body = orjson.dumps(wire.empty(wire.whole(answer, ask)))
    return reply(200, body, {"Content-Type": JSON_TYPE})


_REPLIES: Final = {
    "reset": _no_answer,
    "close": _no_answer,
    "hang": _no_answer,
    "headers_then_nothing": _no_answer,
    "not_http": _no_answer,
    "html": _html,
    "redirect": _redirect,
    "error_object_200": _error_object,
    "empty_body": _empty_body,
    "gzip_bomb": _gzip_bomb,
    "json_to_stream": _json_to_stream,
    "empty_choices": _empty_choices,
}


# ---- answers that are odd in themselves ----

_ALTERED: Final = frozenset({"huge_event", "invalid_utf8", "no_usage", "refusal", "finish_content_filter"})


def _altered(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    first = answer.choices[0]
    chunks = list(first.chunks) or [""]
    at = min(rule.after, len(chunks) - 1)
    match rule.kind:
        case "no_usage":
            return well(wire, ask, replace(answer, usage=None))
        case "refusal":
            text = rule.message or "I'm sorry, I can't help with that."
            first = replace(first, chunks=(), tool_calls=(), refusal=text, finish="refusal")
        case "finish_content_filter":
            first = replace(first, chunks=tuple(chunks[:at]), tool_calls=(), finish="content_filter")
        case "huge_event":
            chunks[at] = "x" * (rule.size or _HUGE_BYTES)
            first = replace(first, chunks=tuple(chunks))
        case _:
            chunks[at] += _MARK
            first = replace(first, chunks=tuple(chunks))
    script = well(wire, ask, replace(answer, choices=(first, *answer.choices[1:])))
    if rule.kind != "invalid_utf8":
        return script
    mark = _MARK.encode()
    steps = tuple(Send(s.data.replace(mark, b"\xff\xfe\xc3"), s.content) for s in script.steps if isinstance(s, Send))
    length = None if script.length is None else sum(len(step.data) for step in steps)
    return replace(script, steps=steps, length=length)
