"""``/dashboard``: the page, what it shows, and a live feed. The page is open and empty; all data is an admin's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any, Final

import orjson
from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import StreamingResponse

from gateway.dashboard.assets import HEADERS, load
from gateway.http.auth import admin
from gateway.http.errors import ApiError
from gateway.http.learning import learning_rows
from gateway.http.live import breaker_row, live_of
from gateway.http.stats import as_json
from gateway.store_errors import StoreError
from router_core.task import TaskType

PAGE: Final = "index.html"
_DECISIONS: Final = 100
_KIND: Final = "decision"
_STORE_S: Final = 2.0
_IDLE_S: Final = 2.0


router = APIRouter(tags=["dashboard"])
_ASSETS: Final = load()


@router.get("/dashboard", name="dashboard")
async def page(request: Request) -> Response:
    """Answer the page itself, which holds no data."""
    return file(request, PAGE)


@router.get("/dashboard/data/status", dependencies=[Depends(admin)], name="dashboard_status")
async def status(request: Request) -> Response:
    """Answer the moment: version, policies, every deployment with its circuit."""
    return as_json(status_of(request.app.state.services))


@router.get("/dashboard/data/decisions", dependencies=[Depends(admin)], name="dashboard_decisions")
async def decisions(request: Request) -> Response:
    """Answer the last decisions and what became of them: this worker's, and what others wrote to the store."""
    services = request.app.state.services
    stored: list[bytes] = []
    if services.store is not None:
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_STORE_S):
                stored = [data for _, data in await services.store.list(_KIND, limit=_DECISIONS)]
    return as_json({"object": "list", "data": services.observer.decisions(_DECISIONS, stored)})


@router.get("/dashboard/data/learning", dependencies=[Depends(admin)], name="dashboard_learning")
async def learning(request: Request) -> Response:
    """Answer what was learned."""
    return as_json(learning_rows(request.app.state.services))


@router.get("/dashboard/events", dependencies=[Depends(admin)], name="dashboard_events")
async def events(request: Request) -> Response:
    """Answer the live feed as server-sent events: decisions, anomalies, and the moment whenever it changed."""
    services = request.app.state.services
    if services.observer.feed.full:
        raise ApiError(503, "too many dashboards are open", "too_many_watchers", retry_after_s=30)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no", "x-content-type-options": "nosniff"}
    return StreamingResponse(_events(services), media_type="text/event-stream", headers=headers)


@router.get("/dashboard/{path:path}", name="dashboard_asset")
async def asset(request: Request, path: str) -> Response:
    """Answer one of the page's files."""
    return file(request, path or PAGE)


def file(request: Request, path: str) -> Response:
    """Answer a file of the dashboard, 304 when the browser has it, 404 for any other path."""
    found = _ASSETS.get(path)
    if found is None:
        raise ApiError(404, "the dashboard has no such file", "not_found")
    headers = {**HEADERS, "etag": found.etag}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type=found.content_type, headers=headers)


def status_of(services: Any) -> dict[str, Any]:
    """Return the moment: version, what can be asked for, every deployment with its circuit."""
    live = live_of(services)
    policy = services.config.current.policy
    return {
        "version": live.version,
        "in_flight": live.in_flight,
        "store_degraded": live.store_degraded,
        "reload_failures": live.reload_failures,
        "policies": {name: asdict(weights) for name, weights in policy.policies.items()},
        "default_policy": policy.default_policy,
        "tasks": [task.value for task in TaskType],
        "warnings": list(services.warnings),
        "deployments": [
            {
                "id": each.id,
                "provider": each.provider,
                "model": each.model,
                "callable": each.callable,
                **breaker_row(each),
            }
            for each in live.deployments
        ],
    }


async def _events(services: Any) -> AsyncIterator[bytes]:
    told = _moment(services)
    yield _event("status", told)
    watching = services.observer.feed.watch(idle_s=_IDLE_S)
    try:
        async for event in watching:
            now = _moment(services)
            if now != told:
                told = now
                yield _event("status", told)
            if services.admission.draining:  # a feed must not hold the process up
                return
            yield b": still here\n\n" if event is None else _event(event.kind, event.data)
    finally:
        await watching.aclose()


def _moment(services: Any) -> dict[str, Any]:
    """Return the status without the seconds that pass by themselves."""
    status = status_of(services)
    for each in status["deployments"]:
        each["retry_in_s"] = None if each["retry_in_s"] is None else round(each["retry_in_s"] / 10.0) * 10.0
    return status


def _event(kind: str, data: Mapping[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(data, default=str) + b"\n\n"
