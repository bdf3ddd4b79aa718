"""Reading a request's body: counted as it comes, within a time limit, identity encoding only."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.disconnect import Message, Receive
from gateway.http.errors import ApiError
from gateway.http.wire import too_large
from router_core.policy import InputLimits

_ABOUT_THE_BODY: Final = frozenset({b"content-length", b"content-encoding", b"transfer-encoding", b"content-type"})
_JSON: Final = (b"application/json", b"text/json")


class ClientGone(Exception):
    """The client left before its body was whole."""


def check_headers(headers: list[tuple[bytes, bytes]], limits: InputLimits) -> None:
    """Refuse a declared length over the limit, an encoded body, a content type that is not JSON, a flood of headers."""
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
        if name not in _ABOUT_THE_BODY:
            continue
        if name == b"content-length" and value.isdigit() and int(value[:20]) > limits.body_bytes:
            raise too_large(limits.body_bytes)
        if name == b"content-encoding" and value.strip().lower() not in {b"identity", b""}:
            raise ApiError(415, "an encoded request body is not accepted", "unsupported_encoding", should_retry=False)
        if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise ApiError(415, "an encoded request body is not accepted", "unsupported_encoding", should_retry=False)
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            if kind and kind not in _JSON and not kind.endswith(b"+json"):
                msg = "the request body must be JSON, with the header content-type: application/json"
                raise ApiError(415, msg, "unsupported_media_type", should_retry=False)
    if size > limits.header_bytes:
        raise ApiError(431, "the request's headers are too large", "headers_too_large", should_retry=False)


async def read_body(receive: Receive, limits: InputLimits, *, whole: bool = False) -> bytes:
    """Return the whole body; raises ApiError 413 or 408, and ClientGone. ``whole``: all of it is there already."""
    message = await receive() if whole else await _first(receive, limits.body_timeout_s)
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limits.body_bytes:
            raise too_large(limits.body_bytes)
        return body
    parts, size = [body], len(body)
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            while message.get("more_body"):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                part = message.get("body", b"")
                size += len(part)
                if size > limits.body_bytes:
                    raise too_large(limits.body_bytes)
                parts.append(part)
    except TimeoutError as exc:
        raise _slow() from exc
    return b"".join(parts)


async def _first(receive: Receive, timeout_s: float) -> Message:
    try:
        async with asyncio.timeout(timeout_s):
            return await receive()
    except TimeoutError as exc:
        raise _slow() from exc


def _slow() -> ApiError:
    return ApiError(408, "the request body did not arrive in time", "request_timeout", should_retry=True)
