"""``/v1/experiments``: A/B tests, the operator's: an admin key, never a client key."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from gateway.experiment_record import shown
from gateway.experiments import Experiments, UnknownExperiment
from gateway.http.answers import answer
from gateway.http.auth import Admin
from gateway.http.body import check_headers, read_body
from gateway.http.errors import ApiError, invalid
from gateway.http.wire import parse_object
from gateway.store_errors import StoreError
from router_core.errors import ConfigError
from router_core.experiment import Experiment, ExperimentState

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])
_BODY_BYTES: Final = 64 * 1024
_MOVES: Final = {
    "start": ExperimentState.RUNNING,
    "stop": ExperimentState.STOPPED,
    "conclude": ExperimentState.CONCLUDED,
}


@router.get("")
async def list_experiments(request: Request, _: Admin) -> Response:
    """Return all experiments with what was measured, the newest first."""
    found = _experiments(request)
    return answer({"object": "list", "data": [_row(found, each) for each in found.list()]})


@router.post("")
async def create(request: Request, _: Admin) -> Response:
    """Make a draft; it does nothing until it is started."""
    wishes = await _body(request)
    config = request.app.state.services.config.current
    registry = config.registry
    made = _experiments(request).create(wishes, registry.deployments, config.policy.policies, registry.routes)
    return answer(_row(_experiments(request), await _done(made)), 201)


@router.get("/{name}")
async def show(name: str, request: Request, _: Admin) -> Response:
    """Return one experiment: per arm what was measured, comparisons, winner."""
    found = _experiments(request)
    try:
        return answer(_row(found, found.get(name)))
    except UnknownExperiment as exc:
        raise _unknown(exc) from exc


@router.post("/{name}/{action}")
async def move(name: str, action: str, request: Request, _: Admin) -> Response:
    """Start, stop or conclude an experiment; ``reason`` in the body is kept with it."""
    if action not in _MOVES:
        raise ApiError(404, f"an experiment can {', '.join(_MOVES)}", "not_found", should_retry=False)
    reason = (await _body(request)).get("reason", "")
    if not isinstance(reason, str) or len(reason) > 500:
        msg = "reason must be a text of at most 500 characters"
        raise invalid(msg, "reason", "invalid_value")
    found = _experiments(request)
    try:
        moved = await _done(found.move(name, _MOVES[action], reason))
    except UnknownExperiment as exc:
        raise _unknown(exc) from exc
    return answer(_row(found, moved))


def _experiments(request: Request) -> Experiments:
    found: Experiments = request.app.state.services.experiments
    return found


def _row(experiments: Experiments, experiment: Experiment) -> dict[str, Any]:
    return shown(experiment, experiments.sums(experiment), experiments.report(experiment))


def _unknown(exc: UnknownExperiment) -> ApiError:
    return ApiError(404, str(exc.args[0]), "experiment_not_found", should_retry=False)


async def _done(work: Awaitable[Experiment]) -> Experiment:
    try:
        return await work
    except ConfigError as exc:
        message = str(exc)
        if message.startswith("an experiment that is"):
            raise ApiError(409, message, "invalid_state", should_retry=False) from exc
        raise invalid(message, message.partition(":")[0], "invalid_value") from exc
    except StoreError as exc:
        raise ApiError(503, "the state store is away", "store_unavailable", retry_after_s=1.0) from exc


async def _body(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object; an empty one is an empty object."""
    limits = replace(request.app.state.services.config.current.policy.limits, body_bytes=_BODY_BYTES)
    headers = request.scope["headers"]
    if not any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers
    ):
        return {}  # nothing follows, whatever type a client's library gives it
    check_headers(headers, limits)
    raw = await read_body(request.receive, limits)
    return parse_object(raw, limits) if raw.strip() else {}
