"""Turn an answer and a fault rule into a script of what goes over the wire. Pure: no socket, no clock."""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import lru_cache
from typing import Final

import orjson

from gateway.demo.answer import Answer
from gateway.demo.ask import Ask, Complaint
from gateway.demo.complaints import COMPLAINTS, kind_for
from gateway.demo.faults import CONDITIONAL, FaultRule
from gateway.demo.script import Drip, End, Repeat, Script, Send, Step, Wait
from gateway.demo.wire import Event, Wire

JSON_TYPE: Final = "application/json"
SSE_TYPE: Final = "text/event-stream; charset=utf-8"
_MARK: Final = "\ue000"  # a private character that stands where bytes are put that are no UTF-8
_HUGE_BYTES: Final = 8 << 20
_BOMB_BYTES: Final = 256 << 20
_SHORT_BY: Final = 64
_SLOW_S: Final = 20.0
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
    return _reply(complaint.status, orjson.dumps(wire.complain(complaint)), headers | (extra or {}))


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
        steps, end = _broken_stream(rule, wire, good)
        return replace(good, steps=steps, end=end)
    return _broken_body(rule, wire, good)


# ---- replies that take the answer's place ----


def _complaint(rule: FaultRule, default: str) -> Complaint:
    name = rule.kind if rule.kind in COMPLAINTS else kind_for(rule.status) if rule.status else default
    base = COMPLAINTS[name]
    param = rule.param if rule.param is not None else base.param
    message = rule.message if rule.message is not None else base.message.replace("{param}", str(param))
    code = rule.code if rule.code is not None else base.code
    return Complaint(rule.status or base.status, base.kind, message, code, param, rule.retry_after)


def _status(rule: FaultRule, wire: Wire) -> Script:
    default = {"reject_prefill": "prefill_rejected", "reject_param": "unknown_parameter"}.get(rule.kind, "server_error")
    script = refusal(wire, _complaint(rule, default), rule.headers)
    if rule.body is None:
        return script
    body = rule.body.encode()
    return replace(script, steps=(Send(body),), length=len(body))


def _reply(status: int, body: bytes, headers: dict[str, str]) -> Script:
    return Script(status=status, headers=headers, steps=(Send(body),), length=len(body))


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
    return _reply(rule.status or 502, body, {"Content-Type": "text/html; charset=utf-8"} | rule.headers)


def _redirect(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    del wire, ask, answer
    return _reply(rule.status or 302, b"", {"Location": rule.location} | rule.headers)


def _error_object(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    del ask, answer
    complaint = replace(_complaint(replace(rule, status=None), "server_error"), status=500)
    return _reply(200, orjson.dumps(wire.complain(complaint)), {"Content-Type": JSON_TYPE})


def _empty_body(rule: FaultRule, wire: Wire, ask: Ask, answer: Answer) -> Script:
    del wire, answer
    return _reply(rule.status or 200, b"", {"Content-Type": SSE_TYPE if ask.stream else JSON_TYPE})


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
    return _reply(200, body, {"Content-Type": JSON_TYPE})


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


@lru_cache(maxsize=4)
def bomb(size: int, tail: bytes) -> bytes:
    """Return gzip data that unpacks to about ``size`` bytes of spaces and then ``tail``, in a thousandth of that."""
    block = b" " * (1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush the packer knows nothing of the past: equal input gives equal output, so it is packed once.
    again = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    count = max(size >> 20, 2)
    plain = zlib.compressobj(9, zlib.DEFLATED, -15)
    end = plain.compress(tail) + plain.flush()
    checksum = 0
    for _ in range(count):
        checksum = zlib.crc32(block, checksum)
    checksum = zlib.crc32(tail, checksum)
    length = (count * len(block) + len(tail)) & 0xFFFFFFFF
    return first + again * (count - 1) + end + checksum.to_bytes(4, "little") + length.to_bytes(4, "little")


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


# ---- answers that break on the way ----


def _sends(events: list[Event]) -> tuple[Step, ...]:
    return tuple(Send(event.data, event.content) for event in events)


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


def _broken_stream(rule: FaultRule, wire: Wire, good: Script) -> tuple[tuple[Step, ...], End]:
    """Return the steps and the end of a stream that goes wrong."""
    lead, rest = _split(good.steps, 0)
    head, tail = _split(good.steps, rule.after)
    error = Send(wire.error_event(_complaint(rule, "overloaded" if wire.name == "anthropic" else "server_error")))
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


def _broken_body(rule: FaultRule, wire: Wire, good: Script) -> Script:
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
            return refusal(wire, _complaint(rule, "server_error"))
        case _:
            return good
