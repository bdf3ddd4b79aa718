"""What a provider's error body says, whatever its vendor's shape: one reader for all of them.

Shapes, with the pages they were read from (checked 2026-11-23):
OpenAI, Azure   {"error": {"message", "type", "param", "code", "innererror": {"code"}}}
Anthropic       {"type": "error", "error": {"type", "message"}}
Gemini, Vertex  {"error": {"code": 429, "message", "status", "details": [{"@type", "retryDelay", "reason"}]}}, or a list
Mistral, vLLM   {"object": "error", "message", "type", "param", "code"} and {"detail": [{"loc", "msg", "type"}]}
watsonx         {"errors": [{"code", "message"}]}
Cohere, AWS     {"message"}; Ollama {"error": "text"}; xAI {"code": "text", "error": "text"}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.chunks import joined
from gateway.secrets import scrub

MAX_MESSAGE: Final = 2000
_MAX_NAME: Final = 200
_NOWHERE: Final = "[address]"

# Addresses: URLs, then host:port and bare IPv4. Documentation links go with them: a base URL cannot be told from one.
_ADDRESSES: Final = re.compile(
    r"\b[a-z][a-z0-9+.\-]{1,12}://[^\s\"'<>)\]]+|\b(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?\b|\blocalhost:\d{1,5}\b",
    re.IGNORECASE,
)
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Words:
    """What was said; all of it scrubbed and bounded. ``status`` is a status the body itself names."""

    message: str = ""
    type: str | None = None
    code: str | None = None
    param: str | None = None
    status: int | None = None
    retry_after_s: float | None = None
    hints: str = ""
    """All names of reasons the body gives, lower case, for matching."""


def clean(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return text that may be shown: no secrets, addresses or control characters, at most ``limit`` characters."""
    cut = joined((text[: limit * 2],))
    return scrub(_ADDRESSES.sub(_NOWHERE, _CONTROLS.sub(" ", cut))).strip()[:limit]


def read_words(body: object) -> Words:
    """Read a parsed error body; anything unexpected reads as no words at all."""
    if isinstance(body, list):
        body = body[0] if body else None
    if not isinstance(body, Mapping):
        return Words(message=clean(body)) if isinstance(body, str) else Words()
    error = body.get("error")
    if error is None and (several := _list(body.get("errors"))):
        error = several[0]
    if isinstance(error, Mapping):
        outer: Mapping[str, Any] = error
    elif isinstance(error, str):
        outer = {"message": error, "code": body.get("code"), "type": body.get("type")}
    else:
        outer = body
    details = [row for row in _list(outer.get("details")) if isinstance(row, Mapping)]
    code, kind = outer.get("code"), outer.get("type") or outer.get("status")
    message, param = outer.get("message"), outer.get("param")
    if not message and "detail" in body:
        message, param = _detail(body["detail"])
    if isinstance(message, list | Mapping):
        message, param = _detail(message.get("detail") if isinstance(message, Mapping) else message)
    return Words(
        message=clean(message) if isinstance(message, str) else "",
        type=_name(kind),
        code=_name(code) if not _number(code) else None,
        param=_name(param),
        status=_number(code) or _number(outer.get("status")),
        retry_after_s=next((wish for row in details if (wish := _seconds(row.get("retryDelay"))) is not None), None),
        hints=" ".join(_hints(outer, details)).lower(),
    )


def _hints(outer: Mapping[str, Any], details: list[Mapping[str, Any]]) -> Iterator[str]:
    for key in ("code", "type", "status"):
        if isinstance(outer.get(key), str):
            yield outer[key]
    inner: object = outer.get("innererror") or outer.get("inner_error")
    for _ in range(3):
        if not isinstance(inner, Mapping):
            break
        if isinstance(inner.get("code"), str):
            yield inner["code"]
        inner = inner.get("innererror")
    for row in details:
        if isinstance(row.get("reason"), str):
            yield row["reason"]


def _detail(detail: object) -> tuple[str, str | None]:
    """Return message and field of FastAPI's validation errors, which vLLM, Mistral and many hosts send."""
    if isinstance(detail, str):
        return detail, None
    rows = [row for row in _list(detail) if isinstance(row, Mapping)]
    if not rows:
        return "", None
    places = [".".join(str(part) for part in _list(row.get("loc")) if part != "body") for row in rows]
    message = "; ".join(f"{place}: {row.get('msg')}" for place, row in zip(places, rows, strict=True))
    return message, places[0] or None


def _name(value: object) -> str | None:
    return clean(value, _MAX_NAME) if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isdigit() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599 else None


def _seconds(value: object) -> float | None:
    """Read a protobuf duration such as ``34.07s``."""
    if not isinstance(value, str) or not value.endswith("s"):
        return None
    try:
        return max(0.0, float(value[:-1]))
    except ValueError:
        return None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
