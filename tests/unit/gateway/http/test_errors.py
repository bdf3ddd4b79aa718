"""What an error looks like: OpenAI's shape, headers that tell when to come back, nothing secret."""

from __future__ import annotations

import json

import pytest

from gateway.http.errors import ApiError, invalid
from gateway.secrets import Secret


def test_the_shape_is_openais():
    body = json.loads(invalid("n must be 1", "n").render())
    assert body == {
        "error": {"message": "n must be 1", "type": "invalid_request_error", "param": "n", "code": "invalid_request"}
    }


def test_more_stands_inside_the_error_and_the_decision_beside_it():
    error = ApiError(502, "all failed", "x", extra={"attempts": [1], "router": {"id": "d"}})
    assert error.body()["error"]["attempts"] == [1]
    assert error.body()["router"] == {"id": "d"}


@pytest.mark.parametrize(("seconds", "told"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (59.9, "60")])
def test_nobody_is_told_to_come_back_too_early(seconds: float, told: str):
    assert ApiError(503, "full", "x", retry_after_s=seconds).all_headers()["retry-after"] == told


def test_whether_to_retry_is_said_only_when_known():
    assert "x-should-retry" not in ApiError(502, "m", "c").all_headers()
    assert ApiError(502, "m", "c", should_retry=False).all_headers()["x-should-retry"] == "false"
    assert ApiError(502, "m", "c", should_retry=True).all_headers()["x-should-retry"] == "true"


def test_known_secrets_and_what_looks_like_one_are_taken_out():
    Secret("quite-a-secret-value")
    text = ApiError(400, "key quite-a-secret-value and sk-abcdefghijkl", "c", "quite-a-secret-value").render().decode()
    assert "quite-a-secret" not in text
    assert "abcdefghijkl" not in text


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 405, 408, 409, 413, 415, 422, 429, 431, 499, 502, 503, 504]
)
def test_every_status_we_send_has_a_type_of_its_own(status: int):
    assert ApiError(status, "m", "c").body()["error"]["type"] != "api_error"


def test_a_type_may_be_given_and_an_unknown_status_has_one():
    assert ApiError(500, "m", "c").body()["error"]["type"] == "api_error"
    assert ApiError(400, "m", "c", type="theirs").body()["error"]["type"] == "theirs"
