"""What Anthropic must be given and a client of OpenAI need not say: a user who opens the conversation, and a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.forward.translate import OPENING
from router_core.deployment import Deployment


def opened(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation that a user opens: OpenAI takes one that an answer opens, or a system text alone."""
    begin = next((i for i, each in enumerate(messages) if each.get("role") != "system"), len(messages))
    if begin == len(messages) or messages[begin].get("role") == "assistant":
        messages.insert(begin, dict(OPENING))
    return messages


def limit(options: dict[str, Any], body: Mapping[str, Any], deployment: Deployment) -> None:
    """Set ``max_tokens`` in ``options``: where the client gives no limit, it is all the deployment can write.

    litellm's is 4,096 tokens for a model it does not know, and so much beside the thoughts where thinking is asked for.
    """
    most, thinking = deployment.max_output_tokens, options.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    asked = any(body.get(name) is not None for name in ("max_tokens", "max_completion_tokens"))
    if most is not None and not asked and most > (budget if isinstance(budget, int) else 0):
        options["max_tokens"] = most
