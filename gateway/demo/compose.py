"""Make the demo answer to a request: deterministic per (seed, model, prompt), short, and honest about what it is."""

from __future__ import annotations

import keyword
import re
import time
from dataclasses import replace
from hashlib import blake2b
from typing import Final

import orjson

from gateway.demo.answer import Answer, AnswerSettings, Choice, Finish, Prefill, Tokens, ToolCall, deal
from gateway.demo.ask import Ask, Json, Tool, pieces
from gateway.demo.instance import instance
from gateway.demo.judge import DOUBT, judged
from gateway.demo.profile import Profile

_SUM: Final = re.compile(r"(-?\d{1,15}(?:\.\d{1,6})?)\s*([-+*x\u00d7])\s*(-?\d{1,15}(?:\.\d{1,6})?)")
_WORD: Final = re.compile(r"[a-z]{3,}")
_CODE: Final = re.compile(r"\b(code|function|python|class|script|implement|refactor|unit test|pytest)\b", re.IGNORECASE)
_STEPS: Final = re.compile(r"\b(plan|steps?|roadmap|milestones?|how (?:do|to|would))\b", re.IGNORECASE)
_MAX_PARALLEL_CALLS: Final = 3
_ARGUMENT_CHARS_PER_TOKEN: Final = 4


def compose(ask: Ask, profile: Profile, settings: AnswerSettings, seed: int = 0, cached: int = 0) -> Answer:
    """Return the answer to ``ask``; ``cached`` is the number of input tokens found in the prompt cache."""
    model = settings.model or ask.model or profile.name
    digest = _digest(seed, ask.model, ask.prompt, ask.system)
    choices = tuple(_choice(ask, profile, settings, digest, index) for index in range(ask.n))
    return Answer(
        id=digest.hex()[:24],
        model=model,
        created=int(time.time()),
        choices=choices,
        usage=_usage(ask, choices, settings, cached),
    )


def prefill_of(settings: AnswerSettings, profile: Profile, wire: str) -> Prefill:
    """Say what is done with an assistant's beginning: OpenAI's wire starts anew, the others go on from it."""
    return settings.prefill or profile.prefill or ("ignore" if wire == "openai" else "continue")


def _digest(seed: int, *parts: str) -> bytes:
    return blake2b("\0".join((str(seed), *parts)).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _choice(ask: Ask, profile: Profile, settings: AnswerSettings, digest: bytes, index: int) -> Choice:
    reasoning = settings.reasoning
    if reasoning is None and ask.reasoning and profile.reasons:
        reasoning = f"The question has {len(pieces(ask.prompt))} words. A demo model needs no more thought than that."
    thoughts = tuple(pieces(reasoning or ""))
    calls = _tool_calls(ask, settings, digest, index)
    if calls:
        return Choice(tool_calls=calls, reasoning=thoughts, finish=settings.finish or "tool_calls")
    if settings.text is not None:
        text = settings.text.replace("{prompt}", ask.prompt)
    else:
        text = _text(ask, profile, digest, index)
    if ask.prefill and text.startswith(ask.prefill):
        text = text[len(ask.prefill) :]
    text, finish, found = _limit(text, ask, len(thoughts))
    return Choice(deal(text, settings.chunks), (), thoughts, None, settings.finish or finish, found)


def _limit(text: str, ask: Ask, spent: int) -> tuple[str, Finish, str | None]:
    """Cut a text at the first stop sequence and at the output limit; say which of the two ended it."""
    hits = [(at, word) for word in ask.stop if word and (at := text.find(word)) >= 0]
    finish: Finish = "stop"
    found = None
    if hits:
        at, found = min(hits)
        text, finish = text[:at], "stop_sequence"
    if ask.max_tokens is not None:
        words = pieces(text)
        room = max(ask.max_tokens - spent, 0)
        if len(words) > room:
            return "".join(words[:room]), "length", None
    return text, finish, found


def _usage(ask: Ask, choices: tuple[Choice, ...], settings: AnswerSettings, cached: int) -> Tokens:
    reasoning = sum(len(choice.reasoning) for choice in choices)
    output = reasoning + sum(len(pieces(choice.text)) for choice in choices)
    for choice in choices:
        output += sum(1 - -len(call.arguments) // _ARGUMENT_CHARS_PER_TOKEN for call in choice.tool_calls)
    tokens = Tokens(input=ask.input_tokens, output=output, cached=min(cached, ask.input_tokens), reasoning=reasoning)
    return replace(tokens, **settings.usage) if settings.usage else tokens


# ---- tool calls ----


def _tool_calls(ask: Ask, settings: AnswerSettings, digest: bytes, index: int) -> tuple[ToolCall, ...]:
    if settings.tool_calls is not None:
        return tuple(_fixed_call(raw, digest, index, at) for at, raw in enumerate(settings.tool_calls))
    if settings.text is not None or not ask.tools or ask.tool_choice == "none" or ask.tool_results:
        return ()
    named = [tool for tool in ask.tools if tool.name == ask.tool_choice]
    ranked = named or sorted(ask.tools, key=lambda tool: -_overlap(tool, ask.prompt))
    # Several calls only where the prompt asks for several things and the caller allows it.
    parts = re.split(r"\s+and\s+|;\s*", ask.prompt) if ask.parallel_tools and not named else [ask.prompt]
    if len(parts) == 1 or not _wants_several(ranked, parts):
        return (_made_call(ranked[0], ask.prompt, digest, index, 0),)
    made = []
    for at, part in enumerate(parts[:_MAX_PARALLEL_CALLS]):
        best = max(ask.tools, key=lambda tool: _overlap(tool, part))
        made.append(_made_call(best if _overlap(best, part) else ranked[0], part, digest, index, at))
    return tuple(made)


def _wants_several(ranked: list[Tool], parts: list[str]) -> bool:
    return sum(1 for part in parts if any(_overlap(tool, part) for tool in ranked)) > 1


def _overlap(tool: Tool, prompt: str) -> int:
    """Count the words of a tool's name and description that the prompt uses; the name counts double."""
    asked = set(_WORD.findall(prompt.lower()))
    name = set(_WORD.findall(tool.name.lower().replace("_", " ")))
    return 2 * len(asked & name) + len(asked & set(_WORD.findall(tool.description.lower())))


def _call_id(digest: bytes, index: int, at: int) -> str:
    return blake2b(digest + bytes((index, at)), digest_size=12).hexdigest()


def _made_call(tool: Tool, hint: str, digest: bytes, index: int, at: int) -> ToolCall:
    arguments = instance(tool.schema or {"type": "object"}, hint)
    return ToolCall(_call_id(digest, index, at), tool.name, orjson.dumps(arguments).decode())


def _fixed_call(raw: Json, digest: bytes, index: int, at: int) -> ToolCall:
    arguments = raw.get("arguments", {})
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return ToolCall(str(raw.get("id") or _call_id(digest, index, at)), str(raw.get("name", "tool")), text)


# ---- texts ----


def _text(ask: Ask, profile: Profile, digest: bytes, index: int) -> str:
    verdict = judged(ask)
    if verdict is not None:
        return verdict
    if ask.schema is not None:
        return orjson.dumps(instance(ask.schema, ask.prompt)).decode()
    lead = f"This is a demo answer by {profile.name if not ask.model else ask.model}."
    doubtful = profile.grade == "weak" and digest[index % len(digest)] % 3 == 0
    body = _body(ask, profile, doubtful=doubtful)
    if index:
        lead = f"{lead} (Version {index + 1}.)"
    if ask.json_object:
        return orjson.dumps({"answer": body, "model": ask.model, "demo": True}).decode()
    return f"{lead} {body}" + (f" {DOUBT}: this small demo model is not sure]" if doubtful else "")


def _body(ask: Ask, profile: Profile, *, doubtful: bool) -> str:
    if ask.tool_results:
        quoted = "; ".join(" ".join(result.split())[:200] for result in ask.tool_results)
        return f"The tool returned: {quoted}"
    if ask.images:
        seen = ", ".join(f"{image.media_type} of {image.size} bytes" for image in ask.images)
        pictures = all(image.media_type == "url" or image.media_type.startswith("image/") for image in ask.images)
        kind = "image(s)" if pictures else "file(s)"
        return f"I received {len(ask.images)} {kind}: {seen}. A demo model does not look at them."
    if found := _SUM.search(ask.prompt):
        return f"{found.group(0)} = {_compute(*found.groups(), wrong=doubtful)}."
    if profile.grade == "weak":
        return f"In short: {_topic(ask.prompt)}."
    if _CODE.search(ask.prompt):
        return _code(ask.prompt)
    if _STEPS.search(ask.prompt):
        steps = ("Say what done means", "List what is known", "Do the riskiest part first", "Check the result")
        return "\n" + "\n".join(f"{number}. {step}." for number, step in enumerate(steps, 1))
    text = f"You asked about: {_topic(ask.prompt)}. "
    text += "A real model would answer here; this one only shows the way a request took."
    if profile.grade == "strong":
        text += " It would weigh the arguments on both sides, name what is uncertain, and end with a recommendation."
    return text


def _topic(prompt: str) -> str:
    words = prompt.split()
    return " ".join(words[:16])[:160].rstrip(".?!") or "nothing in particular"


def _code(prompt: str) -> str:
    words = [
        word for word in _WORD.findall(prompt.lower()) if word not in {"python", "function", "write", "that", "the"}
    ]
    name = "_".join(words[:3]) or "demo"
    if keyword.iskeyword(name):
        name = f"demo_{name}"
    quoted = _topic(prompt).replace("\\", " ").replace('"', "'")
    return (
        f"A sketch in Python:\n\n```python\ndef {name}(value: str) -> str:\n"
        f'    """{quoted}."""\n    return value.strip()\n```\n'
    )


def _compute(left: str, operator: str, right: str, *, wrong: bool) -> str:
    a, b = (float(side) if "." in side else int(side) for side in (left, right))
    value = a + b if operator == "+" else a - b if operator == "-" else a * b
    return f"{round(value, 6) + (1 if wrong else 0)}"
