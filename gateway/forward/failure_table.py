"""The table: which status, which name and which words of a provider mean which kind of failure. Data only.

The meaning of each kind, and what follows from it, stands in the routing domain; here is only what is what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from router_core.outcome import FailureKind

K = FailureKind

BY_STATUS: Final[Mapping[int, FailureKind]] = {
    400: K.INVALID_REQUEST,
    401: K.AUTH,
    402: K.BILLING,
    403: K.AUTH,
    404: K.NOT_FOUND,
    405: K.NOT_FOUND,
    407: K.CONNECT,
    408: K.TIMEOUT,
    409: K.CONFLICT,
    410: K.NOT_FOUND,
    413: K.INVALID_REQUEST,
    421: K.CONNECT,
    422: K.INVALID_REQUEST,
    424: K.SERVER,
    425: K.SERVER,
    429: K.RATE_LIMITED,
    451: K.AUTH,
    498: K.OVERLOADED,
    499: K.SERVER,
    500: K.SERVER,
    502: K.SERVER,
    503: K.SERVER,
    504: K.TIMEOUT,
    524: K.TIMEOUT,
    529: K.OVERLOADED,
}
"""Statuses with a meaning of their own; other 3xx are redirects, other 4xx invalid requests, other 5xx server errors.

498 is Groq's "capacity exceeded", 424 and 499 mean that somebody behind the provider gave up, 524 is Cloudflare's
time-out, 421 a connection that led to the wrong server, 451 a place or a law that forbids what 403 does elsewhere.
"""

GATEWAY: Final = frozenset({502, 503, 504, *range(520, 528)})

BY_NAME: Final[Mapping[str, int]] = {
    # OpenAI and those who copy it
    "server_error": 500,
    "internal_server_error": 500,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "requests": 429,
    "tokens": 429,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "invalid_api_key": 401,
    "model_not_found": 404,
    # Anthropic, https://docs.anthropic.com/en/api/errors
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    # Google, https://cloud.google.com/apis/design/errors
    "invalid_argument": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "aborted": 409,
    "resource_exhausted": 429,
    "internal": 500,
    "unknown": 500,
    "unimplemented": 501,
    "unavailable": 503,
    "deadline_exceeded": 504,
}
"""The status a provider's own name for an error stands for, where no HTTP status says it (events, bodies of a 200)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A refusal that its words tell better than its status: codes match whole, phrases anywhere in the message."""

    kind: FailureKind
    statuses: frozenset[int]
    codes: tuple[str, ...]
    phrases: tuple[str, ...] = ()


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        K.CONTEXT_OVERFLOW,
        frozenset({400, 413, 422, 500}),
        (
            "context_length_exceeded",
            "string_above_max_length_context",
            "context_window_exceeded",
            "input_too_long",
            "exceed_context_size_error",
            "tokens_limit_reached",
        ),
        (
            "maximum context length",
            "prompt is too long",
            "prompt too long",
            "input is too long",
            "input token count exceeds",
            "input token count (",
            "exceeds the maximum number of tokens",
            "exceed context limit",
            "exceeds the context window",
            "exceeds context window",
            "exceeds the model's maximum context",
            "longer than the model's context length",
            "model's maximum context limit",
            "context length exceeded",
            "context window exceeded",
            "exceeds the available context size",
            "input tokens exceed the configured limit",
            "`inputs` tokens + `max_new_tokens` must be",
            "`inputs` must have less than",
            "too many tokens: ",
            "while limit is",
            "too large for model ",
            "but model only supports up to",
            "maximum prompt length is",
            "longer than the maximum model length",
            "when context the overflows",
            "exceeded model token limit",
            "range of input length should be",
            "cannot exceed the total tokens limit",
            "maximum supported sequence length",
            "context window exceeds limit",
            "exceeds model context window",
            "context window limit",
            "prompt exceeds max length",
        ),
    ),
    Rule(
        K.CONTENT_FILTER,
        frozenset({400, 403, 422}),
        (
            "content_filter",
            "content_policy_violation",
            "responsibleaipolicyviolation",
            "content_filter_policy",
            "safety",
            "prohibited_content",
            "blocklist",
            "data_inspection_failed",
            "cyber_policy_violation",
        ),
        (
            "content management policy",
            "rejected as a result of our safety system",
            "output blocked by content filtering policy",
            "flagged as potentially violating",
            "violates our usage policy",
            "invalid_prompt",
            "violates usage guidelines",
            "content exists risk",
            "input was flagged",
            "potentially unsafe or sensitive content",
        ),
    ),
    Rule(
        K.BILLING,
        frozenset({400, 402, 403, 412, 429}),
        (
            "insufficient_quota",
            "billing_error",
            "billing_hard_limit_reached",
            "insufficient_balance",
            "billing_disabled",
            "billing_not_active",
            "exceeded_current_quota_error",
        ),
        (
            "credit balance is too low",
            "exceeded your current quota, please check your plan",
            "insufficient balance",
            "reached your specified api usage limits",
            "used all available credits",
            "reaching the monthly spending limit",
        ),
    ),
    Rule(
        K.AUTH,
        frozenset({400}),
        ("api_key_invalid", "invalid_api_key", "unauthenticated"),
        ("api key not valid", "api key expired", "invalid api key"),
    ),
    Rule(
        K.NOT_FOUND,
        frozenset({400}),
        ("model_not_found", "deploymentnotfound", "model_decommissioned", "invalid_model"),
        ("model not exist", "is not a valid model id", "not found, try pulling it first"),
    ),
    Rule(K.OVERLOADED, frozenset({400, 500, 503}), ("overloaded_error", "capacity_exceeded")),
)
"""Asked in this order before the status decides. A prompt that quotes a phrase cannot reach a message of ours."""
