"""Where a call goes: a URL taken apart once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlsplit

from gateway.forward.http1.errors import InvalidAddress

Origin = tuple[bool, str, int]
"""(whether TLS is spoken, host, port): what connections are kept for."""

_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[\w.:%-]+", re.ASCII)
_AS_WRITTEN: Final = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Target:
    """``text`` is the URL as written, ``path`` what stands in the request line, ``host`` the value of ``Host``."""

    text: str
    origin: Origin
    path: str
    host: str

    def __str__(self) -> str:
        """Return the URL as written."""
        return self.text


@lru_cache(maxsize=1024)
def target(text: str) -> Target:
    """Return a URL's parts; a character that no URL may hold is quoted. Raises ``InvalidAddress``."""
    try:
        parts = urlsplit(text)
        port, host = parts.port, (parts.hostname or "").encode("idna").decode()
    except ValueError as exc:
        raise InvalidAddress from exc
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host):
        raise InvalidAddress
    usual = _PORTS[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    path = quote(parts.path or "/", safe=_AS_WRITTEN)
    if parts.query:
        path += "?" + quote(parts.query, safe=_AS_WRITTEN)
    return Target(
        text,
        (parts.scheme == "https", host, port or usual),
        path,
        shown if port in {None, usual} else f"{shown}:{port}",
    )
