"""Who is calling: decided from the headers alone, before a byte of the body is read.

Judged on ``scope["path"]`` and the Authorization header, never on a URL rebuilt from Host. Without any key configured a
loopback gateway is open, and Host must then name the loopback (DNS rebinding); so must Origin, where a browser sends
one, or any page its user has open could spend money here and change settings (cross-site request forgery).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final

from fastapi import Depends, Request

from gateway.http.errors import ApiError
from gateway.keys import ANONYMOUS, KeyRing, Principal

_LOOPBACK: Final = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_KEYS: Final = frozenset({b"authorization", b"x-api-key", b"api-key"})
"""The headers a key may come in."""
_LOCAL_HOST: Final = "Host must be localhost, 127.0.0.1 or [::1]"
_LOCAL_PAGE: Final = "a page from elsewhere may not use it"
_BAD_KEY: Final = "the API key is missing or not valid"


def token_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the bearer token, or None: absent, twice, or of another scheme."""
    found: bytes | None = None
    for name, value in headers:
        if name not in _KEYS:
            continue
        if name == b"authorization":
            if found is not None:
                return None
            scheme, _, token = value.partition(b" ")
            found = token.strip() if scheme.lower() == b"bearer" else b""
        elif found is None:
            found = value.strip()
    return found


def authenticate(headers: list[tuple[bytes, bytes]], keys: KeyRing, *, open_host: bool = False) -> Principal:
    """Return who is calling; raises ApiError 401, or 403 for a foreign Host or Origin on an open gateway."""
    if keys.empty:
        if not open_host:
            check_host(headers)
        return ANONYMOUS
    principal = keys.authenticate(token_of(headers))
    if principal is None:
        raise ApiError(401, _BAD_KEY, "invalid_api_key", should_retry=False, headers={"www-authenticate": "Bearer"})
    return principal


def check_host(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse a request without a Host that names the loopback, and one from a web page that came from elsewhere."""
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if _LOOPBACK.fullmatch(value) is None:
                raise _foreign(_LOCAL_HOST, "forbidden_host")
        elif name == b"origin" and _LOOPBACK.fullmatch(value.partition(b"://")[2]) is None:
            raise _foreign(_LOCAL_PAGE, "forbidden_origin")
    if hosts != 1:
        raise _foreign(_LOCAL_HOST, "forbidden_host")


def _foreign(why: str, code: str) -> ApiError:
    return ApiError(403, f"this gateway is open to its own machine only; {why}", code, should_retry=False)


def principal(request: Request) -> Principal:
    """Return the caller of a browsed route (FastAPI dependency); the hot route calls ``authenticate`` itself."""
    services = request.app.state.services
    return authenticate(request.scope["headers"], services.keys, open_host=services.settings.allow_open)


def client(request: Request) -> Principal:
    """Return a caller that may send requests; a metrics key may not."""
    return require_client(principal(request))


def require_client(found: Principal) -> Principal:
    """Refuse a key that is for metrics only."""
    if found.metrics and not found.admin:
        raise ApiError(403, "a metrics key may only read metrics", "permission_denied", should_retry=False)
    return found


def admin(request: Request) -> Principal:
    """Return the caller of an operator's route; anybody but an admin gets 403."""
    found = principal(request)
    if not found.admin:
        raise ApiError(403, "this needs an admin key", "permission_denied", should_retry=False)
    return found


Client = Annotated[Principal, Depends(client)]
"""A caller that may send requests; what browsed routes ask for."""

Admin = Annotated[Principal, Depends(admin)]
"""An operator; what the operator's routes ask for."""
