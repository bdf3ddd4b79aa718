"""``GET /v1/models``: every name the caller may ask for."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from gateway.http.answers import answer
from gateway.http.auth import Client
from gateway.http.errors import ApiError
from gateway.http.unknown import no_such_address
from gateway.keys import Principal

router = APIRouter(tags=["models"])
_CREATED: Final = 1_767_225_600


@router.get("/v1/models")
async def models(request: Request, caller: Client) -> Response:
    """List every name the caller may ask for: aliases, routes, models, deployments."""
    return answer({"object": "list", "data": _models(request, caller)})


@router.get("/v1/models/{name:path}")
async def model(name: str, request: Request, caller: Client) -> Response:
    """Return one name the caller may ask for."""
    if not name:
        raise no_such_address(request.method, request.scope["path"])
    for row in _models(request, caller):
        if row["id"] == name:
            return answer(row)
    message = "there is no such model; GET /v1/models lists those there are"
    raise ApiError(404, message, "model_not_found", "model", should_retry=False)


def _models(request: Request, caller: Principal) -> list[dict[str, Any]]:
    registry = request.app.state.services.config.current.registry
    usable = {
        deployment.id
        for deployment in registry.deployments.values()
        if deployment.enabled
        and deployment.callable
        and (caller.allowed_models is None or not deployment.names.isdisjoint(caller.allowed_models))
    }
    return [
        {"id": entry.id, "object": "model", "created": _CREATED, "owned_by": entry.owned_by, "kind": entry.kind}
        for entry in registry.models()
        if not usable.isdisjoint(entry.deployments)
    ]
