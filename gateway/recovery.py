"""Going on after a cut: who may, with which words, and how two answers are joined without a seam.

A deployment that is known to accept an assistant prefill writes on from what was sent. Any other one writes the answer
again, and what it writes is used only where its beginning equals, character by character, what was already sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from gateway import chunks
from gateway.context import RequestContext
from gateway.relay import Relay
from gateway.services import Services
from router_core.deployment import Capability

_SURE_CHARS: Final = 24
"""So many characters of the beginning said again, and a second answer is taken to have started anew."""

PREFILL: Final = "prefill"
"""The name under which a refused prefill is remembered for a deployment."""


class Mismatch(Exception):
    """A second answer does not begin as the first one did; it cannot be joined to it."""


def can_continue(ctx: RequestContext, relay: Relay) -> bool:
    """Say whether a broken stream may be continued: one choice, and nothing but plain content was sent of it."""
    return ctx.chat.n == 1 and relay.plain


def continuation(services: Services, ctx: RequestContext, text: str) -> Callable[[str], Mapping[str, Any]]:
    """Return the body changes per deployment for going on from ``text``: a prefill where one is known to be accepted.

    Structured answers are always written again: a prefill may break their shape.
    """
    body = ctx.chat.body
    structured = body.get("response_format") is not None or body.get("tools") or body.get("functions")
    prefilled = [*body["messages"], {"role": "assistant", "content": text}]

    def changes(deployment: str) -> Mapping[str, Any]:
        able = Capability.PREFILL in ctx.deployment(deployment).capabilities
        if structured or not able or not text or text != text.rstrip() or (deployment, PREFILL) in services.quirks:
            return {}
        return {"messages": prefilled}

    return changes


class Splice:
    """Joins a second answer to what was sent. ``text`` is all content the client has."""

    def __init__(self, text: str, first: Relay, *, prefilled: bool) -> None:
        """``first`` gives the chunks their id; ``prefilled``: the second answer goes on, it does not begin again."""
        self.text = text
        self._head = {name: value for name, value in (first.first or {}).items() if value is not None}
        self._left = "" if prefilled else text
        self._doubt = prefilled
        self._unsure = ""

    def take(self, chunk: Mapping[str, Any] | None) -> Iterator[bytes]:
        """Take one chunk of the second answer and yield what the client may have of it; raises Mismatch."""
        choices = chunk.get("choices") if chunk is not None else None
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, Mapping):
                continue
            delta = choice.get("delta")
            fresh = self._fresh(delta if isinstance(delta, Mapping) else {})
            reason = choice.get("finish_reason")
            if reason:
                self._settle(fresh)
                self.require_end()
            if fresh or reason:
                yield self._chunk(chunk or {}, choice, fresh)

    def _fresh(self, delta: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of a delta is new to the client. Reasoning is dropped: its first half was another model's."""
        fresh: dict[str, Any] = {}
        content = delta.get("content")
        if isinstance(content, str) and content:
            content = self._believed(content)
        if isinstance(content, str) and content:
            known = content[: len(self._left)]
            if not self._left.startswith(known):
                msg = "another deployment's answer began differently"
                raise Mismatch(msg)
            self._left = self._left[len(known) :]
            if len(content) > len(known):
                fresh["content"] = content[len(known) :]
                self.text += fresh["content"]
        for name in ("tool_calls", "refusal"):
            if delta.get(name):
                self.require_end()
                fresh[name] = delta[name]
        return fresh

    def _believed(self, content: str) -> str:
        """Hold the first words of an answer that should go on: one that says the beginning again has started anew.

        Then it is spliced like any other second answer; else what was held is given out.
        """
        if not self._doubt:
            return content
        self._unsure += content
        sure = min(_SURE_CHARS, len(self.text))
        same = self.text.startswith(self._unsure[:sure])
        if same and len(self._unsure) < sure:
            return ""
        self._doubt = False
        if same:
            self._left = self.text
        held, self._unsure = self._unsure, ""
        return held

    def _settle(self, fresh: dict[str, Any]) -> None:
        """Give out what is still held when the answer ends: too short to be a new beginning."""
        if self._unsure:
            held, self._unsure, self._doubt = self._unsure, "", False
            fresh["content"] = held + fresh.get("content", "")
            self.text += held

    def require_end(self) -> None:
        """Refuse a second answer that ended before it had repeated what was sent; raises Mismatch."""
        if self._left:
            msg = "another deployment's answer was shorter than what was sent already"
            raise Mismatch(msg)

    def _chunk(self, chunk: Mapping[str, Any], choice: Mapping[str, Any], fresh: dict[str, Any]) -> bytes:
        joined = {name: value for name, value in chunk.items() if name != "usage"}
        joined.update(self._head)
        joined["choices"] = [{**choice, "delta": fresh}]
        return chunks.to_json(joined)
