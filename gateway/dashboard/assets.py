"""The dashboard's files, read once. A path that is not one of them does not exist: nothing is looked up on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    "": "text/plain; charset=utf-8",
}

HEADERS: Final = MappingProxyType(
    {
        "content-security-policy": (
            "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "no-cache",
    }
)
"""Sent with every file: nothing from elsewhere, nothing inline, in nobody's frame; kept, but asked for again."""


class Asset(NamedTuple):
    """One file: its bytes, its type, and a tag that changes with it."""

    body: bytes
    content_type: str
    etag: str


def load() -> dict[str, Asset]:
    """Return all files by their path below the dashboard's address."""
    found: dict[str, Asset] = {}
    for path in sorted(_STATIC.rglob("*")):
        if path.is_file() and path.suffix in _TYPES:
            body = path.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            found[path.relative_to(_STATIC).as_posix()] = Asset(body, _TYPES[path.suffix], etag)
    return found
