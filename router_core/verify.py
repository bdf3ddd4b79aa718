"""Cheap verifiers of an answer: does its form hold? Off the response path; every check is pure and bounded.

What is checked follows from the request: ``response_format`` (JSON, and its schema), tool arguments against their
tools' schemas, fenced code blocks against their language's grammar, and signs that an answer is none: empty, refused,
cut. A check that does not apply is left out; ``held`` False is strong evidence, True weak.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from router_core.schema import violations

MAX_CHARS: Final = 200_000
"""Longer texts are not checked: a check must not cost more than the answer."""
MAX_CODE: Final = 50_000
MAX_BLOCKS: Final = 20
MAX_CALLS: Final = 64


@dataclass(frozen=True, slots=True)
class Check:
    """One check that applied: its name, whether it held, and what was wrong (never the answer's text)."""

    name: str
    held: bool
    detail: str = ""


def verify(
    request: Mapping[str, Any], message: Mapping[str, Any], finish_reason: str | None = None
) -> tuple[Check, ...]:
    """Return the checks that apply to an assistant ``message`` given the ``request`` body it answers."""
    content = message.get("content")
    text = content if isinstance(content, str) else ""
    calls = message.get("tool_calls")
    calls = list(calls)[:MAX_CALLS] if isinstance(calls, Sequence) and not isinstance(calls, str) else []
    checks: list[Check] = []
    if not text.strip() and not calls:
        return (Check("not_empty", held=False, detail="no text and no tool call"),)
    if finish_reason == "length":
        checks.append(Check("not_cut", held=False, detail="the output limit cut it"))
    if message.get("refusal") or (not calls and refuses(text)):
        checks.append(Check("not_refused", held=False, detail="declines to answer"))
    if len(text) <= MAX_CHARS:
        if not calls:
            checks.extend(_format(request.get("response_format"), text))
        checks.extend(_blocks(text, cut=finish_reason == "length"))
    checks.extend(_calls(request.get("tools"), calls))
    return tuple(checks)


_CANNOT: Final = r"(?:can['\u2019]?t|cannot|won['\u2019]?t)"
_REFUSAL: Final = re.compile(
    r"\s*(?:i['\u2019]?m (?:really |very |so )?sorry,? but (?:i )?(?:can|am|['\u2019]m)"
    rf"|sorry,? (?:but )?i {_CANNOT}"
    rf"|i (?:{_CANNOT}|am unable to|['\u2019]m unable to|must decline to) "
    r"(?:help|assist|comply|provide|do that|answer|fulfil)"
    rf"|as an ai(?: language model)?,? i (?:{_CANNOT}|am not able)"
    r"|es tut mir leid,? aber ich kann|lo siento,? (?:pero )?no puedo|je suis désolée?,? (?:mais )?je ne peux pas"
    r"|извините,? (?:но )?я не могу|对不起，我(?:不能|无法)|申し訳(?:ありません|ございません)が)",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether an answer opens by declining (seven languages) and says little else (at most 600 characters)."""
    return len(text) <= 600 and _REFUSAL.match(text) is not None


def _format(wanted: Any, text: str) -> Iterator[Check]:
    if not isinstance(wanted, Mapping) or wanted.get("type") not in {"json_object", "json_schema"}:
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        yield Check("json", held=False, detail="not JSON")
        return
    yield Check("json", held=True)
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if wanted["type"] == "json_schema" and isinstance(schema, Mapping):
        found = violations(value, schema)
        yield Check("json_schema", not found, "; ".join(found[:3]))


def _calls(tools: Any, calls: Sequence[Any]) -> Iterator[Check]:
    if not calls:
        return
    known: dict[str, Any] = {}
    for tool in tools if isinstance(tools, Sequence) else ():
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            known[function["name"]] = function.get("parameters")
    for call in calls:
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            yield _call(function, known)


def _call(function: Mapping[str, Any], known: Mapping[str, Any]) -> Check:
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or name not in known:
        return Check("tool_arguments", held=False, detail="calls a tool that was not offered")
    if not isinstance(arguments, str) or len(arguments) > MAX_CHARS:
        return Check("tool_arguments", held=False, detail="arguments are no text of bounded size")
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return Check("tool_arguments", held=False, detail="arguments are not JSON")
    if not isinstance(value, dict):
        return Check("tool_arguments", held=False, detail="arguments are not an object")
    schema = known[name]
    found = violations(value, schema) if isinstance(schema, Mapping) else []
    return Check("tool_arguments", not found, "; ".join(found[:3]))


_FENCE: Final = re.compile(r"^[ ]{0,3}```[ \t]*([\w+#.-]*)[^\n]*\n(.*?)^[ ]{0,3}```", re.MULTILINE | re.DOTALL)


def _blocks(text: str, *, cut: bool) -> Iterator[Check]:
    """Check complete fenced blocks; an unfinished one is a fault unless the whole answer was cut."""
    if "```" not in text:
        return
    for number, match in enumerate(_FENCE.finditer(text)):
        if number >= MAX_BLOCKS:
            return
        language, code = match.group(1).lower(), match.group(2)
        problem = parses(language, code)
        if problem is not None:
            yield Check(f"code_{language}", not problem, problem)
    if text.count("```") % 2 and not cut:
        yield Check("code_closed", held=False, detail="a code block is not closed")


def parses(language: str, code: str) -> str | None:
    """Return "" when ``code`` parses, what is wrong when it does not, None when its language is not checked.

    Python is checked by its own parser, JSON likewise; bracket languages by balanced brackets outside strings.
    """
    if len(code) > MAX_CODE:
        return None
    if language in {"python", "py", "python3"}:
        return _python(code)
    if language == "json":
        try:
            json.loads(code)
        except (ValueError, RecursionError):
            return "not JSON"
        return ""
    if language in _BRACKET_LANGUAGES:
        return _balanced(code)
    return None


def _python(code: str) -> str | None:
    if ">>> " in code:  # a session, not a program
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an answer's odd escapes are not ours to report
            ast.parse(code)
    except (SyntaxError, ValueError):
        return "not Python"
    except (MemoryError, RecursionError):
        return None
    return ""


_BRACKET_LANGUAGES: Final = frozenset(
    "javascript js typescript ts java c cpp c++ csharp c# go rust kotlin swift scala dart".split()  # noqa: SIM905
)
_TEXT: Final = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"(?:\\.|[^\"\\\n])*\""
    r"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*(?:`|\Z)",
    re.DOTALL,
)
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}


def _balanced(code: str) -> str:
    bare = _TEXT.sub("", code)
    open_now: list[str] = []
    for sign in bare:
        if sign in "([{":
            open_now.append(sign)
        elif sign in _PAIRS and (not open_now or open_now.pop() != _PAIRS[sign]):
            return "brackets do not match"
    return "brackets are left open" if open_now else ""
