"""Whole answers: what one says, and booking the call that brought it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway import chunks
from gateway.calls import LiveCall
from gateway.context import RequestContext
from gateway.usage import cost_of, usage_of


def body_of(live: LiveCall) -> Mapping[str, Any]:
    """Return a call's whole answer, empty when it has none."""
    return live.answer.body if live.answer is not None else {}


def text_of(live: LiveCall) -> str:
    """Return what a call's answer says."""
    return said(body_of(live))


def said(body: Mapping[str, Any]) -> str:
    """Return what an answer says in its first speaking choice; tool calls are said as NAME(ARGUMENTS)."""
    for choice in body.get("choices") or ():
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        if isinstance(content, str) and content:
            return content
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            named = [call.get("function") or {} for call in calls if isinstance(call, dict)]
            return "\n".join(f"{each.get('name')}({each.get('arguments')})" for each in named)
    return ""


def close(ctx: RequestContext, live: LiveCall, *, told: bool = True) -> None:
    """Book a call whose whole answer is there; without ``told``, its ``tell`` is still to be called."""
    body = body_of(live)
    facts = chunks.read_answer(body)
    usage = usage_of(body.get("usage")) or chunks.estimate_usage(ctx.routing.input_tokens, facts.characters)
    live.close(
        usage,
        chunks.Tail(
            chunks.safe_name(str(facts.finish_reason)) if facts.finish_reason else None,
            facts.refusal,
            facts.tool_calls,
            chunks.safe_name(body.get("id")),
            0,
            cost_of(body.get("usage")),
        ),
        told=told,
    )
