"""``GET /v1/stats/*``: the numbers, as JSON or CSV. A client's key sees its own traffic, an admin's key everybody's."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Request, Response

from gateway.http.auth import client
from gateway.http.errors import invalid
from gateway.http.live import Live, live_of
from gateway.http.tables import to_csv
from gateway.keys import Principal
from router_core.task import TaskType

REPORTS: Final = ("providers", "deployments", "tasks", "costs", "win-rates", "anomalies", "timeline")
WINDOWS: Final = ("hour", "day", "week", "month", "all")
FORMATS: Final = ("json", "csv")
_NAME: Final = re.compile(r"[A-Za-z0-9._:/@+#-]{1,256}")


def parse(request: Request) -> dict[str, str | None]:
    """Return window, format, task and provider. Raises ApiError 400, naming what is allowed."""
    given = request.query_params.multi_items()
    values: dict[str, str | None] = {"window": "hour", "format": "json", "task": None, "provider": None}
    seen: set[str] = set()
    for name, value in given:
        if name not in values:
            msg = f"unknown parameter; known are {', '.join(values)}"
            raise invalid(msg, "query", "invalid_value")
        if name in seen:
            msg = f"{name} is given twice"
            raise invalid(msg, name, "invalid_value")
        seen.add(name)
        values[name] = value
    for name, allowed in (("window", WINDOWS), ("format", FORMATS)):
        if values[name] not in allowed:
            msg = f"{name} must be one of {', '.join(allowed)}"
            raise invalid(msg, name, "invalid_value")
    tasks = tuple(task.value for task in TaskType)
    if values["task"] is not None and values["task"] not in tasks:
        msg = f"task must be one of {', '.join(tasks)}"
        raise invalid(msg, "task", "invalid_value")
    if values["provider"] is not None and not _NAME.fullmatch(values["provider"]):
        msg = "provider must be a provider's id"
        raise invalid(msg, "provider", "invalid_value")
    return values


router = APIRouter(prefix="/v1/stats", tags=["stats"])


def _answer(name: str) -> Callable[..., Awaitable[Response]]:
    async def read(request: Request, caller: Annotated[Principal, Depends(client)]) -> Response:
        asked = parse(request)
        services = request.app.state.services
        found = await services.observer.answer(
            name,
            window=asked["window"],
            scope="" if caller.admin else caller.key_id,
            task=asked["task"],
            provider=asked["provider"],
        )
        body = with_breakers(name, found, live_of(services)) if caller.admin else found
        return as_csv(name, body) if asked["format"] == "csv" else as_json(body)

    return read


for _name in REPORTS:
    router.add_api_route(f"/{_name}", _answer(_name), methods=["GET"], name=f"stats_{_name.replace('-', '_')}")


def with_breakers(name: str, found: dict[str, Any], live: Live) -> dict[str, Any]:
    """Return a report of providers or deployments with each one's circuit; others unchanged."""
    if name == "providers":
        states = live.providers()
        rows = [{**row, "breaker": states.get(row["provider"])} for row in found["data"]]
    elif name == "deployments":
        circuits = live.breakers()
        rows = [{**row, "breaker": circuits.get(row["deployment"])} for row in found["data"]]
    else:
        return found
    return {**found, "data": rows}


def as_json(body: Mapping[str, Any]) -> Response:
    """Answer JSON that no cache keeps."""
    return Response(orjson.dumps(body), media_type="application/json", headers={"cache-control": "no-store"})


def as_csv(name: str, body: Mapping[str, Any]) -> Response:
    """Answer the rows as a file."""
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="{name}-{body.get("window", "now")}.csv"',
        "x-content-type-options": "nosniff",
    }
    return Response(to_csv(body["data"]), media_type="text/csv; charset=utf-8", headers=headers)
