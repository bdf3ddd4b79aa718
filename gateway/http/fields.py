"""The fields of a chat request that we know: type and range of each, as OpenAI documents them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from gateway.http.errors import invalid
from gateway.http.urls import check_media, check_url
from router_core.policy import InputLimits

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
Check = Callable[[str, Any, InputLimits], None]


def _fail(name: str, expected: str) -> NoReturn:
    msg = f"{name} must be {expected}"
    raise invalid(msg, name)


def _boolean(name: str, value: Any, _: InputLimits) -> None:
    if type(value) is not bool:
        _fail(name, "true or false")


def _text(name: str, value: Any, _: InputLimits) -> None:
    if type(value) is not str:
        _fail(name, "a string")


def _mapping(name: str, value: Any, _: InputLimits) -> None:
    if type(value) is not dict:
        _fail(name, "an object")


def _number(low: float, high: float) -> Check:
    def check(name: str, value: Any, _: InputLimits) -> None:
        right = type(value) in {int, float} and math.isfinite(value) and low <= value <= high
        if not right:
            _fail(name, f"a number from {low:g} to {high:g}")

    return check


def _whole(low: int, high: int) -> Check:
    def check(name: str, value: Any, _: InputLimits) -> None:
        if type(value) is not int or not low <= value <= high:
            _fail(name, f"a whole number from {low} to {high}")

    return check


def _tokens(name: str, value: Any, limits: InputLimits) -> None:
    _whole(1, limits.max_output_tokens)(name, value, limits)


def _choices(name: str, value: Any, limits: InputLimits) -> None:
    _whole(1, limits.n)(name, value, limits)


def _stop(name: str, value: Any, _: InputLimits) -> None:
    texts = [value] if type(value) is str else value
    if type(texts) is not list or len(texts) > 16 or any(type(text) is not str for text in texts):
        _fail(name, "a string or a list of at most 16 strings")


def _choice(name: str, value: Any, _: InputLimits) -> None:
    if type(value) is dict or (type(value) is str and value in {"none", "auto", "required"}):
        return
    _fail(name, "none, auto, required, or an object that names a tool")


def _format(name: str, value: Any, _: InputLimits) -> None:
    if type(value) is not dict or type(value.get("type")) is not str:
        _fail(name, "an object with a type: text, json_object or json_schema")
    if value["type"] == "json_schema" and type(value.get("json_schema")) is not dict:
        _fail(f"{name}.json_schema", "an object")


def _function(name: str, value: Any, _: InputLimits) -> None:
    if type(value) is not str and (type(value) is not dict or type(value.get("name")) is not str):
        _fail(name, "none, auto, or an object that names a function")


def _options(name: str, value: Any, _: InputLimits) -> None:
    if type(value) is not dict:
        _fail(name, "an object")
    for option in ("include_usage", "include_obfuscation"):
        if type(value.get(option)) not in {bool, type(None)}:
            _fail(f"{name}.{option}", "true or false")


def _biases(name: str, value: Any, _: InputLimits) -> None:
    if type(value) is not dict or any(type(bias) not in {int, float} for bias in value.values()):
        _fail(name, "an object of token ids and numbers")
    if any(not -100 <= bias <= 100 for bias in value.values()):
        _fail(name, "an object of token ids and numbers from -100 to 100")


def _texts(name: str, value: Any, _: InputLimits) -> None:
    if type(value) is not list or any(type(text) is not str for text in value):
        _fail(name, "a list of strings")


FIELDS: Final[Mapping[str, Check]] = {
    "stream": _boolean,
    "stream_options": _options,
    "n": _choices,
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "max_tokens": _tokens,
    "max_completion_tokens": _tokens,
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "logprobs": _boolean,
    "top_logprobs": _whole(0, 20),
    "seed": _whole(-(2**63), 2**63 - 1),
    "stop": _stop,
    "logit_bias": _biases,
    "user": _text,
    "metadata": _mapping,
    "response_format": _format,
    "tool_choice": _choice,
    "parallel_tool_calls": _boolean,
    "modalities": _texts,
    "audio": _mapping,
    "reasoning_effort": _text,
    "store": _boolean,
    "service_tier": _text,
    "prompt_cache_key": _text,
    "prompt_cache_retention": _text,
    "safety_identifier": _text,
    "function_call": _function,
    "prediction": _mapping,
    "verbosity": _text,
    "web_search_options": _mapping,
}
"""Field -> its check. A null counts as absent, as it does at OpenAI."""


_OF_A_FUNCTION: Final = (
    ("description", str, "a string"),
    ("parameters", dict, "an object"),
    ("strict", bool, "true or false"),
)


def check_tools(body: Mapping[str, Any], limits: InputLimits) -> None:
    """Refuse tools that are no list of objects with a type and a name, and more than the limit of them."""
    for name in ("tools", "functions"):
        tools = body.get(name)
        if tools is None:
            continue
        if type(tools) is not list or any(type(tool) is not dict for tool in tools):
            _fail(name, "a list of objects")
        if len(tools) > limits.tools:
            _fail(name, f"at most {limits.tools} entries")
        for index, tool in enumerate(tools):
            function: Any = tool if name == "functions" else tool.get("function")
            if name == "tools" and type(tool.get("type")) is not str:
                _fail(f"tools[{index}].type", "a string")
            if name == "tools" and tool["type"] != "function":
                continue
            if type(function) is not dict or type(function.get("name")) is not str or not function["name"]:
                _fail(f"{name}[{index}]", "a function with a name")
            for inner, kind, words in _OF_A_FUNCTION:
                if type(function.get(inner)) not in {kind, type(None)}:
                    _fail(f"{name}[{index}].{inner}", words)


_OF_A_MESSAGE: Final = (
    ("name", str, "a string"),
    ("refusal", str, "a string"),
    ("function_call", dict, "an object"),
    ("audio", dict, "an object"),
)


_BARE: Final = frozenset({"role", "content"})
"""All that most messages have."""


def check_messages(messages: Any, limits: InputLimits) -> None:
    """Refuse messages that are not a non-empty list of messages as OpenAI knows them."""
    if type(messages) is not list or not messages:
        _fail("messages", "a non-empty list")
    if len(messages) > limits.messages:
        _fail("messages", f"at most {limits.messages} entries")
    for index, message in enumerate(messages):
        if type(message) is not dict:
            _fail(f"messages[{index}]", "an object")
        role = message.get("role")
        if type(role) is not str or role not in ROLES:
            _fail(f"messages[{index}].role", f"one of {', '.join(sorted(ROLES))}")
        _check_content(index, role, message)
        for inner, kind, words in () if _BARE.issuperset(message) else _OF_A_MESSAGE:
            if type(message.get(inner)) not in {kind, type(None)}:
                _fail(f"messages[{index}].{inner}", words)
        calls = message.get("tool_calls")
        if calls is not None:
            _check_calls(f"messages[{index}].tool_calls", calls)
        if role == "tool" and type(message.get("tool_call_id")) is not str:
            _fail(f"messages[{index}].tool_call_id", "a string")


def _check_content(index: int, role: str, message: Mapping[str, Any]) -> None:
    content = message.get("content")
    if type(content) is str:
        return
    where = f"messages[{index}].content"
    if content is None:
        spoken = message.get("tool_calls") or message.get("function_call") or message.get("refusal")
        if role != "assistant" or not (spoken or message.get("audio")):
            _fail(where, "a string or a list of parts")
        return
    if type(content) is not list or not content:
        _fail(where, "a string or a non-empty list of parts")
    for place, part in enumerate(content):
        if type(part) is not dict or type(part.get("type")) is not str:
            _fail(f"{where}[{place}]", "an object with a type")
        _check_part(f"{where}[{place}]", part)


def _check_part(where: str, part: Mapping[str, Any]) -> None:
    kind = part["type"]
    if kind in {"text", "refusal"}:
        if type(part.get(kind)) is not str:
            _fail(f"{where}.{kind}", "a string")
        return
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if type(image) is dict else image
        if type(url) is not str or not url:
            _fail(f"{where}.image_url.url", "a string")
        check_url(f"{where}.image_url.url", url)
    elif kind == "input_audio":
        audio = part.get("input_audio")
        if type(audio) is not dict or type(audio.get("data")) is not str:
            _fail(f"{where}.input_audio", "an object with data")
    elif kind == "file" and type(part.get("file")) is not dict:
        _fail(f"{where}.file", "an object")
    check_media(where, part)


def _check_calls(where: str, calls: Any) -> None:
    if type(calls) is not list or not calls:
        _fail(where, "a non-empty list")
    for index, call in enumerate(calls):
        function = call.get("function") if type(call) is dict else None
        custom = type(call) is dict and call.get("type") not in {None, "function"}
        if custom:
            continue
        if type(function) is not dict or type(function.get("name")) is not str or type(call.get("id")) is not str:
            _fail(f"{where}[{index}]", "an object with an id and a function with a name")
        if type(function.get("arguments")) not in {str, type(None)}:
            _fail(f"{where}[{index}]", "a call whose arguments are a string")
