"""An address or a method that is not here: an SDK shows its user little but the message, so it says what to use.

The usual faults are a ``base_url`` without ``/v1`` or with two of them, a slash at the end, and an endpoint of OpenAI's
that this gateway does not have.
"""

from __future__ import annotations

from typing import Final

from gateway.http.errors import ApiError

_MOST: Final = 100
_CHAT: Final = "POST /v1/chat/completions"
_MEANT: Final = (
    ("/chat/completions", _CHAT),
    ("/models", "GET /v1/models"),
    ("/route", "POST /v1/route"),
    ("/feedback", "POST /v1/feedback"),
)
_OPENAIS: Final = frozenset(
    {
        "assistants",
        "audio",
        "batches",
        "chat",
        "completions",
        "containers",
        "conversations",
        "embeddings",
        "evals",
        "files",
        "fine_tuning",
        "images",
        "messages",
        "moderations",
        "realtime",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    }
)
"""First words of addresses of OpenAI's API (and Anthropic's ``messages``), which clients ask for as they know it."""


def no_such_address(method: str, path: str) -> ApiError:
    """Return the 404 for an address that is not here."""
    shown, code = _shown(method, path), "not_found"
    words = [word for word in path.lower().split("/") if word]
    plain = "/" + "/".join(words)
    meant = next((use for tail, use in _MEANT if plain.endswith(tail)), None)
    first = next((word for word in words if word != "v1"), "")
    if meant is not None:
        advice = f"use {meant} (the base_url of an OpenAI client is http://HOST:PORT/v1)"
    elif first in _OPENAIS:
        advice, code = f"not supported; use {_CHAT}", "not_supported"
    else:
        advice = f"OpenAI's API is {_CHAT} and GET /v1/models, the dashboard is at /dashboard"
    return ApiError(404, f"there is no {shown}: {advice}", code, should_retry=False)


def wrong_method(method: str, path: str, allowed: str) -> ApiError:
    """Return the 405 for an address that is here, but not for this method."""
    message = f"there is no {_shown(method, path)}: use {allowed or 'another method'}"
    headers = {"allow": allowed} if allowed else {}
    return ApiError(405, message, "method_not_allowed", headers=headers, should_retry=False)


def _shown(method: str, path: str) -> str:
    """Return what was asked for as it may be echoed: short and printable."""
    text = "".join(char for char in path[: _MOST + 1] if char.isascii() and char.isprintable())
    return f"{method[:20]} {text if len(path) <= _MOST else text[:_MOST] + '…'}"
