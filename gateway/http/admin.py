"""``/admin/*``: the operator's; an admin key, never a client key."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gateway.http.answers import answer
from gateway.http.auth import Admin
from gateway.http.errors import ApiError
from gateway.http.live import live_of
from gateway.secrets import scrub

router = APIRouter(tags=["admin"])


@router.post("/admin/reload")
async def reload(request: Request, _: Admin) -> Response:
    """Read the configuration again; a broken one changes nothing and says why."""
    report = await request.app.state.services.watcher.check(force=True)
    problems = [scrub(str(problem)) for problem in report.problems] if report is not None else []
    if report is not None and not report.ok:
        message = "the new configuration is broken; the old one stays"
        raise ApiError(400, message, "invalid_config", extra={"problems": problems})
    version = report.version if report is not None else request.app.state.services.config.current.version
    return answer({"status": "ok", "changed": bool(report is not None and report.changed), "version": version})


@router.get("/admin/breakers")
async def breakers(request: Request, _: Admin) -> Response:
    """Return every deployment's circuit."""
    return answer({"object": "list", "data": live_of(request.app.state.services).breakers()})


@router.post("/admin/breakers/{name:path}/reset")
async def reset(name: str, request: Request, _: Admin) -> Response:
    """Close a circuit by hand."""
    services = request.app.state.services
    if name not in services.config.current.registry.deployments:
        raise ApiError(404, "there is no such deployment", "deployment_not_found", should_retry=False)
    circuit = services.learner.reset(name)
    return answer({"deployment": name, "state": circuit.state})
