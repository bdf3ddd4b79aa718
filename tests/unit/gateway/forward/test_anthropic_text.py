"""Anthropic's answers that are text alone are read without litellm, and mean what litellm says they mean."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.forward.litellm_door import door
from gateway.forward.wire_anthropic import AnthropicTranslator, text_alone
from tests.unit.gateway.forward.calls import call_to

TEXT = {"type": "text", "text": "Hello"}


def message(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 5}
    told = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "stop_reason": "end_turn"}
    return {**told, "stop_sequence": None, "content": list(blocks), "usage": usage, **more}


@pytest.mark.parametrize(
    "parsed",
    [
        message(TEXT),
        message(TEXT, {"type": "text", "text": " world", "citations": None}),
        message({"type": "text", "text": ""}, stop_reason="max_tokens"),
        message(TEXT, container=None, context_management=None, stop_reason="stop_sequence", stop_sequence="."),
        message(TEXT, stop_reason="refusal"),
        message(TEXT, stop_reason="tool_use"),
    ],
)
def test_text_alone_is_what_litellm_makes_of_it(parsed: dict[str, Any]):
    translator = AnthropicTranslator(door())
    call = call_to("http://127.0.0.1:1", "anthropic")
    prepared = translator.request(call, "key")
    expected, _ = translator._message(parsed, prepared, str(parsed["stop_reason"]), "stop")
    assert text_alone(parsed) == expected
    assert translator.answer(call, prepared, parsed)["choices"][0]["message"] == expected


@pytest.mark.parametrize(
    "parsed",
    [
        message({"type": "thinking", "thinking": "Hm", "signature": "s"}, TEXT),
        message(TEXT, {"type": "tool_use", "id": "t", "name": "f", "input": {}}),
        message({**TEXT, "citations": [{"type": "char_location", "cited_text": "x"}]}),
        message(TEXT, container={"id": "c"}),
        message(TEXT, context_management={"applied_edits": []}),
    ],
)
def test_everything_else_is_left_to_litellm(parsed: dict[str, Any]):
    assert text_alone(parsed) is None
