"""The refusals a provider is known for, by name: one table, rendered by each wire in its vendor's words."""

from __future__ import annotations

from typing import Final

from gateway.demo.ask import Complaint

COMPLAINTS: Final[dict[str, Complaint]] = {
    complaint.kind: complaint
    for complaint in (
        Complaint(400, "bad_request", "Invalid value for 'temperature'.", param="temperature"),
        Complaint(
            400,
            "context_length_exceeded",
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. "
            "Please reduce the length of the messages.",
            code="context_length_exceeded",
            param="messages",
        ),
        Complaint(
            400,
            "content_filter",
            "The response was filtered due to the prompt triggering the content management policy.",
            code="content_filter",
            param="prompt",
        ),
        Complaint(
            400,
            "content_policy_violation",
            "Your request was rejected as a result of our safety system.",
            code="content_policy_violation",
        ),
        Complaint(
            400, "unknown_parameter", "Unknown parameter: '{param}'.", code="unknown_parameter", param="stream_options"
        ),
        Complaint(400, "prefill_rejected", "Prefilling assistant messages is not supported for this model."),
        Complaint(401, "auth", "Incorrect API key provided.", code="invalid_api_key"),
        Complaint(402, "billing", "Your credit balance is too low to access the API.", code="billing_error"),
        Complaint(
            403,
            "permission",
            "Your project does not have access to this model in your region.",
            code="unsupported_country_region_territory",
        ),
        Complaint(
            404, "model_not_found", "The model does not exist or you do not have access to it.", "model_not_found"
        ),
        Complaint(404, "route_not_found", "Unknown request URL."),
        Complaint(408, "request_timeout", "The request timed out."),
        Complaint(409, "conflict", "The request conflicts with another one."),
        Complaint(413, "too_large", "Request exceeds the maximum size."),
        Complaint(422, "unprocessable", "The request was well-formed but could not be processed."),
        Complaint(429, "rate_limit", "Rate limit reached for requests per min.", code="rate_limit_exceeded"),
        Complaint(
            429,
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details.",
            code="insufficient_quota",
        ),
        Complaint(500, "server_error", "The server had an error while processing your request."),
        Complaint(502, "bad_gateway", "Bad gateway."),
        Complaint(503, "unavailable", "The engine is currently overloaded, please try again later."),
        Complaint(504, "gateway_timeout", "The upstream took too long."),
        Complaint(529, "overloaded", "Overloaded"),
    )
}

_BY_STATUS: Final[dict[int, str]] = {
    400: "bad_request",
    401: "auth",
    402: "billing",
    403: "permission",
    404: "model_not_found",
    408: "request_timeout",
    409: "conflict",
    413: "too_large",
    422: "unprocessable",
    429: "rate_limit",
    502: "bad_gateway",
    503: "unavailable",
    504: "gateway_timeout",
    529: "overloaded",
}
_BAD_REQUESTS: Final = range(400, 500)


def kind_for(status: int) -> str:
    """Return the complaint that goes with a bare status."""
    return _BY_STATUS.get(status, "bad_request" if status in _BAD_REQUESTS else "server_error")
