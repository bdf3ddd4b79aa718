"""``POST /v1/feedback``: one vote on a decision."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from gateway.http.answers import answer
from gateway.http.auth import Client
from gateway.http.body import check_headers, read_body
from gateway.http.errors import invalid
from gateway.http.wire import parse_object
from router_core.outcome import Feedback

router = APIRouter(tags=["feedback"])
_FIELDS: Final = ("score", "rating", "outcome", "pr_merged", "pr_reverted", "label", "correction", "source")
_LONGEST: Final = 4096
_LONGEST_SOURCE: Final = 64


@router.post("/v1/feedback")
async def feedback(request: Request, caller: Client) -> Response:
    """Book one vote on a decision."""
    services = request.app.state.services
    limits = services.config.current.policy.limits
    check_headers(request.scope["headers"], limits)
    body = parse_object(await read_body(request.receive, limits), limits)
    vote = _vote(body, services.steady())
    status, told = await services.feedback.accept(vote, caller)
    return answer(told, status)


def _vote(body: dict[str, Any], now: float) -> Feedback:
    unknown = sorted(set(body) - {*_FIELDS, "decision_id"})
    if unknown:
        shown = "".join(char for char in unknown[0][:64] if char.isprintable())
        allowed = ", ".join(("decision_id", *_FIELDS))
        msg = f"unknown feedback field {shown!r}; known: {allowed}"
        raise invalid(msg, shown)
    decision_id = body.get("decision_id")
    if type(decision_id) is not str or not decision_id:
        msg = "decision_id must be a string"
        raise invalid(msg, "decision_id")
    values = {name: body[name] for name in _FIELDS if body.get(name) is not None}
    for name, value in values.items():
        if type(value) not in _KINDS[name]:
            msg = f"{name} must be {_WORDS[_KINDS[name][-1]]}"
            raise invalid(msg, name)
        most = _LONGEST_SOURCE if name == "source" else _LONGEST
        if type(value) is str and not 0 < len(value) <= most:
            msg = f"{name} must have 1 to {most} characters"
            raise invalid(msg, name)
    try:
        return Feedback(decision_id, now, **values)
    except ValueError as exc:
        raise invalid(str(exc), _named(str(exc))) from exc


_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "score": (int, float),
    "rating": (int,),
    "outcome": (str,),
    "pr_merged": (bool,),
    "pr_reverted": (bool,),
    "label": (str,),
    "correction": (str,),
    "source": (str,),
}


_WORDS: Final = {float: "a number", int: "a whole number", str: "a string", bool: "true or false"}


def _named(message: str) -> str | None:
    first = message.partition(" ")[0]
    return first if first in _KINDS else None
