"""litellm's exceptions -> ``Failure``: by class where that tells, by the provider's own status and words otherwise.

Facts of litellm 1.106: refused, reset and unreadable answers all come as a 500, so the chain of causes is asked first;
what breaks in mid-stream hides in ``original_exception``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import aiohttp
import httpx
import orjson

from gateway.forward.exceptions import from_exception
from gateway.forward.failures import from_response
from gateway.forward.http1.errors import Disconnected
from gateway.forward.words import clean
from router_core.outcome import Failure, FailureKind

K = FailureKind

BY_CLASS: Final[tuple[tuple[str, FailureKind, str], ...]] = (
    ("ContextWindowExceededError", K.CONTEXT_OVERFLOW, "context_length_exceeded"),
    ("ContentPolicyViolationError", K.CONTENT_FILTER, "content_filter"),
    ("PaymentRequiredError", K.BILLING, ""),
    ("UnsupportedParamsError", K.INVALID_REQUEST, "unsupported_parameter"),
    ("APIResponseValidationError", K.PROTOCOL, ""),
    ("Timeout", K.TIMEOUT, ""),
)
"""Classes that say more than their status, children before parents."""

_UNREADABLE: Final = "Error converting to valid response"
_NO_CONNECTION: Final = (httpx.ConnectError, httpx.ConnectTimeout, aiohttp.ClientConnectorError)
_CUT: Final = (
    httpx.RemoteProtocolError,
    httpx.ReadError,
    httpx.WriteError,
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientOSError,
    aiohttp.ClientPayloadError,
    ConnectionError,
)


def from_litellm(exc: BaseException, *, added: frozenset[str] = frozenset(), streaming: bool = False) -> Failure:
    """Judge an exception of litellm's. ``streaming`` says that the answer had begun: a cut is then a broken stream."""
    inner = getattr(exc, "original_exception", None)
    if isinstance(inner, BaseException):
        exc = inner
    status = getattr(exc, "status_code", None)
    status = status if isinstance(status, int) and 100 <= status <= 599 else None
    if status is None or status >= 500:
        found = _by_cause(exc, streaming=streaming)
        if found is not None:
            return found
    if status is not None and _UNREADABLE in str(exc):
        return Failure(K.PROTOCOL, "the provider's answer cannot be read", status=200)
    for name, kind, code in BY_CLASS:
        if any(base.__name__ == name for base in type(exc).__mro__):
            said = _by_words(exc, status or 400, added)
            return replace(said, kind=kind, code=said.code or code or None)
    if status is None:
        message = "the provider's stream broke" if streaming else "the provider's answer cannot be read"
        return Failure(K.STREAM_BROKEN if streaming else K.PROTOCOL, message)
    return _by_words(exc, status, added)


def _by_cause(exc: BaseException, *, streaming: bool) -> Failure | None:
    for cause in _chain(exc):
        if isinstance(cause, _NO_CONNECTION):
            return Failure(K.CONNECT, "the provider refused the connection", sent=False)
        if isinstance(cause, _CUT):
            kind = K.STREAM_BROKEN if streaming else K.CONNECT
            return replace(from_exception(Disconnected()), kind=kind)
        if isinstance(cause, httpx.TimeoutException | TimeoutError):
            return Failure(K.TIMEOUT, "the provider did not answer in time")
        if isinstance(cause, json.JSONDecodeError | orjson.JSONDecodeError):
            return Failure(K.PROTOCOL, "the provider's answer is not JSON", status=200)
    return None


def _by_words(exc: BaseException, status: int, added: frozenset[str]) -> Failure:
    """Judge by the body litellm wrapped into its message, as if it had come straight."""
    headers = getattr(exc, "litellm_response_headers", None) or getattr(getattr(exc, "response", None), "headers", None)
    text = str(getattr(exc, "message", None) or exc)
    body = _body(exc, text)
    if body is None and status >= 500:
        body = b""  # litellm's own words, not the provider's
    if body is None:
        body = orjson.dumps({"error": {"message": _plain(text), "code": getattr(exc, "code", None)}}, default=str)
    return from_response(status, headers if isinstance(headers, Mapping) else {}, body, added=added)


def _body(exc: BaseException, text: str) -> bytes | None:
    body = getattr(exc, "body", None)
    if isinstance(body, Mapping) and body:
        return orjson.dumps({"error": dict(body)} if "error" not in body else dict(body), default=str)
    start = text.find("{")
    if start < 0:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(text[start:])
    except ValueError:
        return None
    return orjson.dumps(found, default=str) if isinstance(found, dict) else None


def _plain(text: str) -> str:
    """Return litellm's message without its class names."""
    while text.startswith("litellm.") and ": " in text:
        text = text.split(": ", 1)[1]
    head, dash, rest = text.partition(" - ")
    if dash and head.endswith("Exception"):
        text = rest
    return "" if "litellm" in text.lower() else clean(text)


def _chain(exc: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
