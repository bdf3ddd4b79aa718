"""Addresses inside messages. litellm would fetch some of them, from our machine: they are refused before it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from router_core.errors import AttemptFailed
from router_core.outcome import Failure, FailureKind

_DEPTH: Final = 5


_IMAGES: Final = frozenset({"image_url", "video_url", "input_image"})


def images_by(prefix: str) -> Callable[[str, str], bool]:
    """Allow addresses that begin with ``prefix`` in image parts: the provider fetches those, not we."""
    return lambda kind, address: kind in _IMAGES and address.startswith(prefix)


def refuse_remote_media(messages: Any, allowed: Callable[[str, str], bool]) -> None:
    """Raise ``AttemptFailed`` if any part of a message's content other than text holds an address that is not allowed.

    ``allowed`` is asked with the part's type and the address. Data URLs hold no ``://`` and pass.
    """
    if not isinstance(messages, list):
        return
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        for field in ("content", "images"):
            parts = message.get(field)
            if not isinstance(parts, list):
                continue
            for index, part in enumerate(parts):
                if not isinstance(part, dict) or part.get("type") == "text":
                    continue
                if _remote(part, str(part.get("type")), allowed, _DEPTH):
                    raise _refused(number, field, index)


def _remote(value: Any, kind: str, allowed: Callable[[str, str], bool], depth: int) -> bool:
    if isinstance(value, str):
        return ("://" in value or value.startswith("www.")) and not allowed(kind, value)
    if depth == 0:
        return bool(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_remote(one, kind, allowed, depth - 1) for one in inner)


def _refused(number: int, field: str, index: int) -> AttemptFailed:
    message = "this model takes images and files as data URLs only; nothing is fetched on a caller's behalf"
    return AttemptFailed(
        Failure(
            FailureKind.INVALID_REQUEST,
            message,
            status=400,
            code="remote_media_not_supported",
            param=f"messages[{number}].{field}[{index}]",
            type="invalid_request_error",
            sent=False,
        )
    )
