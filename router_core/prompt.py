"""One pass over a chat body: what the request says, capped, and how much of it there is.

Rules this module obeys:
- The body may be any mapping. A shape we do not know is skipped, never an error.
- The cost is linear in the body's text with a tiny constant (``len`` and one C-speed count per text); what is kept
  for reading is capped at the head and the tail, where instructions stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from router_core.value import value_class

USER_HEAD: Final = 1000
USER_TAIL: Final = 600
SYSTEM_HEAD: Final = 700
SYSTEM_TAIL: Final = 300
TURN_HEAD: Final = 260
TURN_TAIL: Final = 140
EARLIER_TURNS: Final = 3
"""Characters kept of each text, and how many earlier user turns are kept (the first and the latest ones)."""

_MEDIA: Final[Mapping[str, str]] = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "audio": "audio",
    "audio_url": "audio",
    "video_url": "image",
    "input_video": "image",
    "file": "file",
    "input_file": "file",
    "document": "file",
}
_SHORT: Final = 4000
"""Characters up to which UTF-8 is looked at byte by byte: slow at length, but begun at once."""
_BEYOND_ASCII: Final = bytes(range(0x80, 0x100))
_TWO_BYTES_FROM: Final = np.uint16(0x80)
_THREE_BYTES_FROM: Final = np.uint16(0x800)
_SYSTEM_ROLES: Final = frozenset({"system", "developer"})
_TOOL_ROLES: Final = frozenset({"tool", "function"})


@value_class()
class Prompt:
    """What a chat body says, capped for reading, and its size, uncapped.

    ``user``, ``system`` and ``before`` are at most a few thousand characters: the last user turn, the system and
    developer messages, and what came before (earlier user turns, then the last assistant turn).
    ``chars`` counts every text of the body, ``wide_chars`` those outside ASCII and ``wide_bytes`` their length in
    UTF-8, which tells two-byte scripts from three-byte ones without looking at a character. ``tool_chars`` is the
    size of tool schemas and recorded tool calls as text. ``images`` counts image parts.
    """

    user: str = ""
    system: str = ""
    before: str = ""
    n_messages: int = 0
    n_tools: int = 0
    has_tool_messages: bool = False
    media: frozenset[str] = frozenset()
    images: int = 0
    chars: int = 0
    wide_chars: int = 0
    wide_bytes: int = 0
    tool_chars: int = 0
    user_chars: int = 0


@dataclass(slots=True)
class _Count:
    """Sums while reading; becomes part of a ``Prompt``."""

    chars: int = 0
    wide_chars: int = 0
    wide_bytes: int = 0
    tool_chars: int = 0
    images: int = 0
    media: set[str] = field(default_factory=set)
    tool_messages: bool = False

    def text(self, text: str) -> None:
        """Add one text's size; ASCII texts cost one ``isascii``, others a look at their UTF-8, long ones at UTF-16."""
        self.chars += len(text)
        if text.isascii():
            return
        if len(text) <= _SHORT:
            utf8 = text.encode("utf-8", "surrogatepass")
            narrow = len(utf8.translate(None, _BEYOND_ASCII))
            self.wide_chars += len(text) - narrow
            self.wide_bytes += len(utf8) - narrow
            return
        units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype=np.uint16)
        wide = len(text) - int(np.count_nonzero(units < _TWO_BYTES_FROM))
        narrow = len(text) - wide
        two_bytes = int(np.count_nonzero(units < _THREE_BYTES_FROM)) - narrow
        four_bytes = len(units) - len(text)  # these take two units
        self.wide_chars += wide
        self.wide_bytes += 3 * wide - two_bytes + four_bytes

    def size(self, value: object) -> None:
        """Add the size of a schema or a tool call, read as its text."""
        try:
            self.tool_chars += len(repr(value))
        except (RecursionError, ValueError):  # nested beyond reason, or an integer beyond printing: not ours to judge
            self.tool_chars += 1000


def clip(text: str, head: int, tail: int) -> str:
    """Return ``text``, or its first ``head`` and last ``tail`` characters with a line break between."""
    return text if len(text) <= head + tail else f"{text[:head]}\n{text[len(text) - tail :]}"


def read_prompt(body: Mapping[str, Any]) -> Prompt:
    """Read an OpenAI chat body. Never raises for a shape it does not know; linear in the body's text."""
    count = _Count()
    raw = body.get("messages")
    messages = [m for m in raw if isinstance(m, (dict, Mapping))] if isinstance(raw, (list, Sequence)) else []
    users: list[str] = []
    system: list[str] = []
    assistant = ""
    for message in messages:
        role = message.get("role") if isinstance(message.get("role"), str) else ""
        text = _content(message.get("content"), count)
        if role in _TOOL_ROLES:
            count.tool_messages = True
        elif role == "assistant":
            assistant = text or assistant
            _tool_calls(message, count)
        elif role in _SYSTEM_ROLES:
            system.append(text)
        else:
            users.append(text)
    last = users[-1] if users else ""
    return Prompt(
        user=clip(last, USER_HEAD, USER_TAIL),
        system=clip("\n".join([clip(s, SYSTEM_HEAD, SYSTEM_TAIL) for s in system[:4]]), SYSTEM_HEAD, SYSTEM_TAIL),
        before=_before(users[:-1], assistant) if len(users) > 1 else "",
        n_messages=len(messages),
        n_tools=_tools(body, count),
        has_tool_messages=count.tool_messages,
        media=frozenset(count.media),
        images=count.images,
        chars=count.chars,
        wide_chars=count.wide_chars,
        wide_bytes=count.wide_bytes,
        tool_chars=count.tool_chars,
        user_chars=len(last),
    )


def _before(earlier: list[str], assistant: str) -> str:
    kept = earlier if len(earlier) <= EARLIER_TURNS else [earlier[0], *earlier[-(EARLIER_TURNS - 1) :]]
    turns = [clip(turn, TURN_HEAD, TURN_TAIL) for turn in kept]
    if assistant:
        turns.append(clip(assistant, TURN_HEAD, 0))
    return "\n".join(turns)


def _content(content: object, count: _Count) -> str:
    if isinstance(content, str):
        count.text(content)
        return content
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray):
        return ""
    texts: list[str] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, (dict, Mapping)):
            _part(part, texts, count)
    for text in texts:
        count.text(text)
    return "\n".join(texts)


def _part(part: Mapping[str, Any], texts: list[str], count: _Count) -> None:
    kind = part.get("type")
    medium = _MEDIA.get(kind) if isinstance(kind, str) else None
    if medium is not None:
        count.media.add(medium)
        count.images += medium == "image"
        return
    text = part.get("text", part.get("refusal"))
    if isinstance(text, str):
        texts.append(text)


def _tool_calls(message: Mapping[str, Any], count: _Count) -> None:
    for name in ("tool_calls", "function_call"):
        calls = message.get(name)
        if calls:
            count.tool_messages = True
            count.size(calls)


def _tools(body: Mapping[str, Any], count: _Count) -> int:
    offered = 0
    for name in ("tools", "functions"):
        tools = body.get(name)
        if tools and isinstance(tools, Sequence) and not isinstance(tools, str | bytes):
            offered += len(tools)
            count.size(tools)
    return offered
