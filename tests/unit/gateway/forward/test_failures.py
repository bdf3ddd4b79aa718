"""One table: statuses, names and words of every vendor -> one kind each."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.forward.failures import error_in_success, from_error_event, from_response
from gateway.forward.retry_after import retry_after_s
from gateway.forward.words import MAX_MESSAGE, clean, read_words
from gateway.secrets import Secret
from router_core.outcome import FailureKind as K


def judged(status: int, body: object, **options: object) -> K:
    return from_response(status, {}, orjson.dumps(body), **options).kind  # type: ignore[arg-type]


def openai(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str) -> dict[str, object]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def google(code: int, status: str, message: str, *details: dict[str, object]) -> dict[str, object]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


INNER = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}
ROWS = [
    (400, openai("Invalid value for 'temperature'."), K.INVALID_REQUEST),
    (400, openai("This model's maximum context length is 8192 tokens.", "context_length_exceeded"), K.CONTEXT_OVERFLOW),
    (
        400,
        {"object": "error", "message": "This model's maximum context length is 4096 tokens", "code": 400},
        K.CONTEXT_OVERFLOW,
    ),
    (400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), K.CONTEXT_OVERFLOW),
    (413, anthropic("request_too_large", "Prompt is too long"), K.CONTEXT_OVERFLOW),
    (
        400,
        anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2"),
        K.CONTEXT_OVERFLOW,
    ),
    (
        400,
        google(400, "INVALID_ARGUMENT", "The input token count exceeds the maximum number of tokens allowed 1048575."),
        K.CONTEXT_OVERFLOW,
    ),
    (400, google(400, "INVALID_ARGUMENT", "The input token count (2000001) exceeds the maximum"), K.CONTEXT_OVERFLOW),
    (400, {"message": "too many tokens: total length of input exceeds"}, K.CONTEXT_OVERFLOW),
    (400, openai("Rejected", "content_policy_violation"), K.CONTENT_FILTER),
    (
        400,
        {"error": {"code": "content_filter", "message": "The response was filtered", "innererror": INNER}},
        K.CONTENT_FILTER,
    ),
    (400, {"error": {"code": "x", "message": "no", "innererror": INNER}}, K.CONTENT_FILTER),
    (400, anthropic("invalid_request_error", "Output blocked by content filtering policy"), K.CONTENT_FILTER),
    (400, anthropic("invalid_request_error", "Your credit balance is too low to access the API"), K.BILLING),
    (
        400,
        google(400, "INVALID_ARGUMENT", "API key not valid.", {"@type": "x.ErrorInfo", "reason": "API_KEY_INVALID"}),
        K.AUTH,
    ),
    (401, openai("Incorrect API key", "invalid_api_key"), K.AUTH),
    (402, openai("Insufficient Balance"), K.BILLING),
    (403, anthropic("permission_error", "no"), K.AUTH),
    (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist"}}, K.NOT_FOUND),
    (405, {"detail": "Method Not Allowed"}, K.NOT_FOUND),
    (408, {}, K.TIMEOUT),
    (409, {}, K.CONFLICT),
    (413, {}, K.INVALID_REQUEST),
    (418, {}, K.INVALID_REQUEST),
    (422, {"detail": [{"loc": ["body", "temperature"], "msg": "too hot", "type": "value_error"}]}, K.INVALID_REQUEST),
    (429, openai("Rate limit reached", "rate_limit_exceeded", "requests"), K.RATE_LIMITED),
    (429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), K.BILLING),
    (429, google(429, "RESOURCE_EXHAUSTED", "Quota exceeded for metric"), K.RATE_LIMITED),
    (498, {}, K.OVERLOADED),
    (500, openai("The server had an error", kind="server_error"), K.SERVER),
    (500, anthropic("overloaded_error", "Overloaded"), K.OVERLOADED),
    (501, {}, K.SERVER),
    (502, {}, K.SERVER),
    (503, google(503, "UNAVAILABLE", "The model is overloaded."), K.SERVER),
    (504, {}, K.TIMEOUT),
    (520, {}, K.SERVER),
    (529, anthropic("overloaded_error", "Overloaded"), K.OVERLOADED),
    (302, {}, K.PROTOCOL),
]


@pytest.mark.parametrize(("status", "body", "kind"), ROWS)
def test_every_vendors_refusal_has_its_kind(status: int, body: object, kind: K) -> None:
    assert judged(status, body) is kind


@pytest.mark.parametrize("status", [502, 503, 504, 520, 524])
def test_somebody_in_between_is_marked(status: int) -> None:
    assert from_response(status, {}, b"<html>Bad gateway at 10.0.0.1</html>").gateway
    assert not from_response(500, {}, b"").gateway


def test_words_are_kept_for_the_client() -> None:
    body = {"error": {"message": "Bad top_p", "type": "invalid_request_error", "param": "top_p", "code": "bad_value"}}
    found = from_response(400, {}, orjson.dumps(body))
    assert (found.message, found.param, found.code, found.type) == (
        "Bad top_p",
        "top_p",
        "bad_value",
        "invalid_request_error",
    )


def test_codes_are_filled_in_where_a_vendor_has_none() -> None:
    found = from_response(400, {}, orjson.dumps(anthropic("invalid_request_error", "prompt is too long: 9 > 8")))
    assert found.code == "context_length_exceeded"


def test_validation_errors_name_their_field() -> None:
    body = {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}
    found = from_response(422, {}, orjson.dumps(body), added=frozenset({"stream_options"}))
    assert (found.param, found.ours) == ("stream_options", "stream_options")


@pytest.mark.parametrize(
    ("message", "added", "ours"),
    [
        ("Unknown parameter: 'stream_options'.", {"stream_options"}, "stream_options"),
        ("include_usage is not supported", {"stream_options"}, "stream_options"),
        ("max_completion_tokens is too small", {"max_tokens", "max_completion_tokens"}, "max_completion_tokens"),
        ("This model does not support assistant message prefill.", {"prefill"}, "prefill"),
        ("The conversation must end with a user message.", {"prefill"}, "prefill"),
        ("Unknown parameter: 'temperature'.", {"stream_options"}, None),
        ("Unknown parameter: 'stream_options'.", set(), None),
    ],
)
def test_what_we_added_is_ours(message: str, added: set[str], ours: str | None) -> None:
    assert from_response(400, {}, orjson.dumps(openai(message)), added=frozenset(added)).ours == ours


def test_messages_hold_no_secrets_and_no_addresses() -> None:
    Secret("s3cr3t-value-of-ours")
    text = (
        "Bad key s3cr3t-value-of-ours (sk-abcdefghijkl) at https://internal.example:8443/v1?key=abc via 10.1.2.3:80\x00"
        + "x" * 5000
    )
    found = from_response(400, {}, orjson.dumps(openai(text)))
    for gone in ("s3cr3t-value", "abcdefghijkl", "internal.example", "10.1.2.3", "\x00"):
        assert gone not in found.message
    assert len(found.message) <= MAX_MESSAGE


def test_a_page_is_not_quoted() -> None:
    found = from_response(400, {}, b"<html><body>proxy at cache-7.internal</body></html>")
    assert found.message == "the provider answered 400 Bad Request"
    assert (
        from_response(500, {}, b"Traceback (most recent call last)").message
        == "the provider answered 500 Internal Server Error"
    )
    assert from_response(400, {}, b"plain words").message == "plain words"


@pytest.mark.parametrize(
    ("event", "kind", "status"),
    [
        ({"error": {"message": "x", "type": "server_error"}}, K.SERVER, 500),
        ({"error": {"message": "x", "code": 502}}, K.SERVER, 502),
        ({"error": {"message": "x", "code": "429"}}, K.RATE_LIMITED, 429),
        (anthropic("overloaded_error", "Overloaded"), K.OVERLOADED, 529),
        (anthropic("rate_limit_error", "slow"), K.RATE_LIMITED, 429),
        (google(503, "UNAVAILABLE", "later"), K.SERVER, 503),
        ([google(429, "RESOURCE_EXHAUSTED", "later")], K.RATE_LIMITED, 429),
        ({"error": {"message": "too long", "code": "context_length_exceeded"}}, K.CONTEXT_OVERFLOW, 400),
        ({"error": "something"}, K.SERVER, 500),
        ({"message": "odd"}, K.SERVER, 500),
    ],
)
def test_error_events(event: object, kind: K, status: int) -> None:
    found = from_error_event(event)
    assert (found.kind, found.status) == (kind, status)


def test_an_error_inside_a_200_is_nonsense_unless_it_is_clear() -> None:
    assert error_in_success({"message": "x", "type": "server_error"}).kind is K.PROTOCOL
    assert error_in_success("text").kind is K.PROTOCOL
    assert error_in_success({"message": "slow down", "code": 429}).kind is K.RATE_LIMITED
    assert error_in_success({"message": "x", "code": "insufficient_quota"}).kind is K.BILLING


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"Retry-After": "Mon, 23 Nov 2026 07:00:30 GMT", "Date": "Mon, 23 Nov 2026 07:00:00 GMT"}, 30.0),
        ({"Retry-After": "Mon, 23 Nov 2026 07:00:30 GMT"}, 10.0),
        ({"Retry-After": "Mon, 23 Nov 2020 07:00:30 GMT"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "99999999"}, 604_800.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    now = 1_795_417_220.0  # Mon, 23 Nov 2026 07:00:20 GMT
    assert retry_after_s(headers, now=now) == seconds


def test_geminis_retry_info_is_read() -> None:
    detail: dict[str, object] = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
    found = from_response(429, {}, orjson.dumps(google(429, "RESOURCE_EXHAUSTED", "x", detail)))
    assert found.retry_after_s == 34.07


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "type", "detail", "details", "status", "loc", "msg", "param", "innererror"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_no_body_is_too_odd_to_read(body: object) -> None:
    words = read_words(body)
    assert len(words.message) <= MAX_MESSAGE
    assert from_error_event(body).kind in set(K)


@given(st.binary(max_size=200), st.integers(100, 599))
def test_no_answer_is_too_odd_to_judge(body: bytes, status: int) -> None:
    assert from_response(status, {}, body).kind in set(K)


def test_cleaning_is_bounded() -> None:
    assert len(clean("y" * 100_000)) == MAX_MESSAGE


def test_what_was_cleaned_can_be_written_down() -> None:
    assert clean("half \ud83d of \ud83d\udc26") == "half \ufffd of \U0001f426"
