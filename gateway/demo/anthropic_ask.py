"""How a Messages request is read, and what Anthropic refuses in one."""

from __future__ import annotations

from typing import Final

from gateway.demo.ask import (
    Ask,
    Image,
    Json,
    Refused,
    Tool,
    dicts,
    image_from_base64,
    image_from_url,
    input_tokens,
    positive,
    text_of,
)

_KEYS: Final = frozenset(
    [
        "cache_control",
        "container",
        "context_management",
        "inference_geo",
        "max_tokens",
        "mcp_servers",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    ]
)
_CHOICES: Final = {"any": "required", "auto": "auto", "none": "none"}


def read_anthropic(body: Json) -> Ask:
    """Read a Messages body. Raises ``Refused`` 400 for what Anthropic would refuse."""
    model, messages = text_of(body.get("model")), dicts(body.get("messages"))
    if not model:
        raise Refused(400, "bad_request", "model: Field required")
    if not messages:
        raise Refused(400, "bad_request", "messages: at least one message is required")
    if body.get("max_tokens") is None:
        raise Refused(400, "bad_request", "max_tokens: Field required")
    if unknown := sorted(set(body) - _KEYS):
        raise Refused(400, "bad_request", f"{unknown[0][:64]}: Extra inputs are not permitted")
    texts, images, results = _read_messages(messages)
    system = body.get("system")
    system = system if isinstance(system, str) else "\n".join(text_of(b.get("text")) for b in dicts(system))
    tools = dicts(body.get("tools"))
    last_role, last_text = texts[-1]
    # Structured output came as ``output_format`` first and as ``output_config.format`` later.
    form = body.get("output_format") or (body.get("output_config") or {}).get("format") or {}
    return Ask(
        model=model,
        stream=body.get("stream") is True,
        prompt=next((text for role, text in reversed(texts) if role == "user"), ""),
        system=system,
        input_tokens=input_tokens([system, *(text for _, text in texts)], len(images)),
        max_tokens=positive(body.get("max_tokens"), "max_tokens"),
        stop=tuple(map(str, body.get("stop_sequences") or ())),
        tools=tuple(
            Tool(text_of(t.get("name")), text_of(t.get("description")), t.get("input_schema") or {}) for t in tools
        ),
        tool_choice=_tool_choice(body),
        parallel_tools=(body.get("tool_choice") or {}).get("disable_parallel_tool_use") is not True,
        tool_results=results,
        schema=form.get("schema"),
        images=images,
        prefill=last_text if last_role == "assistant" else None,
        include_usage=True,
        reasoning=(body.get("thinking") or {}).get("type") in {"enabled", "adaptive"},
        cacheable="\0".join([system, *(text for _, text in texts[:-1])]),
    )


def _read_messages(messages: list[Json]) -> tuple[list[tuple[str, str]], tuple[Image, ...], tuple[str, ...]]:
    """Return (role, text) pairs, the images, and the tool results of the last message."""
    texts: list[tuple[str, str]] = []
    images: list[Image] = []
    results: list[str] = []
    for index, message in enumerate(messages):
        role, content = text_of(message.get("role")), message.get("content")
        if role not in {"user", "assistant"}:
            raise Refused(400, "bad_request", f"messages.{index}.role: Input should be 'user' or 'assistant'")
        blocks: list[Json] = [{"type": "text", "text": content}] if isinstance(content, str) else dicts(content)
        if not blocks and role == "user":
            raise Refused(400, "bad_request", f"messages.{index}: user messages must have non-empty content")
        results = [_result_text(block) for block in blocks if block.get("type") == "tool_result"]
        images += [_image(block.get("source") or {}) for block in blocks if block.get("type") == "image"]
        texts.append((role, "\n".join(text_of(b.get("text")) for b in blocks if b.get("type") == "text")))
    if texts[0][0] != "user":
        raise Refused(400, "bad_request", "messages: first message must use the user role")
    return texts, tuple(images), tuple(results)


def _result_text(block: Json) -> str:
    content = block.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(text_of(part.get("text")) for part in dicts(content))


def _image(source: Json) -> Image:
    if source.get("type") == "base64":
        return image_from_base64(text_of(source.get("media_type")), text_of(source.get("data")))
    return image_from_url(text_of(source.get("url")))


def _tool_choice(body: Json) -> str:
    choice = body.get("tool_choice") or {}
    if choice.get("type") == "tool":
        return text_of(choice.get("name"))
    return _CHOICES.get(text_of(choice.get("type")), "auto")
