"""How a Gemini request is read. Keys come in camelCase or in snake_case, as Google's servers take them."""

from __future__ import annotations

import ast
import re
from typing import Any, Final

import orjson

from gateway.demo.ask import Ask, Image, Json, Refused, Tool, dicts, image_from_base64, input_tokens, positive, text_of

_WRITTEN_SCHEMA: Final = re.compile(r"Use this JSON schema:\s*```json\s*(\{.{0,20000}\})\s*```", re.DOTALL)
_KEYS: Final = frozenset(
    {
        "contents",
        "systemInstruction",
        "generationConfig",
        "tools",
        "toolConfig",
        "safetySettings",
        "cachedContent",
        "labels",
        "serviceTier",
        "store",
        "model",
    }
)
_UPPER: Final = re.compile(r"[A-Z]")


def read_gemini(body: Json, model: str, *, stream: bool) -> Ask:
    """Read a generateContent body. Raises ``Refused`` 400 for what Google would refuse."""
    contents = dicts(body.get("contents"))
    if not contents:
        raise Refused(400, "bad_request", "* GenerateContentRequest.contents: contents is not specified")
    if unknown := sorted(key for key in body if key not in _KEYS and _camel(key) not in _KEYS):
        message = f'Invalid JSON payload received. Unknown name "{unknown[0][:64]}": Cannot find field.'
        raise Refused(400, "bad_request", message)
    texts, images, results = _read_contents(contents)
    system_parts = dicts(_get(_get(body, "systemInstruction") or {}, "parts"))
    system = "\n".join(text_of(part.get("text")) for part in system_parts)
    config: Json = _get(body, "generationConfig") or {}
    calling: Json = _get(_get(body, "toolConfig") or {}, "functionCallingConfig") or {}
    thinking: Json = _get(config, "thinkingConfig") or {}
    schema = _get(config, "responseJsonSchema") or _get(config, "responseSchema")
    last_role, last_text = texts[-1]
    wants_json = _get(config, "responseMimeType") == "application/json"
    if wants_json and schema is None:
        schema = _written_schema(texts[-1][1])
    return Ask(
        model=model,
        stream=stream,
        prompt=next((text for role, text in reversed(texts) if role == "user" and text), ""),
        system=system,
        input_tokens=input_tokens([system, *(text for _, text in texts)], len(images)),
        n=positive(_get(config, "candidateCount"), "candidateCount") or 1,
        max_tokens=positive(_get(config, "maxOutputTokens"), "maxOutputTokens"),
        stop=tuple(map(str, _get(config, "stopSequences") or ())),
        tools=_read_tools(body),
        tool_choice=_tool_choice(calling),
        tool_results=results,
        schema=_lower_types(schema) if isinstance(schema, dict) else None,
        json_object=wants_json and schema is None,
        images=images,
        prefill=last_text if last_role == "model" else None,
        include_usage=True,
        logprobs=_get(config, "responseLogprobs") is True,
        top_logprobs=int(_get(config, "logprobs") or 0),
        reasoning=bool(_get(thinking, "includeThoughts")) and _get(thinking, "thinkingBudget") != 0,
        cacheable="\0".join([system, *(text for _, text in texts[:-1])]),
    )


def _get(mapping: Json, key: str) -> Any:
    """Return a value by its camelCase key or by the snake_case form of it."""
    if key in mapping:
        return mapping[key]
    return mapping.get(_UPPER.sub(lambda m: "_" + m.group().lower(), key))


def _camel(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _written_schema(text: str) -> Json | None:
    """Return a schema that stands in the prompt, where a translator puts it for models it takes for old ones."""
    found = _WRITTEN_SCHEMA.search(text)
    if found is None:
        return None
    try:
        value = ast.literal_eval(found.group(1))  # it is written as Python writes a mapping
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict) else None


def _read_contents(contents: list[Json]) -> tuple[list[tuple[str, str]], tuple[Image, ...], tuple[str, ...]]:
    """Return (role, text) pairs, the images, and the tool results of the last content."""
    texts: list[tuple[str, str]] = []
    images: list[Image] = []
    results: list[str] = []
    for content in contents:
        role = text_of(content.get("role")) or "user"
        if role not in {"user", "model", "function"}:
            raise Refused(400, "bad_request", "Please use a valid role: user, model.")
        parts = dicts(content.get("parts"))
        inline = [data for part in parts if (data := _get(part, "inlineData"))]
        images += [image_from_base64(text_of(_get(d, "mimeType")), text_of(d.get("data"))) for d in inline]
        files = [data for part in parts if (data := _get(part, "fileData"))]
        images += [Image(text_of(_get(d, "mimeType")) or "url", 0) for d in files]
        responses = [found.get("response") for part in parts if (found := _get(part, "functionResponse"))]
        results = [_result_text(value) for value in responses]
        texts.append((role, "\n".join(text_of(part.get("text")) for part in parts if "text" in part)))
    return texts, tuple(images), tuple(results)


def _result_text(value: object) -> str:
    if isinstance(value, dict) and len(value) == 1 and isinstance(only := next(iter(value.values())), str):
        return only
    return orjson.dumps(value).decode()


def _read_tools(body: Json) -> tuple[Tool, ...]:
    tools = [row for tool in dicts(body.get("tools")) for row in dicts(_get(tool, "functionDeclarations"))]
    return tuple(
        Tool(
            text_of(row.get("name")),
            text_of(row.get("description")),
            _lower_types(_get(row, "parametersJsonSchema") or row.get("parameters") or {}),
        )
        for row in tools
    )


def _lower_types(schema: Any) -> Any:
    """Return a schema with Google's ``STRING`` and the like as JSON schema writes them."""
    if isinstance(schema, list):
        return [_lower_types(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value.lower() if key == "type" and isinstance(value, str) else _lower_types(value)
        for key, value in schema.items()
    }


def _tool_choice(calling: Json) -> str:
    allowed = _get(calling, "allowedFunctionNames") or []
    mode = text_of(calling.get("mode")).upper()
    if mode == "ANY":
        return str(allowed[0]) if len(allowed) == 1 else "required"
    return "none" if mode == "NONE" else "auto"
