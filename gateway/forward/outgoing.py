"""What a call sends on OpenAI's wire: the client's body with the few values that are ours, and what of it is ours."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.forward.failures import failed
from router_core.outcome import FailureKind
from router_core.ports import Call

_OPTIONS = "stream_options"


def effective_body(call: Call, *, usage_option: bool) -> dict[str, Any]:
    """Return the body to send: a shallow copy with model, overrides and stream set. The conversation is not copied."""
    body = dict(call.body)
    body["model"] = call.deployment.upstream_model
    for name, value in call.overrides.items():
        if value is None:
            body.pop(name, None)
        else:
            body[name] = value
    if call.stream:
        body["stream"] = True
        if not usage_option:
            body.pop(_OPTIONS, None)
        elif _OPTIONS not in call.overrides:
            options = body.get(_OPTIONS)
            body[_OPTIONS] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    elif body.get("stream"):
        del body["stream"]
        body.pop(_OPTIONS, None)
    return body


def added_by_us(call: Call, *, usage_option: bool = True) -> frozenset[str]:
    """Name what the client did not send: a refusal of one of these is not the client's fault."""
    names = {name for name, value in call.overrides.items() if value is not None and name != "messages"}
    if call.overrides.get("messages") is not None:
        names.add("prefill")
    options = call.body.get(_OPTIONS)
    asked = isinstance(options, dict) and options.get("include_usage")
    if call.stream and usage_option and _OPTIONS not in call.overrides and not asked:
        names.add(_OPTIONS)
    return frozenset(names)


def encode(body: dict[str, Any]) -> bytes:
    """Return the JSON bytes of a body. Raises ``AttemptFailed`` for what JSON cannot say."""
    try:
        return orjson.dumps(body)
    except TypeError as exc:
        raise failed(FailureKind.INVALID_REQUEST, "the request cannot be written as JSON", sent=False) from exc
