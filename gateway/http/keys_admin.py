"""``/admin/keys``: virtual keys, managed with an admin key. A token is in one answer only: the one that made it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from gateway.http.answers import answer
from gateway.http.auth import Admin
from gateway.http.body import check_headers, read_body
from gateway.http.errors import ApiError, invalid
from gateway.http.wire import parse_object
from gateway.key_record import KeyAdmin, UnknownKey
from gateway.store_errors import StoreError
from router_core.errors import ConfigError

router = APIRouter(prefix="/admin/keys", tags=["admin"])

_BODY_BYTES: Final = 64 * 1024


@router.get("")
async def list_keys(request: Request, _: Admin) -> Response:
    """Return all keys, revoked ones included, without any token or hash."""
    records = await _run(request, lambda admin: admin.list())
    return answer({"object": "list", "data": [record.shown() for record in records]})


@router.post("")
async def create_key(request: Request, _: Admin) -> Response:
    """Make a key; the answer holds its token, this once."""
    wishes = await _body(request)
    record, token = await _run(request, lambda admin: admin.create(wishes))
    return answer({**record.shown(), "token": token})


@router.post("/{key_id}")
async def update_key(key_id: str, request: Request, _: Admin) -> Response:
    """Change what a key allows."""
    wishes = await _body(request)
    record = await _run(request, lambda admin: admin.update(key_id, wishes))
    return answer(record.shown())


@router.post("/{key_id}/rotate")
async def rotate_key(key_id: str, request: Request, _: Admin) -> Response:
    """Give a key a new token; ``grace_s`` in the body keeps the old one good for so many seconds."""
    wishes = await _body(request)
    grace = wishes.pop("grace_s", 0.0)
    if wishes or isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0.0 <= grace <= 30 * 86_400.0:
        msg = "the body may hold grace_s, seconds within 0 and 2592000"
        raise invalid(msg, "grace_s", "invalid_value")
    record, token = await _run(request, lambda admin: admin.rotate(key_id, grace_s=float(grace)))
    return answer({**record.shown(), "token": token})


@router.delete("/{key_id}")
async def revoke_key(key_id: str, request: Request, _: Admin) -> Response:
    """End a key; it stops everywhere within a second."""
    record = await _run(request, lambda admin: admin.revoke(key_id))
    return answer(record.shown())


async def _run(request: Request, work: Callable[[KeyAdmin], Awaitable[Any]]) -> Any:
    """Carry one action out, and let this worker see it at once."""
    services = request.app.state.services
    try:
        result = await work(KeyAdmin(services.store))
        await services.keys.reload(services.store)
    except UnknownKey as exc:
        raise ApiError(404, str(exc.args[0]), "key_not_found", should_retry=False) from exc
    except ConfigError as exc:
        message = str(exc)
        raise invalid(message, message.partition(":")[0], "invalid_value") from exc
    except StoreError as exc:
        raise ApiError(503, "the state store is away", "store_unavailable", retry_after_s=1.0) from exc
    return result


async def _body(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object; an empty one is an empty object."""
    limits = replace(request.app.state.services.config.current.policy.limits, body_bytes=_BODY_BYTES)
    check_headers(request.scope["headers"], limits)
    raw = await read_body(request.receive, limits)
    return parse_object(raw, limits) if raw.strip() else {}
