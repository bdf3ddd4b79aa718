from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.context import RequestContext
from gateway.refusals import all_failed, no_candidate
from router_core.decision import Rejection, Rule
from router_core.outcome import Failure, FailureKind
from tests.fakes.contexts import context, services
from tests.fakes.outcomes import attempt

PARTS = services()
CTX = context(PARTS)

Refused = tuple[Rule, float | None]
KEY, COST, WINDOW = Rule.NOT_ALLOWED, Rule.COST, Rule.CONTEXT_WINDOW


def refusal(*rules: Rule | Refused):
    pairs = [rule if isinstance(rule, tuple) else (rule, None) for rule in rules]
    rejections = tuple(
        Rejection(f"acme/m{place}", rule, f"because of {rule}", wait) for place, (rule, wait) in enumerate(pairs)
    )
    return no_candidate(CTX.decision._replace(chosen=None, rejections=rejections))


@pytest.mark.parametrize(
    ("rules", "status", "code", "wait"),
    [
        # nothing that can do it
        ([Rule.CAPABILITY], 400, "no_capable_deployment", None),
        ([Rule.QUALITY], 400, "no_capable_deployment", None),
        ([Rule.LATENCY], 400, "no_capable_deployment", None),
        ([Rule.PRICE], 400, "no_capable_deployment", None),
        ([Rule.EXCLUDED], 400, "no_capable_deployment", None),
        ([Rule.NOT_LISTED, Rule.CAPABILITY], 400, "no_capable_deployment", None),
        ([Rule.CAPABILITY, Rule.NO_KEY], 400, "no_capable_deployment", None),
        ([WINDOW], 400, "context_length_exceeded", None),
        ([WINDOW, Rule.NO_KEY], 400, "context_length_exceeded", None),
        ([WINDOW, Rule.CAPABILITY], 400, "no_capable_deployment", None),
        # money
        ([COST], 400, "max_cost_too_low", None),
        ([COST, WINDOW, Rule.CAPABILITY, Rule.NO_KEY], 400, "max_cost_too_low", None),
        ([COST, KEY], 400, "max_cost_too_low", None),
        # the key
        ([KEY], 403, "model_not_allowed", None),
        ([KEY, KEY], 403, "model_not_allowed", None),
        # nobody is there
        ([Rule.NO_KEY, Rule.DISABLED], 503, "provider_unavailable", None),
        # breakers, rate limits, and both: what waiting mends first
        ([(Rule.BREAKER, 40.0)], 503, "provider_unavailable", 40.0),
        ([(Rule.BREAKER, 40.0), (Rule.BREAKER, 7.0), KEY], 503, "provider_unavailable", 7.0),
        ([(Rule.RATE_LIMIT, 9.0), (Rule.RATE_LIMIT, 3.0)], 429, "rate_limited", 3.0),
        ([(Rule.RATE_LIMIT, 3.0), (Rule.BREAKER, 9.0)], 429, "rate_limited", 3.0),
        ([(Rule.RATE_LIMIT, 9.0), (Rule.BREAKER, 3.0)], 503, "provider_unavailable", 3.0),
        ([(Rule.RATE_LIMIT, 3.0), COST, Rule.CAPABILITY], 429, "rate_limited", 3.0),
        ([(Rule.BREAKER, 3.0), COST, WINDOW], 503, "provider_unavailable", 3.0),
    ],
)
def test_when_nobody_can_serve_the_client_learns_what_would_help(rules, status, code, wait):
    error = refusal(*rules)
    assert (error.status, error.code, error.retry_after_s) == (status, code, wait)
    assert ("retry-after" in error.all_headers()) == (wait is not None)


def test_every_rule_that_waiting_cannot_mend_is_the_client_s_or_the_operator_s():
    waiting = {Rule.BREAKER, Rule.RATE_LIMIT, Rule.IN_FLIGHT}
    for rule in set(Rule) - waiting:
        assert refusal(rule).status in {400, 403, 503}
        assert refusal(rule).retry_after_s is None


def test_refusals_are_listed_but_for_what_the_key_may_not_see():
    error = refusal(Rule.CAPABILITY, KEY, (Rule.BREAKER, 5.0))
    found = error.body()["error"]["candidates"]
    assert found == [
        {"deployment": "acme/m0", "rule": "capability", "detail": "because of capability"},
        {"deployment": "acme/m2", "rule": "breaker", "detail": "because of breaker"},
    ]
    assert refusal(KEY).body()["error"]["candidates"] == []


@pytest.mark.parametrize(
    ("rules", "reasons", "param"),
    [
        ([Rule.LATENCY], "because of latency", "router.max_latency_ms"),
        ([Rule.QUALITY, Rule.QUALITY, Rule.NO_KEY], "because of quality", "router.min_quality"),
        ([Rule.EXCLUDED, KEY], "because of excluded", "router.exclude"),
        ([Rule.CAPABILITY, Rule.CAPABILITY], "because of capability", None),
        ([Rule.CAPABILITY, Rule.QUALITY], "because of capability, because of quality", None),
        (
            [Rule.CAPABILITY, Rule.QUALITY, Rule.LATENCY, Rule.PRICE, Rule.EXCLUDED],
            "because of capability, because of quality, because of latency and 2 more",
            None,
        ),
        ([], "there is none", None),
    ],
)
def test_the_message_alone_says_why_nobody_can_serve(rules, reasons, param):
    error = refusal(*rules)
    assert error.message == f"no deployment can do what this request needs: {reasons}"
    assert error.param == param


def failed(
    *kinds: str | Failure, own_deadline: bool = False, reason: str = "no fallback left", last: Failure | None = None
):
    failures = [Failure(FailureKind(kind), f"a {kind} failure") if isinstance(kind, str) else kind for kind in kinds]
    ctx: RequestContext = context(PARTS)
    ctx.own_deadline = own_deadline
    ctx.attempts = [replace(attempt(failure="server"), failure=each, status=each.status) for each in failures]
    return all_failed(ctx, last or (failures[-1] if failures else None), reason)


def kind(name: str, **values: Any) -> Failure:
    return Failure(FailureKind(name), **{"message": "the provider's words", **values})


@pytest.mark.parametrize(
    ("failures", "status", "code"),
    [
        # 429 if all were, 504 if all timed out, else 502
        (["rate_limited", "rate_limited"], 429, "rate_limited"),
        (["timeout", "timeout"], 504, "provider_timeout"),
        (["rate_limited", "timeout"], 502, "provider_timeout"),
        (["timeout", "server"], 502, "provider_server"),
        (["server", "rate_limited"], 502, "provider_rate_limited"),
        (["server"], 502, "provider_server"),
        (["overloaded"], 503, "provider_overloaded"),
        (["overloaded", "rate_limited"], 503, "provider_overloaded"),
        (["server", "overloaded"], 502, "provider_overloaded"),
        (["protocol"], 502, "provider_protocol"),
        (["connect"], 502, "provider_unavailable"),
        (["stream_broken"], 502, "provider_stream_broken"),
        (["stream_truncated"], 502, "provider_stream_truncated"),
        # the provider's credentials and money are never the client's
        (["auth"], 502, "provider_auth"),
        (["billing"], 502, "provider_billing"),
        ([kind("billing", status=402)], 502, "provider_billing"),
        ([kind("billing", status=429, code="insufficient_quota")], 429, "insufficient_quota"),
        (["rate_limited", kind("billing", status=402)], 429, "rate_limited"),
        # the request's own fault, in the provider's words
        ([kind("invalid_request", status=400)], 400, "invalid_request"),
        ([kind("invalid_request", status=413, code="too_big")], 413, "too_big"),
        ([kind("invalid_request", status=422)], 422, "invalid_request"),
        ([kind("invalid_request", status=418)], 400, "invalid_request"),
        ([kind("content_filter", status=400)], 400, "content_filter"),
        ([kind("context_overflow", status=400, code="string_above_max_length")], 400, "context_length_exceeded"),
        ([kind("conflict", status=409)], 409, "conflict"),
        (["server", kind("invalid_request", status=400)], 400, "invalid_request"),
        # a model that nobody knows
        (["not_found", "not_found"], 404, "model_not_found"),
        (["server", "not_found"], 502, "provider_not_found"),
        # nobody could even be called
        ([], 503, "provider_unavailable"),
    ],
)
def test_when_every_attempt_failed_the_status_says_how(failures, status, code):
    error = failed(*failures)
    assert (error.status, error.code) == (status, code)
    assert len(error.body()["error"]["attempts"]) == len(failures)


@pytest.mark.parametrize("name", FailureKind)
def test_no_failure_of_a_provider_is_ever_a_401_or_a_success(name):
    for status in (None, 200, 401, 402, 403, 404, 429, 500, 503):
        error = failed(kind(name, status=status))
        assert error.status >= 400
        assert error.status not in {401, 402, 403}


def test_only_the_client_s_own_limit_makes_a_408_and_nobody_tries_again():
    cancelled = kind("cancelled")
    error = failed(cancelled, own_deadline=True)
    assert (error.status, error.code, error.param) == (408, "deadline_exceeded", "router.max_latency_ms")
    assert error.all_headers()["x-should-retry"] == "false"
    assert failed(cancelled).status == 502
    assert failed("timeout", own_deadline=True).status == 504


def test_the_provider_s_words_reach_the_client_where_the_fault_is_the_request_s():
    said = kind("invalid_request", message="n must be 1", status=400, param="n", type="odd_error", code="bad_n")
    error = failed(said)
    assert error.body()["error"]["message"] == "n must be 1"
    assert (error.param, error.type, error.code, error.should_retry) == ("n", "odd_error", "bad_n", False)


def test_the_shortest_wait_is_told():
    limited = [kind("rate_limited", retry_after_s=30.0), kind("rate_limited", retry_after_s=4.2)]
    assert failed(*limited).all_headers()["retry-after"] == "5"
    assert failed("rate_limited").all_headers()["retry-after"] == "1"


def test_a_provider_that_says_when_it_is_back_is_quoted():
    error = failed(kind("server", status=503, retry_after_s=12.0))
    assert (error.status, error.code, error.retry_after_s) == (503, "provider_unavailable", 12.0)
    assert failed(kind("server", status=500, retry_after_s=12.0)).retry_after_s == 12.0
    assert failed(kind("overloaded", status=529, retry_after_s=12.0)).retry_after_s == 12.0
    assert failed(kind("overloaded", status=529)).retry_after_s == 1.0


@pytest.mark.parametrize("name", ["timeout", "rate_limited", "server"])
def test_without_retries_left_the_client_is_told_not_to_try_again(name):
    assert failed(name, reason="retry budget used up").all_headers()["x-should-retry"] == "false"
    assert "x-should-retry" not in failed(name).all_headers()


def test_every_attempt_is_listed_with_its_kind_status_and_milliseconds():
    (shown,) = failed(kind("server", status=500)).body()["error"]["attempts"]
    assert shown == {"deployment": "acme/m1", "failure": "server", "status": 500, "duration_ms": 1000.0}
