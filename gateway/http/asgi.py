"""The ASGI application: the hot route at once, every browsed route through FastAPI."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.disconnect import Message, Receive
from gateway.http import (
    admin,
    dashboard,
    experiments,
    feedback,
    health,
    keys_admin,
    metrics,
    models,
    not_yet,
    route,
    stats,
)
from gateway.http.chat import ChatEndpoint, Scope, Send
from gateway.http.errors import ApiError
from gateway.http.headers import new_request_id, request_id
from gateway.http.unknown import no_such_address, wrong_method
from gateway.services import Services

_log = logging.getLogger("gateway")
CHAT: Final = "/v1/chat/completions"
_ROUTERS: Final = (models, route, feedback, stats, metrics, dashboard, health, admin, keys_admin, experiments, not_yet)


def browsed(services: Services) -> FastAPI:
    """Return the FastAPI application for everything but the hot route. Its documents need an admin key."""
    app = FastAPI(title="moe-gateway", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.services = services
    for module in _ROUTERS:
        app.include_router(module.router)

    async def render(request: Request, exc: Exception) -> Response:
        error = exc if isinstance(exc, ApiError) else _of_http(request, exc)
        return Response(error.render(), error.status, error.all_headers(), "application/json")

    app.add_exception_handler(ApiError, render)
    app.add_exception_handler(HTTPException, render)
    app.add_exception_handler(Exception, render)
    return app


def _of_http(request: Request, exc: Exception) -> ApiError:
    if isinstance(exc, HTTPException):
        method, path = request.method, request.scope["path"]
        if exc.status_code == 404:
            return no_such_address(method, path)
        if exc.status_code == 405:
            return wrong_method(method, path, (exc.headers or {}).get("Allow", ""))
        return ApiError(exc.status_code, str(exc.detail), "invalid_request", headers=exc.headers or {})
    _log.error("a browsed route failed", exc_info=exc)
    return ApiError(500, "the gateway failed; see its log", "internal_error")


class GatewayApp:
    """The ASGI application: the hot route at once, everything else through FastAPI."""

    def __init__(self, services: Services) -> None:
        """Make both applications."""
        self.services = services
        self.chat = ChatEndpoint(services)
        self.browsed = browsed(services)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            if scope["path"] == CHAT:
                await self.chat(scope, receive, send)
            else:
                await self.browsed(scope, receive, stamped(scope, send, self.services.steady))
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})


def stamped(scope: Scope, send: Send, steady: Callable[[], float]) -> Send:
    """Return a ``send`` that adds the request's id and the gateway's own time to a browsed response's headers."""
    started = steady()
    name = request_id(scope["headers"]) or new_request_id()

    async def send_stamped(message: Message) -> None:
        if message["type"] == "http.response.start":
            elapsed = f"{(steady() - started) * 1000.0:.2f}"
            own = [(b"x-request-id", name.encode()), (b"x-router-overhead-ms", elapsed.encode())]
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await send(message)

    return send_stamped


async def _lifespan(receive: Receive, send: Send) -> None:
    """Acknowledge start and stop; the services are started and stopped by whoever runs the server."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
