"""The translate lane: litellm's provider configs put a call into a provider's words and its answer into OpenAI's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from gateway.forward.answers import as_events, check, parse, worded
from gateway.forward.failures import error_in_success, failed
from gateway.forward.http1.target import Target
from gateway.forward.relay import peek, refuse_errors
from gateway.forward.streams import Decoder, OpenStream, ReadyStream
from gateway.forward.transport import Transport
from router_core.errors import AttemptFailed
from router_core.outcome import FailureKind
from router_core.ports import Answer, Call, Stream

OPENING: Final[Mapping[str, str]] = {"role": "user", "content": "."}
"""What a user says where a vendor needs one and nobody did; litellm's words, for a blank is refused."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call in its provider's words. ``memory`` is what the answer's reader must know of the request."""

    target: Target
    headers: Mapping[str, str]
    body: bytes
    dropped: tuple[str, ...] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)


class Translator(Protocol):
    """One wire, both directions."""

    def request(self, call: Call, key: str | None) -> Prepared:
        """Put a call into the provider's words. Raises ``AttemptFailed`` for what they cannot say."""
        ...

    def answer(self, call: Call, prepared: Prepared, parsed: Any) -> dict[str, Any]:
        """Put a whole answer into OpenAI's shape; ``parsed`` itself if it is in it. Raises ``AttemptFailed``."""
        ...

    def decoder(self, call: Call, prepared: Prepared) -> Decoder:
        """Return a fresh reader for one stream."""
        ...


async def send(transport: Transport, translator: Translator, call: Call, key: str | None) -> Answer | Stream:
    """Make one call. Raises ``AttemptFailed``."""
    prepared = translator.request(call, key)
    headers = {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        **prepared.headers,
        **call.provider.headers,
    }
    response = await transport.post(prepared.target, headers, prepared.body, connect_s=call.connect_s)
    await refuse_errors(transport, response, call)
    status, answered = response.status, response.headers
    if not call.stream:
        raw = await transport.read(response, call.body_bytes, stall_s=call.stall_s)
        body, intact = _whole(translator, call, prepared, raw)
        return Answer(body, intact, status, answered, prepared.dropped)
    first = await peek(transport, response, call)
    if isinstance(first, bytes):
        decoder = translator.decoder(call, prepared)
        return OpenStream(
            transport,
            response,
            decoder,
            event_bytes=call.event_bytes,
            first=first,
            dropped_params=prepared.dropped,
        )
    body, _ = _whole(translator, call, prepared, first.whole)
    return ReadyStream(as_events(body), status=status, headers=answered, dropped_params=prepared.dropped)


def _whole(translator: Translator, call: Call, prepared: Prepared, raw: bytes) -> tuple[dict[str, Any], bytes | None]:
    """Return the answer in OpenAI's shape, and its own bytes where they already are in it."""
    parsed, valid = parse(raw)
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if error:
        raise AttemptFailed(error_in_success(error))
    try:
        body = translator.answer(call, prepared, parsed)
    except AttemptFailed:
        raise
    except Exception as exc:
        # litellm's readers raise whatever their first missing key raises
        raise failed(FailureKind.PROTOCOL, "the provider's answer cannot be read", status=200) from exc
    intact = not worded(check(body)) and body is parsed and valid
    return body, raw if intact else None


def copy_of(value: Any) -> Any:
    """Return a deep copy of JSON data: litellm changes what it is given."""
    return orjson.loads(orjson.dumps(value))


def drops(call: Call) -> bool:
    """Say whether parameters may be dropped: the caller has weighed the provider's setting and the client's."""
    return call.drop_params
