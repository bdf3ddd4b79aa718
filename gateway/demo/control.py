"""The control calls: faults, answers, and what was recorded. They exist only on the demo provider's own loopback port.

| call | what it does |
|---|---|
| ``POST /_control/faults`` | append a JSON list of rules (one rule as an object is fine) |
| ``GET``, ``DELETE /_control/faults`` | show, forget |
| ``POST /_control/answer`` | fix the answer (``AnswerSettings``); ``DELETE`` goes back to composed answers |
| ``GET``, ``DELETE /_control/requests`` | the recorded calls; forget them |
| ``POST /_control/requests`` | ``{"enabled": false}`` stops recording, for load runs |
| ``POST /_control/reset`` | all of it as at the start |
| ``GET /_control/state`` | name, wire, models, calls in all, calls in flight |
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from gateway.demo.answer import AnswerSettings
from gateway.demo.faults import FaultRule
from gateway.demo.misbehave import expressible

if TYPE_CHECKING:
    from gateway.demo.server import DemoServer

PREFIX: Final = "/_control/"
_HOST: Final = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?")


async def control(server: DemoServer, request: web.BaseRequest) -> web.Response:
    """Answer one control call: 400 for values out of range, 403 for a web page's, 404 for a call there is not."""
    if "Origin" in request.headers or not _HOST.fullmatch(request.headers.get("Host", "")):
        return _json({"error": "control calls come from this machine's programs, not from web pages"}, status=403)
    raw = await request.read()
    try:
        body = orjson.loads(raw) if raw else None
        return _act(server, request.method, request.path.removeprefix(PREFIX), body)
    except (ValueError, TypeError) as error:
        return _json({"error": str(error)}, status=400)


def add_faults(server: DemoServer, rules: list[dict[str, Any]]) -> None:
    """Read and append rules; none is appended when one is bad. Raises ``ValueError``."""
    parsed = [FaultRule.of(rule) for rule in rules]
    for rule in parsed:
        if not expressible(rule.kind, server.wire.name):
            msg = f"the {server.wire.name} wire cannot express {rule.kind!r}"
            raise ValueError(msg)
    server.faults.add(parsed)


def _act(server: DemoServer, method: str, what: str, body: Any) -> web.Response:
    match method, what:
        case "POST", "faults":
            add_faults(server, body if isinstance(body, list) else [body])
        case "DELETE", "faults":
            server.faults.clear()
        case "GET", "faults":
            return _json(server.faults.rows())
        case "POST", "answer":
            server.configure(AnswerSettings.of(body))
        case "DELETE", "answer":
            server.configure(AnswerSettings())
        case "GET", "requests":
            return _json([record.row() for record in server.recorder.rows])
        case "DELETE", "requests":
            server.recorder.clear()
        case "POST", "requests":
            server.recorder.enabled = bool(body["enabled"])
        case "POST", "reset":
            server.reset()
        case "GET", "state":
            recorder = server.recorder
            state = {"name": server.name, "wire": server.wire.name, "models": server.models}
            return _json({**state, "total": recorder.total, "active": recorder.active})
        case _:
            return _json({"error": f"no such control call: {method} {PREFIX}{what}"}, status=404)
    return _json({"ok": True})


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")
