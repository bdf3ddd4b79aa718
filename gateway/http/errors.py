"""What a client is told when something went wrong: OpenAI's error shape, the true status, and no secret.

``ApiError`` is raised anywhere in the gateway's edge and rendered once. ``code`` is a stable word, ``param`` the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from gateway.secrets import scrub, scrub_known

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    499: "client_closed_request",
    502: "upstream_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}


@dataclass(slots=True)
class ApiError(Exception):
    """An answer that is an error. ``retry_after_s`` becomes Retry-After; ``should_retry`` becomes x-should-retry."""

    status: int
    message: str
    code: str
    param: str | None = None
    type: str | None = None
    retry_after_s: float | None = None
    should_retry: bool | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return OpenAI's error object; ``extra`` (attempts, candidates, decision) stands inside it."""
        error: dict[str, Any] = {
            "message": scrub(self.message),
            "type": self.type or _TYPES.get(self.status, "api_error"),
            "param": None if self.param is None else scrub_known(self.param),
            "code": self.code,
        }
        error.update({name: value for name, value in self.extra.items() if name != "router"})
        body: dict[str, Any] = {"error": error}
        if "router" in self.extra:
            body["router"] = self.extra["router"]
        return body

    def render(self) -> bytes:
        """Return the body's JSON bytes."""
        return orjson.dumps(self.body(), default=str)

    def all_headers(self) -> dict[str, str]:
        """Return the headers this error asks for."""
        found = dict(self.headers)
        if self.retry_after_s is not None:
            # Whole seconds, rounded up: a client that obeys must not come back too early.
            found["retry-after"] = str(max(1, -int(-self.retry_after_s // 1)))
        if self.should_retry is not None:
            found["x-should-retry"] = "true" if self.should_retry else "false"
        return found


def invalid(message: str, param: str | None = None, code: str = "invalid_request") -> ApiError:
    """Return a 400 about one field."""
    return ApiError(400, message, code, param, should_retry=False)
