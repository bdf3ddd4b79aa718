"""Pays litellm's first-call costs before readiness: one call of each wire is translated, and sent to nobody."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Final

from gateway.forward.litellm_door import Door
from gateway.forward.translate import Translator
from gateway.forward.wires import WIRES, Shape, Wire, wire_of
from router_core.deployment import Deployment, Lane, Provider
from router_core.ports import Call
from router_core.price import Price

_TOOL: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a word up",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
_BODY: Final[dict[str, Any]] = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    "tools": [_TOOL],
    "max_tokens": 16,
    "temperature": 0.5,
}
_ANSWERS: Final[dict[Shape, Any]] = {
    Shape.ANTHROPIC: {
        "id": "msg_warm",
        "model": "m",
        "content": [{"type": "text", "text": "Hello"}, {"type": "tool_use", "id": "t", "name": "look_up", "input": {}}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    Shape.GEMINI: {
        "candidates": [{"content": {"parts": [{"text": "Hello"}], "role": "model"}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    },
    Shape.COHERE: {"id": "c", "message": {"content": [{"type": "text", "text": "Hello"}]}, "finish_reason": "COMPLETE"},
    Shape.OPENAI: {"choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]},
}
_STREAMED: Final[dict[Shape, bytes]] = {
    Shape.ANTHROPIC: b'{"type":"content_block_start","index":0,"content_block":'
    b'{"type":"tool_use","id":"t","name":"look_up","input":{}}}',
    Shape.GEMINI: b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"look_up","args":{}}}]}}]}',
}


def warm_up(door: Door, names: Iterable[str], translator_of: Callable[[Door, Wire], Translator]) -> None:
    """Translate one call, one answer and one event for each wire (all translated wires when none is named).

    A wire that fails here fails again, with its reason, at its first real call.
    """
    wanted = set(names) or {wire.name for wire in WIRES.values() if wire.lane is Lane.TRANSLATE}
    for name in sorted(wanted):
        wire = wire_of(name)
        if wire.shape is not Shape.OTHER:
            with contextlib.suppress(Exception):
                _one(translator_of(door, wire), wire)


def _one(translator: Translator, wire: Wire) -> None:
    provider = Provider(id="warm", wire=wire.name, base_url="http://127.0.0.1:1/v1")
    deployment = Deployment(id="warm/m", provider="warm", model="m", context_window=1, price=Price(0.0, 0.0))
    call = Call(provider=provider, deployment=deployment, body=_BODY, stream=False, deadline=0.0, drop_params=True)
    prepared = translator.request(call, "none")
    translator.answer(call, prepared, dict(_ANSWERS[wire.shape]))
    event = _STREAMED.get(wire.shape)
    if event is not None:
        for _ in translator.decoder(call, prepared).events([(b"", event)]):
            pass
