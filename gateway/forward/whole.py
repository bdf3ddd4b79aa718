"""Whole bodies: read to their end, but not waited for when they stop in the middle."""

from __future__ import annotations

import asyncio

import aiohttp

from gateway.forward.failures import failed
from gateway.forward.transport import Transport, abort
from router_core.outcome import FailureKind
from router_core.ports import Call


async def read_whole(transport: Transport, response: aiohttp.ClientResponse, call: Call, first: bytes = b"") -> bytes:
    """Return the whole body, which begins with ``first``. Raises ``AttemptFailed``; the socket is closed then.

    Silence within an answer that has begun is bounded by ``call.stall_s``. Blank lines are no beginning: some hosts
    send them for as long as the model works.
    """
    if call.stall_s is None:
        return first + await transport.read(response, call.body_bytes)
    clock = asyncio.get_running_loop()
    parts, size, begun = [first], len(first), bool(first.strip())
    try:
        async with asyncio.timeout(call.stall_s if begun else None) as watch:
            while not response.content.at_eof() and (part := await transport.read_some(response)):
                parts.append(part)
                size += len(part)
                if size > call.body_bytes:
                    abort(response)
                    msg = f"the provider's answer is larger than {call.body_bytes} bytes"
                    raise failed(FailureKind.PROTOCOL, msg, status=response.status)
                begun = begun or bool(part.strip())
                if begun and not response.content.at_eof():
                    watch.reschedule(clock.time() + call.stall_s)
    except TimeoutError as exc:
        msg = "the provider stopped in the middle of its answer"
        raise failed(FailureKind.TIMEOUT, msg, status=response.status) from exc
    return b"".join(parts)
