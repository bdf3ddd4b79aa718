"""``POST /v1/route`` and ``GET /v1/decisions/{id}``: a decision without a call, and a past one with its outcome."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from gateway import shadow
from gateway.http.answers import answer
from gateway.http.auth import Client
from gateway.http.body import check_headers, read_body
from gateway.http.errors import ApiError
from gateway.http.headers import new_request_id, read_hints
from gateway.http.wire import parse_chat
from gateway.prepare import prepare
from gateway.recorder import KIND
from gateway.refusals import no_candidate
from gateway.stages import alone
from gateway.store_errors import StoreError
from router_core.compact import expanded
from router_core.record import to_record

router = APIRouter(tags=["decisions"])


@router.post("/v1/route")
async def route(request: Request, caller: Client) -> Response:
    """Decide as chat would, call nobody, and answer with the whole decision."""
    services = request.app.state.services
    started = services.steady()
    headers = request.scope["headers"]
    limits = services.config.current.policy.limits
    check_headers(headers, limits)
    chat = parse_chat(await read_body(request.receive, limits), limits)
    hints = read_hints(headers, chat.own, caller.default_hints, caller.default_policy)
    services.learner.settle()
    ctx = alone(prepare(services, chat, hints, caller, new_request_id(), started))
    record = {"object": "router.decision", "id": ctx.decision_id, **to_record(ctx.routing, ctx.decision)}
    if ctx.decision.chosen is None:
        error = no_candidate(ctx.decision)
        error.extra = {**error.extra, "router": record}
        raise error
    return answer(record)


@router.get("/v1/decisions/{name}")
async def decision(name: str, request: Request, caller: Client) -> Response:
    """Return a past decision, what became of it, and how it compared, if it was; a key sees its own, an admin all."""
    services = request.app.state.services
    missing = ApiError(404, "there is no such decision (yet)", "decision_not_found", "id", retry_after_s=1.0)
    if services.ids.made_at(name) is None:
        raise missing
    recorded = services.recorder.find(name)
    document = recorded.data if recorded is not None else await _stored(services, KIND, name)
    record = None if document is None else orjson.loads(document)
    if record is None or (record["key_id"] != caller.key_id and not caller.admin):
        raise missing
    record = expanded(record)
    compared = await _stored(services, shadow.KIND, name)
    if compared is not None:
        record["shadow"] = orjson.Fragment(compared)
    return Response(orjson.dumps(record), 200, {"cache-control": "no-store"}, "application/json")


async def _stored(services: Any, kind: str, name: str) -> bytes | None:
    try:
        found: bytes | None = await services.store.get(kind, name)
    except StoreError:
        return None
    return found
