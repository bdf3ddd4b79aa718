"""The relay lane: upstreams that speak OpenAI's wire get the client's body and give their answer's own bytes."""

from __future__ import annotations

from typing import Final

from gateway.forward.answers import as_events, check, parse, worded
from gateway.forward.failures import from_response
from gateway.forward.http1.response import Response
from gateway.forward.outgoing import added_by_us, effective_body, encode
from gateway.forward.streams import OpenStream, ReadyStream, RelayDecoder
from gateway.forward.transport import Transport
from gateway.forward.wires import auth_headers, chat_url, wire_of
from router_core.errors import AttemptFailed
from router_core.ports import Answer, Call, Stream

MAX_ERROR_BYTES: Final = 256 * 1024
_ERROR_WITHIN_S: Final = 1.0
"""How long the words of a refusal may take, in s, from its head on."""
_FIELDS: Final = (b"data:", b"event:", b":", b"id:", b"retry:")
_BEGINNINGS: Final = frozenset(field[:length] for field in _FIELDS for length in range(len(field)))
"""What may yet become a field, nothing included."""


async def send(transport: Transport, call: Call, key: str | None) -> Answer | Stream:
    """Make one call. Raises ``AttemptFailed``."""
    wire = wire_of(call.provider.wire)
    body = encode(effective_body(call, usage_option=wire.usage_option))
    headers = {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        **auth_headers(wire.auth, key),
        **call.provider.headers,
    }
    target = chat_url(call.provider, call.deployment)
    response = await transport.post(target, headers, body, connect_s=call.connect_s)
    await refuse_errors(transport, response, call)
    if not call.stream:
        raw = await transport.read(response, call.body_bytes, stall_s=call.stall_s)
        parsed, intact = parse(raw)
        answer = check(parsed, added=added_by_us(call))
        intact = not worded(answer) and intact
        return Answer(answer, raw if intact else None, response.status, response.headers)
    first = await peek(transport, response, call)
    if isinstance(first, bytes):
        decoder = RelayDecoder(added_by_us(call))
        return OpenStream(transport, response, decoder, event_bytes=call.event_bytes, first=first)
    answer = check(parse(first.whole)[0], added=added_by_us(call))
    worded(answer)
    return ReadyStream(as_events(answer), status=response.status, headers=response.headers)


async def refuse_errors(transport: Transport, response: Response, call: Call) -> None:
    """Raise ``AttemptFailed`` unless the status is a success; reads as much of the body as an error can need.

    A body that breaks, stalls or cannot be decoded takes nothing from what the status and the headers say.
    """
    if 200 <= response.status < 300:
        return
    raw = await transport.read_what_comes(response, MAX_ERROR_BYTES, within_s=_ERROR_WITHIN_S)
    raise AttemptFailed(from_response(response.status, response.headers, raw, added=added_by_us(call)))


class Whole:
    """A whole body that came where a stream was asked for."""

    __slots__ = ("whole",)

    def __init__(self, whole: bytes) -> None:
        self.whole = whole


async def peek(transport: Transport, response: Response, call: Call) -> bytes | Whole:
    """Return a stream's first bytes (maybe none yet), or the whole body of what is no stream."""
    if response.content_type == "text/event-stream":
        return b""
    first = await transport.read_some(response)
    while (begun := first.lstrip(b"\xef\xbb\xbf\r\n ")) in _BEGINNINGS:
        more = await transport.read_some(response)
        if not more:
            break
        first += more
    if begun.startswith(_FIELDS):
        return first
    return Whole(await transport.read(response, call.body_bytes, first=first, stall_s=call.stall_s))
