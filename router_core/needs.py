"""What a chat body needs of a deployment: read from its fields, never from its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import compress
from typing import Any, Final

from router_core.deployment import Capability

KNOWN: Final = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
"""The fields of OpenAI's chat completions. Any other one must reach the provider as it came."""

_BY_FIELDS: Final = (
    Capability.STREAMING,
    Capability.TOOLS,
    Capability.N,
    Capability.LOGPROBS,
    Capability.AUDIO_OUTPUT,
    Capability.JSON_SCHEMA,
    Capability.JSON_OBJECT,
)
_PARTS: Final = {
    "image_url": Capability.VISION,
    "input_image": Capability.VISION,
    "input_audio": Capability.AUDIO_INPUT,
    "file": Capability.FILES,
    "input_file": Capability.FILES,
}


def needs_of(body: Mapping[str, Any]) -> frozenset[Capability]:
    """Return the capabilities a request needs. The body's shape has been checked before."""
    needs = set(compress(_BY_FIELDS, _asked(body.get)))
    if not KNOWN.issuperset(body) or any(tool.get("type") == "custom" for tool in body.get("tools") or ()):
        needs.add(Capability.ANY_PARAMETER)  # no other wire has a word for a tool without a schema
    for message in body.get("messages") or ():
        content = message.get("content")
        if isinstance(content, list):
            needs.update(_PARTS[part["type"]] for part in content if part.get("type") in _PARTS)
        if message.get("tool_calls") or message.get("role") == "tool":
            needs.add(Capability.TOOLS)
    return frozenset(needs)


def _asked(get: Callable[[str], Any]) -> tuple[Any, ...]:
    """Say of each of ``_BY_FIELDS`` whether the body's fields ask for it."""
    shape = get("response_format")
    kind = shape.get("type") if isinstance(shape, Mapping) else None
    return (
        get("stream"),
        get("tools") or get("functions"),
        (get("n") or 1) > 1,
        get("logprobs") or get("top_logprobs"),
        get("audio") or "audio" in (get("modalities") or ()),
        kind == "json_schema",
        kind == "json_object",
    )
