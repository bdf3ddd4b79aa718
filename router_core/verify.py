"""Cheap verifiers of an answer: does its form hold? Off the response path; every check is pure and bounded.

What is checked follows from the request: ``response_format`` (JSON, and its schema), tool arguments against their
tools' schemas, fenced code blocks against their language's grammar, and signs that an answer is none: empty, refused,
cut. A check that does not apply is left out; ``held`` False is strong evidence, True weak.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from router_core.code import loads, parses
from router_core.schema import violations
from router_core.value import value_class

MAX_CHARS: Final = 200_000
"""Longer texts are not checked: a check must not cost more than the answer."""
MAX_CODE: Final = 20_000
"""Characters of all code blocks together that are parsed: some ten milliseconds at most."""
MAX_BLOCKS: Final = 20
MAX_CALLS: Final = 64


@value_class()
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
    calls = message.get("tool_calls") or []
    calls = list(calls)[:MAX_CALLS] if isinstance(calls, Sequence) and not isinstance(calls, str) else []
    checks: list[Check] = []
    if not calls and (not text or text.isspace()):
        return (Check("not_empty", held=False, detail="no text and no tool call"),)
    if finish_reason == "length":
        checks.append(Check("not_cut", held=False, detail="the output limit cut it"))
    if message.get("refusal") or (not calls and refuses(text)):
        checks.append(Check("not_refused", held=False, detail="declines to answer"))
    if len(text) <= MAX_CHARS:
        if not calls and "response_format" in request:
            checks.extend(_format(request["response_format"], text))
        if "```" in text or "~~~" in text:
            checks.extend(_blocks(text, cut=finish_reason == "length"))
    if calls:
        checks.extend(_calls(request.get("tools"), calls))
    elif "tool_choice" in request and _must_call(request["tool_choice"]):
        checks.append(Check("tool_called", held=False, detail="answers in words where a tool had to be called"))
    return tuple(checks)


_CANNOT: Final = (
    r"(?:can['\u2019]?t|cannot|can not|won['\u2019]?t|(?:am|['\u2019]m) (?:not able to|unable to|not going to))"
)
_REFUSAL: Final = re.compile(
    rf"\s*(?:(?:i['\u2019]?m |i am )?(?:really |very |so )?(?:sorry|afraid),? (?:but )?i ?{_CANNOT}"
    rf"|i(?: {_CANNOT}|['\u2019]m (?:unable|not able) to| must decline to| have to decline) ?"
    r"(?:help|assist|comply|provide|do that|answer|fulfil|create|generate|write|support|engage|to)"
    rf"|(?:as|i['\u2019]m|i am) an ai(?: language model| assistant)?,? (?:so |and )?i ?{_CANNOT}"
    r"|es tut mir leid,? (?:aber )?(?:dabei |das |ich )*(?:kann|darf)|lo siento,? (?:pero )?no puedo"
    r"|(?:je suis )?désolée?,? (?:mais )?je ne peux pas|(?:mi dispiace|spiacente),? (?:ma )?non posso"
    r"|(?:desculpe|sinto muito),? (?:mas )?(?:eu )?não posso|het spijt me,? (?:maar )?(?:ik kan|dat kan ik)"
    r"|przykro mi,? (?:ale )?nie mogę|üzgünüm,? (?:ama |ancak )?(?:bu|size|yardımcı)"
    r"|(?:извините|к сожалению|простите),? (?:но )?я не могу|вибачте,? (?:але )?я не можу"
    r"|(?:对不起|很?抱歉)[,，]?\s*(?:但)?我?(?:不能|无法)|申し訳(?:ありません|ございません)が"
    r"|죄송(?:합니다만|하지만|합니다[,.] )|(?:عذر[اًا]+|آسف)،? (?:لكن|ولكن)?\s*لا (?:يمكنني|أستطيع)"
    r"|(?:माफ़|क्षमा) (?:कीजिए|करें),? )",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether an answer opens by declining (16 languages) and says little else (at most 600 characters)."""
    return len(text) <= 600 and _REFUSAL.match(text) is not None


def _format(wanted: Any, text: str) -> Iterator[Check]:
    if not isinstance(wanted, Mapping) or wanted.get("type") not in {"json_object", "json_schema"}:
        return
    try:
        value = loads(text)
    except (ValueError, RecursionError):
        yield Check("json", held=False, detail="not JSON")
        return
    yield Check("json", held=True)
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if wanted["type"] == "json_schema" and isinstance(schema, Mapping):
        found = violations(value, schema)
        yield Check("json_schema", not found, "; ".join(found[:3]))


def _must_call(choice: Any) -> bool:
    return choice == "required" or (isinstance(choice, Mapping) and choice.get("type") == "function")


def _calls(tools: Any, calls: Sequence[Any]) -> Iterator[Check]:
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
        value = loads(arguments or "{}")
    except (ValueError, RecursionError):
        return Check("tool_arguments", held=False, detail="arguments are not JSON")
    if not isinstance(value, dict):
        return Check("tool_arguments", held=False, detail="arguments are not an object")
    schema = known[name]
    found = violations(value, schema) if isinstance(schema, Mapping) else []
    return Check("tool_arguments", not found, "; ".join(found[:3]))


class _Fence(NamedTuple):
    """An open code block: its marks, how far they are indented, its language."""

    marks: str
    indent: int
    language: str


_MARKS: Final = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([\w+#.-]*)([^`\n]*)$")


def _blocks(text: str, *, cut: bool) -> Iterator[Check]:
    """Check complete fenced blocks; an unfinished one is a fault unless the whole answer was cut."""
    fence: _Fence | None = None
    held: list[str] = []
    number = size = 0
    for line in text.splitlines():
        found = _MARKS.match(line)
        if fence is None:
            if found is not None:
                fence, held = _Fence(found[2], len(found[1]), found[3].lower()), []
        elif found is not None and found[2].startswith(fence.marks) and not found[3] and not found[4].strip():
            size += sum(map(len, held))
            if number >= MAX_BLOCKS or size > MAX_CODE:
                return
            number += 1
            problem = parses(fence.language, "\n".join(held) + "\n")
            if problem is not None:
                yield Check(f"code_{fence.language}", not problem, problem)
            fence = None
        else:
            held.append(line[fence.indent :] if line[: fence.indent].isspace() else line)
    if fence is not None and not cut:
        yield Check("code_closed", held=False, detail="a code block is not closed")
