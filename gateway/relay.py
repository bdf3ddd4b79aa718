"""From one upstream's events to the client's bytes: unchanged where nothing must change, and a tally of what was sent.

Pure: no waiting, no clock. ``streams.py`` drives it.
"""

from __future__ import annotations

from typing import Any, Final

from gateway import chunks
from gateway.chunks import Tail
from router_core.deployment import Deployment
from router_core.ports import Event

DONE: Final = b"data: [DONE]\n\n"
_NULL_USAGE: Final = b',"usage":null'


def frame(payload: bytes) -> bytes:
    """Return one server-sent event."""
    return b"data: " + payload + b"\n\n"


def frames(payloads: list[bytes]) -> bytes:
    """Return server-sent events that go out together, one for each payload."""
    return b"data: " + b"\n\ndata: ".join(payloads) + b"\n\n"


class Relay:
    """What one stream said so far, and what of it the client gets.

    ``include_usage``: the client asked for usage. ``finished`` holds the indexes of choices that ended, of ``n``.
    ``text`` is the content of choice 0 as relayed, ``calls`` its tool calls; kept only when ``keep``, for a recovery or
    to look at the answer's form.
    """

    __slots__ = (
        "_call_pieces",
        "_include_usage",
        "_keep",
        "_model",
        "_n",
        "_renamed",
        "_seen",
        "characters",
        "content_events",
        "deployment",
        "done",
        "finish_reason",
        "finished",
        "first",
        "parts",
        "plain",
        "refusal",
        "skipped",
        "tool_calls",
        "usage",
        "usage_chunk",
    )

    def __init__(self, deployment: Deployment, *, include_usage: bool, n: int = 1, keep: bool = False) -> None:
        """Begin with nothing said."""
        self.deployment = deployment
        self._include_usage = include_usage
        self._n = n
        self._keep = keep
        self._call_pieces: list[Any] = []
        self._model: str | None = None
        self._renamed = False
        self._seen: set[int] = set()
        self.characters = 0
        self.content_events = 0
        self.done = False
        self.finish_reason: str | None = None
        self.finished: set[int] = set()
        self.first: dict[str, Any] | None = None
        self.parts: list[str] = []
        self.plain = True
        self.refusal = False
        self.skipped = 0
        self.tool_calls = 0
        self.usage: Any = None
        self.usage_chunk: dict[str, Any] | None = None

    @property
    def complete(self) -> bool:
        """Whether every choice said how it ended."""
        return len(self.finished) >= self._n

    @property
    def model(self) -> str:
        """The model's name as the client sees it."""
        return self._model or self.deployment.model

    @property
    def text(self) -> str:
        """The content of choice 0 so far."""
        return chunks.joined(self.parts)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The tool calls of choice 0 so far."""
        return chunks.joined_calls(self._call_pieces)

    @property
    def whole(self) -> bool:
        """Whether the answer came to its end: all choices did, or all it has when it says that there are no more."""
        return self.complete or (self.done and bool(self.finished) and self._seen <= self.finished)

    def feed(self, event: Event) -> bytes | None:
        """Take one event; return the payload to send (without SSE framing), None when there is nothing to send."""
        chunk = event.chunk
        if chunk is None:
            self.done = self.done or event.done
            self.skipped += event.malformed and not self.complete
            return None
        raw = event.raw
        if self._model is None:
            self._name(chunk)
        if self._renamed:
            chunk["model"] = self._model
            raw = None
        choices = chunk.get("choices")
        if type(choices) is not list:
            chunk["choices"] = choices = []
            raw = None
        text = chunks.only_text(choices) if self._n == 1 else ""
        if text:
            self.characters += len(text)
            self.content_events += 1
            if self._keep:
                self.parts.append(text)
        elif choices and self._read(choices):
            raw = None
        if "usage" in chunk:
            return self._with_usage(chunk, raw, bool(choices))
        return raw if raw is not None else chunks.to_json(chunk)

    def _name(self, chunk: dict[str, Any]) -> None:
        said = chunk.get("model")
        self._model = chunks.shown_model(said, self.deployment)
        self._renamed = said != self._model
        self.first = {name: chunk.get(name) for name in ("id", "created")}

    def _read(self, choices: list[Any]) -> bool:
        """Tally the pieces; returns whether one had to be put into a client's shape."""
        changed = False
        for choice in choices:
            if type(choice) is not dict:
                changed = True
                continue
            index = choice.get("index")
            if type(index) is not int:
                index = choice["index"] = choices.index(choice)
                changed = True
            if self._n > 1:
                self._seen.add(index)
            reason = choice.get("finish_reason")
            if reason:
                self.finished.add(index)
                self.finish_reason = self.finish_reason or chunks.safe_name(str(reason))
            delta = choice.get("delta")
            if type(delta) is not dict:  # clients read its fields without a look
                message = choice.pop("message", None)
                delta = choice["delta"] = message if type(message) is dict else {}
                changed = True
            if self._read_delta(delta):
                changed = True
        if changed:
            choices[:] = [choice for choice in choices if type(choice) is dict]
        return changed

    def _read_delta(self, delta: dict[str, Any]) -> bool:
        """Tally a piece; returns whether it had to be put into a client's shape."""
        content = delta.get("content")
        if type(content) is str and content:
            self.characters += len(content)
            self.content_events += 1
            if self._keep:
                self.parts.append(content)
            if len(delta) == 1:
                return False
        elif content and type(content) is not str:
            chunks.mend_content(delta)
            self._read_delta(delta)
            return True
        for name in chunks.CONTENT[1:]:
            value = delta.get(name)
            if value:
                self.plain = False
                self.characters += len(value) if type(value) is str else 32
                self.content_events += not content
                if name == "tool_calls" and type(value) is list:
                    self.tool_calls += sum(1 for call in value if type(call) is dict and call.get("id"))
                    if self._keep:
                        self._call_pieces += value
                elif name == "refusal":
                    self.refusal = True
        return False

    def _with_usage(self, chunk: dict[str, Any], raw: bytes | None, has_choices: bool) -> bytes | None:  # noqa: FBT001
        usage = chunk["usage"]
        if usage is None and raw is not None and not self._include_usage:
            # OpenAI repeats a null in every chunk; outside of strings these bytes can be nothing else.
            around = raw.split(_NULL_USAGE)
            if len(around) == 2:
                return b"".join(around)
        if usage and type(usage) is not dict:
            usage = chunk["usage"] = raw = None
        if usage:
            self.usage = usage
            if not has_choices:
                self.usage_chunk = chunk if self._include_usage else None
                return None
        if self._include_usage:
            return raw if raw is not None else chunks.to_json(chunk)
        del chunk["usage"]
        return chunks.to_json(chunk)

    def tail(self, provider_cost_usd: float | None) -> Tail:
        """Return what the stream said of itself at its end."""
        first = self.first or {}
        refused = self.refusal or self.finish_reason == "content_filter"
        return Tail(
            self.finish_reason,
            refused,
            self.tool_calls,
            chunks.safe_name(first.get("id")),
            self.skipped,
            provider_cost_usd,
        )
