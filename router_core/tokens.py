"""How many input tokens a prompt is, estimated without a tokenizer.

The rates are averages over current vocabularies (about 100,000 to 200,000 entries): English prose takes a bit more
than 4 characters a token, source code about 3.5, Cyrillic, Greek, Arabic, Hebrew and accented Latin letters about
2.5, and a character of three UTF-8 bytes (Chinese, Japanese, Korean, Indic scripts, Thai) about 0.83 tokens.
A provider's own count corrects the estimate through a learned ratio, see ``apply_ratio``.
"""

from __future__ import annotations

from typing import Final

from router_core.lexical import code_share
from router_core.prompt import Prompt

CHARS_PER_TOKEN: Final = 4.2
CODE_CHARS_PER_TOKEN: Final = 3.5
SCHEMA_CHARS_PER_TOKEN: Final = 4.2
TWO_BYTE_TOKENS: Final = 0.4
THREE_BYTE_TOKENS: Final = 1 / 1.2
IMAGE_TOKENS: Final = 765
"""What one image is booked as: a 1024 x 1024 picture in high detail by OpenAI's published tile rule."""
MESSAGE_TOKENS: Final = 4
"""Framing of one message (role and separators)."""


def estimate_tokens(prompt: Prompt, share: float | None = None) -> int:
    """Estimate the input tokens of ``prompt`` (at least 1); ``share`` is its code share in [0, 1] when known."""
    share = code_share(prompt.user) if share is None else share
    ascii_tokens = (prompt.chars - prompt.wide_chars) * (share / CODE_CHARS_PER_TOKEN + (1.0 - share) / CHARS_PER_TOKEN)
    three = max(0, min(prompt.wide_chars, prompt.wide_bytes - 2 * prompt.wide_chars))
    wide_tokens = three * THREE_BYTE_TOKENS + (prompt.wide_chars - three) * TWO_BYTE_TOKENS
    structure = MESSAGE_TOKENS * prompt.n_messages + prompt.tool_chars / SCHEMA_CHARS_PER_TOKEN
    return max(1, round(ascii_tokens + wide_tokens + structure + IMAGE_TOKENS * prompt.images))


def apply_ratio(estimate: int, learned_ratio: float) -> int:
    """Correct ``estimate`` tokens by ``learned_ratio`` (counted / estimated, kept within [0.25, 4]); at least 1."""
    return max(1, round(estimate * min(4.0, max(0.25, learned_ratio))))
