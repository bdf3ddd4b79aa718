"""A provider's answer that is no success -> ``Failure``, by the table in ``failure_table``.

Messages are the provider's words, scrubbed and bounded; they never name an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import orjson

from gateway.forward.failure_table import BY_NAME, BY_STATUS, GATEWAY, RULES
from gateway.forward.retry_after import reset_s, retry_after_s, spoken_s
from gateway.forward.words import Words, clean, read_words
from router_core.errors import AttemptFailed
from router_core.outcome import Failure, FailureKind

__all__ = ["broken", "error_in_success", "failed", "from_error_event", "from_response"]

K = FailureKind

_PREFILL: Final = ("prefill", "must end with a user message", "last message must", "final assistant", "last role")


def failed(kind: FailureKind, message: str, *, status: int | None = None, sent: bool = True) -> AttemptFailed:
    """Return the exception for a failure in our own words."""
    return AttemptFailed(Failure(kind, message, status=status, sent=sent))


def broken(message: str) -> AttemptFailed:
    """Return the exception for a stream that broke."""
    return failed(K.STREAM_BROKEN, message)


def from_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    added: frozenset[str] = frozenset(),
    now: float | None = None,
) -> Failure:
    """Judge an answer that is not a success, or a success that carries an error object.

    ``added`` names what the gateway put into the request (``stream_options``, ``max_tokens``, ``prefill``, …): a
    refusal that names one of them is ours. ``now`` is wall-clock seconds, for dates in Retry-After.
    """
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        message = f"the provider answered with a redirect ({status}), which is not followed"
        return Failure(K.PROTOCOL, message, status=status, redirect=True)
    words = _words(status, body)
    failure = _judge(status, words, added)
    wish = retry_after_s(headers, now=now)
    if wish is None:
        wish = words.retry_after_s
    if wish is None and failure.kind is K.RATE_LIMITED:
        wish = spoken_s(words.message) or reset_s(headers, now=now)
    return failure if wish is None else replace(failure, retry_after_s=wish)


def from_error_event(event: object, *, added: frozenset[str] = frozenset()) -> Failure:
    """Judge an error inside a stream or inside a 200: by the status or the name it gives, else as a server error."""
    words = read_words(event)
    status = words.status or next((BY_NAME[name] for name in words.hints.split() if name in BY_NAME), 500)
    failure = _judge(status, words, added)
    wish = words.retry_after_s
    if wish is None and failure.kind is K.RATE_LIMITED:
        wish = spoken_s(words.message)
    return failure if wish is None else replace(failure, retry_after_s=wish)


def error_in_success(error: object, *, added: frozenset[str] = frozenset()) -> Failure:
    """Judge an answer that says 200 and holds an error: nonsense (``protocol``), unless it says clearly which error."""
    found = from_error_event({"error": error}, added=added)
    if found.kind in {K.SERVER, K.TIMEOUT, K.INVALID_REQUEST, K.CONFLICT}:
        message = found.message or "no words"
        return Failure(
            K.PROTOCOL, f"the provider answered 200 with an error: {message}"[:2000], 200, found.code, found.param
        )
    return found


def _words(status: int, body: bytes) -> Words:
    try:
        return read_words(orjson.loads(body))
    except orjson.JSONDecodeError:
        pass
    text = body[:8000].decode("utf-8", "replace").strip()
    if not text or text.startswith("<") or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Words()
    return Words(message=clean(text))


def _judge(status: int, words: Words, added: frozenset[str]) -> Failure:
    kind = _kind(status, words)
    ours = _ours(words, added) if kind in {K.INVALID_REQUEST, K.CONTEXT_OVERFLOW} else None
    message = words.message or _phrase(status)
    code = words.code
    if kind is K.CONTEXT_OVERFLOW and code is None:
        code = "context_length_exceeded"
    if kind is K.CONTENT_FILTER and code is None:
        code = "content_filter"
    return Failure(
        kind,
        message,
        status=status,
        code=code,
        param=words.param,
        type=words.type,
        gateway=status in GATEWAY,
        ours=ours,
    )


def _kind(status: int, words: Words) -> FailureKind:
    names = words.hints.split()
    message = words.message.lower()
    for rule in RULES:
        if status not in rule.statuses:
            continue
        if any(code in names for code in rule.codes):
            return rule.kind
        # Gemini speaks of quota and billing when a minute's share is used up too; then it says how long to wait.
        waits = rule.kind is K.BILLING and words.retry_after_s is not None
        if not waits and any(phrase in message for phrase in rule.phrases):
            return rule.kind
    found = BY_STATUS.get(status)
    if found is not None:
        return found
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return K.SERVER
    return K.INVALID_REQUEST if status >= HTTPStatus.BAD_REQUEST else K.PROTOCOL


def _ours(words: Words, added: frozenset[str]) -> str | None:
    """Return the added parameter that a refusal is about, or None."""
    param, message = (words.param or "").lower(), words.message.lower()
    for name in sorted(added - {"prefill"}, key=len, reverse=True):
        if param.split(".")[0] == name or name in message or (name == "stream_options" and "include_usage" in message):
            return name
    if "prefill" in added and any(sign in message for sign in _PREFILL):
        return "prefill"
    return None


def _phrase(status: int) -> str:
    try:
        return f"the provider answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"the provider answered {status}"
