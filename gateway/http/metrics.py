"""``GET /metrics``: Prometheus text. Needs the admin's or the metrics key unless the operator opened it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def routes(may_scrape: Callable[..., Any], scrape: Callable[[Request], bytes]) -> APIRouter:
    """Build the route. ``may_scrape`` authenticates and refuses; ``scrape`` renders the moment's text."""
    router = APIRouter(tags=["metrics"], dependencies=[Depends(may_scrape)])

    async def metrics(request: Request) -> Response:
        return Response(scrape(request), media_type=CONTENT_TYPE, headers={"cache-control": "no-store"})

    router.add_api_route("/metrics", metrics, methods=["GET"], name="metrics")
    return router
