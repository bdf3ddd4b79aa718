"""One streamed call through OpenAI's SDK, and everything a user could notice about it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import httpx
import openai

WORDS = (
    "The harbour wakes before the sun does. Ropes creak, gulls argue, and somebody on the quay drops a crate of ice. "
    "Anna counts the boats as they come in, twelve of them today, and writes the number in a small blue book. She has "
    "done so for nineteen years, and no page of it has been read by anyone else."
)
"""The healthy answer: sixty words, compared exactly."""


@dataclass(slots=True)
class Seen:
    """What came of one call.

    ``seconds`` is its whole length, ``first_s`` the wait for the first content; ``garbage`` is what the SDK said about
    an event that was no JSON.
    """

    text: str = ""
    finish: str | None = None
    model: str = ""
    usage_tokens: int | None = None
    error: str = ""
    error_code: str = ""
    status: int | None = None
    seconds: float = 0.0
    first_s: float | None = None
    hung: bool = False
    garbage: str = ""

    @property
    def whole(self) -> bool:
        """Whether the answer came in full, as a success."""
        return self.text == WORDS and self.finish == "stop" and not self.error

    @property
    def truncated_success(self) -> bool:
        """Whether something else than the whole answer was passed off as one."""
        return not self.error and not self.hung and not self.whole


async def ask(client: openai.AsyncOpenAI, route: str, limit_s: float) -> Seen:
    """Stream one answer; never raises. ``limit_s`` seconds without an end is a hang."""
    seen = Seen()
    started = time.monotonic()
    try:
        async with asyncio.timeout(limit_s):
            stream = await client.chat.completions.create(
                model=route,
                messages=[{"role": "user", "content": "Tell me about the harbour."}],
                stream=True,
                stream_options={"include_usage": True},
            )
            async for chunk in stream:
                seen.model = chunk.model or seen.model
                if chunk.usage is not None:
                    seen.usage_tokens = chunk.usage.completion_tokens
                for choice in chunk.choices:
                    if choice.delta.content and seen.first_s is None:
                        seen.first_s = time.monotonic() - started
                    seen.text += choice.delta.content or ""
                    seen.finish = choice.finish_reason or seen.finish
    except TimeoutError:
        seen.hung = True
    except openai.APIStatusError as error:
        seen.status, seen.error, seen.error_code = error.status_code, str(error), str(error.code or "")
    except openai.APIError as error:
        seen.error, seen.error_code = str(error) or type(error).__name__, str(error.code or "")
    except httpx.HTTPError as error:
        seen.error = f"{type(error).__name__} {error}"
    except ValueError as error:
        seen.garbage = str(error)
    seen.seconds = time.monotonic() - started
    return seen
