"""What a caller asks for, whichever wire it came on. Every wire module reads its body into these values."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Json: TypeAlias = dict[str, Any]

_PIECE: Final = re.compile(r"\s*\S+|\s+$")
_CHARS_PER_TOKEN: Final = 4
_MESSAGE_OVERHEAD_TOKENS: Final = 4
_IMAGE_TOKENS: Final = 85


@dataclass(frozen=True, slots=True)
class Complaint:
    """A refusal that each wire renders in its vendor's shape.

    ``status`` is an HTTP status; ``kind`` is one of the names in ``complaints.py``; ``retry_after_s`` is in seconds.
    """

    status: int
    kind: str
    message: str
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None


class Refused(Exception):
    """Raised with the fields of a ``Complaint`` for a request the vendor would refuse."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.complaint = Complaint(status, kind, message, code, param, retry_after_s)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function on offer; ``schema`` is the JSON schema of its arguments."""

    name: str
    description: str
    schema: Json


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it arrived: its media type and its size in bytes (0 for a URL, which is never fetched)."""

    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, read.

    ``max_tokens`` is in output tokens, None for no limit; ``tool_choice`` is ``auto``, ``none``, ``required`` or a
    tool's name; ``prefill`` is the text of a last message that is the assistant's own.
    """

    model: str
    stream: bool = False
    prompt: str = ""
    system: str = ""
    input_tokens: int = 0
    n: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel_tools: bool = True
    legacy_functions: bool = False
    tool_results: tuple[str, ...] = ()
    schema: Json | None = None
    json_object: bool = False
    images: tuple[Image, ...] = ()
    prefill: str | None = None
    include_usage: bool = False
    logprobs: bool = False
    top_logprobs: int = 0
    reasoning: bool = False
    cacheable: str = ""


def pieces(text: str) -> list[str]:
    """Cut a text into words with their leading space. One piece is one token of output in all that follows."""
    return _PIECE.findall(text)


def input_tokens(texts: list[str], images: int = 0) -> int:
    """Estimate input tokens: four characters each, and a fixed share for every message and image."""
    chars = sum(map(len, texts))
    return -(-chars // _CHARS_PER_TOKEN) + _MESSAGE_OVERHEAD_TOKENS * len(texts) + _IMAGE_TOKENS * images


def image_from_url(url: str) -> Image:
    """Read a data URL's media type and size; any other URL is named but never fetched.

    Raises ``Refused`` 400 when the data is not base64.
    """
    if not url.startswith("data:"):
        return Image("url", 0)
    head, _, data = url.partition(",")
    media_type = head.removeprefix("data:").partition(";")[0]
    return image_from_base64(media_type, data)


def image_from_base64(media_type: str, data: str) -> Image:
    """Read an inline image. Raises ``Refused`` 400 when the data is not base64."""
    try:
        return Image(media_type, len(base64.b64decode(data, validate=True)))
    except (binascii.Error, ValueError) as error:
        raise Refused(400, "bad_request", "The image data is not valid base64.", param="messages") from error


def text_of(value: object) -> str:
    """Return a value if it is a string, else nothing."""
    return value if isinstance(value, str) else ""


def dicts(value: object) -> list[Json]:
    """Return the mappings in a list, and an empty list for anything that is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def positive(value: object, name: str) -> int | None:
    """Read an optional positive whole number. Raises ``Refused`` 400 for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Refused(400, "bad_request", f"Invalid '{name}': expected an integer above 0.", param=name)
    return value
