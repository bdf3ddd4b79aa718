"""``/healthz`` and ``/readyz``: open to everybody, and they say nothing else. Some balancers ask with HEAD."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gateway.http.answers import answer

router = APIRouter(tags=["health"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> Response:
    """Say that the process lives."""
    return answer({"status": "ok"})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Say whether new requests are welcome; while draining they are not. ``degraded``: the store is away."""
    services = request.app.state.services
    exchanger = services.exchanger
    degraded = bool(exchanger is not None and exchanger.degraded)
    if services.admission.draining or not services.ready:
        status = "draining" if services.admission.draining else "starting"
        return answer({"status": status, "degraded": degraded}, 503, {"retry-after": "1"})
    return answer({"status": "ok", "degraded": degraded})
