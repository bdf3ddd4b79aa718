"""A request body as plain data: parsed, bounded, and checked field by field before anybody is called.

The body is data. Known fields are checked for type and range, unknown ones travel untouched, and a field that would
steer the translating library itself (where to call, with which key) is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from gateway.http.errors import ApiError, invalid
from gateway.http.fields import FIELDS, check_messages, check_tools
from gateway.http.json_guard import check_tree
from router_core.needs import KNOWN
from router_core.policy import InputLimits
from router_core.value import value_class

CONSUMED: Final = frozenset({"router", "models", "provider", "fallbacks", "session_id"})
"""Our own fields and those of neighbouring gateways: read, never forwarded."""

STEERING: Final = frozenset(
    {
        "additional_drop_params",
        "allowed_openai_params",
        "api_base",
        "api_key",
        "api_version",
        "azure_ad_token",
        "base_url",
        "caching",
        "callbacks",
        "client",
        "configurable_clientside_auth_params",
        "context_window_fallback_dict",
        "cooldown_time",
        "custom_llm_provider",
        "custom_prompt_dict",
        "default_headers",
        "deployment_id",
        "drop_params",
        "extra_body",
        "extra_headers",
        "extra_query",
        "failure_callback",
        "force_timeout",
        "headers",
        "hf_model_name",
        "http_client",
        "input_callback",
        "input_cost_per_second",
        "input_cost_per_token",
        "logger_fn",
        "max_retries",
        "mock_delay",
        "mock_response",
        "mock_timeout",
        "mock_tool_calls",
        "model_config",
        "model_info",
        "model_list",
        "no-log",
        "no_log",
        "num_retries",
        "organization",
        "output_cost_per_second",
        "output_cost_per_token",
        "preset_cache_key",
        "proxy_server_request",
        "region_name",
        "request_timeout",
        "retry_policy",
        "retry_strategy",
        "rpm",
        "ssl_verify",
        "success_callback",
        "text_completion",
        "timeout",
        "tpm",
        "use_litellm_proxy",
        "user_config",
        "verbose",
    }
)
_PLACES: Final[Mapping[str, int]] = {name: place for place, name in enumerate(FIELDS)}
"""Of several fields that are wrong the first of the table is told of."""
_STEERING_PREFIXES: Final = ("aws_", "azure_", "litellm_", "vertex_", "watsonx_", "s3_", "sagemaker_", "_")


@value_class()
class ChatRequest:
    """A checked chat request. ``body`` is what may be forwarded; ``own`` are the fields that are ours.

    ``include_usage`` says whether the client asked for usage in its stream.
    """

    body: Mapping[str, Any]
    own: Mapping[str, Any]
    model: str
    stream: bool
    include_usage: bool
    max_output_tokens: int | None
    n: int


def parse_object(raw: bytes, limits: InputLimits) -> dict[str, Any]:
    """Return a JSON object. 400 for anything else: no JSON, no UTF-8, NaN, duplicate keys, too deep, not an object."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        msg = f"the request body is not valid JSON: {_where(exc)}"
        raise invalid(msg, code="invalid_json") from exc
    if type(body) is not dict:
        msg = "the request body must be a JSON object"
        raise invalid(msg, code="invalid_json")
    check_tree(raw, body, limits.depth)
    return body


def _where(exc: orjson.JSONDecodeError) -> str:
    return f"{exc.msg.split(':')[0]} (line {exc.lineno}, column {exc.colno})"


def parse_chat(raw: bytes, limits: InputLimits) -> ChatRequest:
    """Return a checked chat request; 400 names the field that is wrong."""
    body = parse_object(raw, limits)
    for name in () if KNOWN.issuperset(body) else body:
        if name in STEERING or name.startswith(_STEERING_PREFIXES):
            msg = f"{_shown(name)} may not be set by a client: the gateway's registry decides where and how to call"
            raise invalid(msg, _shown(name), "forbidden_parameter")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        msg = "model must be a non-empty string"
        raise invalid(msg, "model")
    check_messages(body.get("messages"), limits)
    check_tools(body, limits)
    for name in sorted([name for name in body if name in FIELDS], key=_PLACES.__getitem__):
        value = body[name]
        if value is not None:
            FIELDS[name](name, value, limits)
    own = {} if CONSUMED.isdisjoint(body) else {name: body.pop(name) for name in CONSUMED if name in body}
    stream = bool(body.get("stream"))
    options = body.get("stream_options")
    include_usage = bool(options and options.get("include_usage"))
    if options is not None and not stream:
        msg = "stream_options is only allowed when stream is true"
        raise invalid(msg, "stream_options")
    # Which of two a provider heeds is not known: the larger is what may be written.
    limit = max(body.get("max_completion_tokens") or 0, body.get("max_tokens") or 0) or None
    return ChatRequest(body, own, model, stream, include_usage, limit, body.get("n") or 1)


def _shown(name: str) -> str:
    """Return a field's name as it may be echoed: short and printable."""
    return "".join(char for char in name[:64] if char.isprintable())


def too_large(limit: int) -> ApiError:
    """Return the 413 for a body over the limit."""
    return ApiError(413, f"the request body is larger than {limit} bytes", "request_too_large", should_retry=False)
