"""``GET /metrics``: Prometheus text, for the metrics key or an admin's."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from gateway.http.auth import principal
from gateway.http.errors import ApiError
from gateway.http.live import live_of
from gateway.keys import Principal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter(tags=["metrics"])


def scraper(request: Request) -> Principal:
    """Return a caller that may read metrics; a client's key may not."""
    found = principal(request)
    if not (found.metrics or found.admin):
        raise ApiError(403, "this needs a metrics or an admin key", "permission_denied", should_retry=False)
    return found


@router.get("/metrics", dependencies=[Depends(scraper)], name="metrics")
async def metrics(request: Request) -> Response:
    """Answer the moment's text, which no cache keeps."""
    services = request.app.state.services
    text = await services.observer.scrape(live_of(services))
    return Response(text, media_type=CONTENT_TYPE, headers={"cache-control": "no-store"})
