from __future__ import annotations

from typing import Any

import pytest

from router_core.needs import needs_of


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ({}, set()),
        ({"messages": [{"role": "user", "content": "hello"}]}, set()),
        ({"messages": None, "n": None, "modalities": None}, set()),
        ({"stream": True}, {"streaming"}),
        ({"stream": False}, set()),
        ({"tools": [{"type": "function"}]}, {"tools"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"tools": []}, set()),
        ({"tools": None}, set()),
        ({"tools": [{"type": "function"}, {"type": "custom"}]}, {"tools", "any_parameter"}),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}, {"tools"}),
        ({"messages": [{"role": "tool", "content": "42"}]}, {"tools"}),
        ({"n": 1}, set()),
        ({"n": 2}, {"n"}),
        ({"logprobs": True}, {"logprobs"}),
        ({"top_logprobs": 3}, {"logprobs"}),
        ({"audio": {"voice": "alloy"}}, {"audio_output"}),
        ({"modalities": ["text", "audio"]}, {"audio_output"}),
        ({"modalities": ["text"]}, set()),
        ({"response_format": {"type": "json_schema"}}, {"json_schema"}),
        ({"response_format": {"type": "json_object"}}, {"json_object"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"response_format": "json"}, set()),
        (user({"type": "text"}), set()),
        (user({"type": "image_url"}), {"vision"}),
        (user({"type": "input_image"}), {"vision"}),
        (user({"type": "input_audio"}), {"audio_input"}),
        (user({"type": "file"}, {"type": "input_file"}), {"files"}),
        (user({"type": "hologram"}, {}), set()),
        ({"top_k": 5}, {"any_parameter"}),
        ({"temperature": 1.0, "seed": 7, "user": "u"}, set()),
        ({**user({"type": "image_url"}), "stream": True, "tools": [{}]}, {"vision", "streaming", "tools"}),
    ],
)
def test_a_body_s_needs_are_read_from_its_fields(body: dict[str, Any], needs: set[str]):
    assert needs_of(body) == needs
