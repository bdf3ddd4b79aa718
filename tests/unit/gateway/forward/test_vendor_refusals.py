"""What the vendors really write when they refuse, and what it is taken for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.forward.failures import from_error_event, from_response
from gateway.forward.retry_after import reset_s, retry_after_s, span_s, spoken_s
from router_core.outcome import FailureKind

K = FailureKind
Rows = list[tuple[int, Any]]


def e(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


TOO_LONG: Rows = [
    (
        400,
        e(
            "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.",
            code="context_length_exceeded",
        ),
    ),
    (400, e("Input tokens exceed the configured limit of 272000 tokens.", code="context_length_exceeded")),
    (
        400,
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"},
        },
    ),
    (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again",
            },
        },
    ),
    (
        400,
        e(
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            code=400,
            status="INVALID_ARGUMENT",
        ),
    ),
    (
        400,
        e(
            "Unable to submit request because the input token count is 40000 but model only supports up to 32768. Reduce the input token count and try again.",
            code=400,
            status="INVALID_ARGUMENT",
        ),
    ),
    (
        400,
        {
            "object": "error",
            "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
            "type": "invalid_request_error",
            "code": "3051",
        },
    ),
    (400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292."}),
    (400, {"message": "too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs."}),
    (
        400,
        e(
            "Please reduce the length of the messages or completion.",
            code="context_length_exceeded",
            type="invalid_request_error",
            param="messages",
        ),
    ),
    (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000 `inputs` tokens and 20 `max_new_tokens`",
            "error_type": "validation",
        },
    ),
    (
        422,
        {
            "error": "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000",
            "error_type": "validation",
        },
    ),
    (400, e("The prompt is too long: 140000, model maximum context length: 131071")),
    (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        },
    ),
    (400, {"message": "Input is too long for requested model."}),
    (
        400,
        e(
            "This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens",
            code=400,
        ),
    ),
    (
        400,
        {
            "object": "error",
            "message": "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    (
        400,
        {
            "object": "error",
            "message": "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    (
        400,
        e(
            "the request exceeds the available context size, try increasing it",
            type="exceed_context_size_error",
            code=400,
        ),
    ),
    (
        400,
        {
            "error": "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough."
        },
    ),
    (
        400,
        {
            "message": "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
    ),
    (400, e("Invalid request: Your request exceeded model token limit: 8192", type="invalid_request_error")),
    (
        400,
        {
            "error": {
                "message": "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
                "type": "invalid_request_error",
                "code": "invalid_parameter_error",
            }
        },
    ),
    (
        400,
        {
            "errors": [
                {
                    "code": "invalid_input_argument",
                    "message": "the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model",
                }
            ]
        },
    ),
    (
        400,
        e(
            "Requested generation length 1000 is not possible! The provided prompt is 4000 tokens long, so generating 1000 tokens requires a sequence length of 5000, but the maximum supported sequence length is just 4096!"
        ),
    ),
    (413, e("Request body too large for gpt-4o model. Max size: 8000 tokens.", code="tokens_limit_reached")),
    (400, e("context window exceeds limit (2013)", type="invalid_params")),
    (400, e("context window exceeds limit")),
    (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "messages: text content exceeds model context window",
            },
        },
    ),
    (
        413,
        e(
            "Request too large for model `llama-3.1-8b-instant` in organization `x` service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 11917, please reduce your message size and try again.",
            type="tokens",
            code="rate_limit_exceeded",
        ),
    ),
    (500, {"error": "input length exceeds maximum context length"}),
    (400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}),
]
FILTERED: Rows = [
    (
        400,
        e(
            "Your request was rejected as a result of our safety system.",
            code="content_policy_violation",
            type="invalid_request_error",
        ),
    ),
    (
        400,
        e(
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
            code="content_filter",
            innererror={"code": "ResponsibleAIPolicyViolation"},
        ),
    ),
    (
        400,
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"},
        },
    ),
    (
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Content violates usage guidelines. Team: x, API key ID: y, Model: grok",
        },
    ),
    (400, e("Content Exists Risk", type="invalid_request_error", code="invalid_request_error")),
    (
        400,
        e(
            "Input data may contain inappropriate content.",
            type="data_inspection_failed",
            code="data_inspection_failed",
        ),
    ),
    (400, e("The request was rejected because it was considered high risk", type="content_filter")),
    (
        403,
        e(
            'openai/gpt-4 requires moderation on OpenAI. Your input was flagged for "violence". No credits were charged.',
            code=403,
            metadata={"reasons": ["violence"]},
        ),
    ),
    (
        400,
        e("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt"),
    ),
    (400, e("System detected potentially unsafe or sensitive content in input or generation.", code="1301")),
    (
        400,
        {
            "error": {
                "message": "This request has been flagged for potentially high-risk cyber activity",
                "code": "cyber_policy_violation",
                "type": "invalid_request",
            }
        },
    ),
]
UNPAID: Rows = [
    (
        429,
        e(
            "You exceeded your current quota, please check your plan and billing details.",
            type="insufficient_quota",
            code="insufficient_quota",
        ),
    ),
    (
        429,
        e(
            "Your account is not active, please check your billing details on our website.",
            type="billing_not_active",
            code="billing_not_active",
        ),
    ),
    (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the Anthropic API.",
            },
        },
    ),
    (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
            },
        },
    ),
    (402, e("Insufficient Balance", code="invalid_request_error")),
    (
        429,
        e(
            "Your account org-x<ak-y> is suspended, please check your plan and billing details",
            type="exceeded_current_quota_error",
        ),
    ),
    (
        403,
        {
            "code": "x",
            "error": "Your team x has either used all available credits or reached its monthly spending limit.",
        },
    ),
    (429, e("Insufficient balance or no resource package. Please recharge.", code="1113")),
    (
        412,
        e(
            "Account x is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices."
        ),
    ),
    (
        403,
        e(
            "This API method requires billing to be enabled. Please enable billing on project #1",
            status="PERMISSION_DENIED",
            code=403,
            details=[{"@type": "x", "reason": "BILLING_DISABLED"}],
        ),
    ),
]
LIMITED: Rows = [
    (
        429,
        e(
            "You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. Please retry in 34.07s.",
            code=429,
            status="RESOURCE_EXHAUSTED",
            details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}],
        ),
    ),
    (429, e("Resource has been exhausted (e.g. check quota).", code=429, status="RESOURCE_EXHAUSTED")),
    (
        429,
        e(
            "Rate limit reached for gpt-4o in organization org on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.",
            type="requests",
            code="rate_limit_exceeded",
        ),
    ),
    (429, e("Rate limit reached ... Please try again in 1m12.5s.", type="tokens", code="rate_limit_exceeded")),
    (429, e("Rate limit reached ... Please try again in 345ms.", type="tokens", code="rate_limit_exceeded")),
    (429, {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited", "code": "1300"}),
    (429, {"message": "Too many requests"}),
    (429, {"detail": "Too Many Requests"}),
    (429, b"<html>429</html>"),
]
UNKNOWN: Rows = [
    (404, e("The model `x` does not exist or you do not have access to it.", code="model_not_found")),
    (400, e("Model Not Exist", code="invalid_request_error")),
    (400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"}),
    (400, e("x is not a valid model ID", code=400)),
    (400, e("The model `x` has been decommissioned", code="model_decommissioned")),
    (400, {"error": 'model "x" not found, try pulling it first'}),
    (404, {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}}),
]

KINDS = {
    K.CONTEXT_OVERFLOW: TOO_LONG,
    K.CONTENT_FILTER: FILTERED,
    K.BILLING: UNPAID,
    K.RATE_LIMITED: LIMITED,
    K.NOT_FOUND: UNKNOWN,
}


@pytest.mark.parametrize(
    ("kind", "status", "body"), [(kind, status, body) for kind, rows in KINDS.items() for status, body in rows]
)
def test_refusals_are_told_apart(kind: FailureKind, status: int, body: Any):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = from_response(status, {}, raw)
    assert found.kind is kind
    assert found.status == status


def test_the_wait_is_read_wherever_it_stands():
    limited = e("Rate limit reached. Please try again in 1m12.5s.", code="rate_limit_exceeded")
    raw = json.dumps(limited).encode()
    assert from_response(429, {}, raw).retry_after_s == 72.5
    assert from_response(429, {"Retry-After": "3"}, raw).retry_after_s == 3.0
    assert from_response(500, {}, raw).retry_after_s is None
    assert from_error_event(limited).retry_after_s == 72.5
    used_up = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}
    assert from_response(429, used_up, b"{}").retry_after_s == 360.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20s", 20.0),
        ("345ms", 0.345),
        ("1m12.5s", 72.5),
        ("1h2m3s", 3723.0),
        ("2 minutes, 1 second", 121.0),
        ("500 milliseconds", 0.5),
        ("1d", 86_400.0),
        ("soon", None),
        ("5", None),
        ("", None),
        ("3 sheep", None),
        ("10s later", None),
    ],
)
def test_spans(text: str, seconds: float | None):
    assert span_s(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please try again in 20s. Visit", 20.0),
        ("Please retry in 34.07s.", 34.07),
        ("Retry after 7 seconds", 7.0),
        ("try again in a while", None),
        ("wait 20s", None),
    ],
)
def test_spoken_waits(message: str, seconds: float | None):
    assert spoken_s(message) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6s"}, 6.0),
        ({"X-RateLimit-Remaining-Requests": "0", "X-RateLimit-Reset-Requests": "6s"}, 6.0),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "6s"}, None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-23T10:00:30Z",
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-23T10:00:10Z",
                "Date": "Mon, 23 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "odd"}, None),
    ],
)
def test_limits_that_are_used_up(headers: dict[str, str], seconds: float | None):
    assert reset_s(headers) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0),
        ("1m30s", 90.0),
        ("5, 10", 5.0),
        (" 7 ", 7.0),
        ("-3", 0.0),
        ("2015-10-21T07:28:00Z", 0.0),
        ("2099-01-01T00:00:00", 604_800.0),
        ("NaN", None),
        ("inf", None),
        ("soon", None),
    ],
)
def test_odd_forms_of_retry_after(text: str, seconds: float | None):
    assert retry_after_s({"Retry-After": text}) == seconds
