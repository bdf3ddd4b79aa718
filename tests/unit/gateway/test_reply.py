from __future__ import annotations

from gateway.reply import Reply, last_served, routing_headers, served_headers
from tests.fakes.contexts import context, services
from tests.fakes.outcomes import attempt


def test_the_headers_say_how_a_request_was_routed():
    parts = services()
    ctx = context(parts, headers={"x-router-policy": "cost", "x-router-task": "testing"})
    ctx.calls = 2
    found = routing_headers(ctx, ctx.started + 0.004)
    assert found == {
        "x-request-id": "req_1",
        "x-router-decision-id": ctx.decision_id,
        "x-router-task": "testing",
        "x-router-task-confidence": "1.000",
        "x-router-policy": "cost",
        "x-router-mode": "single",
        "x-router-attempts": "2",
        "x-router-overhead-ms": "4.00",
    }


def test_what_happened_is_named_only_when_it_happened():
    ctx = context(services())
    ctx.fallback_reason, ctx.judge = "timeout", "acme/m9"
    ctx.dropped, ctx.adjusted = ["seed", "logit_bias"], ["max_tokens"]
    found = routing_headers(ctx, ctx.started)
    assert found["x-router-fallback-reason"] == "timeout"
    assert found["x-router-dropped-params"] == "seed,logit_bias"
    assert found["x-router-adjusted-params"] == "max_tokens"
    assert found["x-router-judge"] == "acme/m9"


def test_the_overhead_is_what_did_not_go_into_waiting_for_providers_and_is_taken_once():
    ctx = context(services())
    ctx.upstream_s = 2.0
    assert routing_headers(ctx, ctx.started + 2.005)["x-router-overhead-ms"] == "5.00"
    assert routing_headers(ctx, ctx.started + 60.0)["x-router-overhead-ms"] == "5.00"
    late = context(services())
    late.upstream_s = 9.0
    assert routing_headers(late, late.started + 1.0)["x-router-overhead-ms"] == "0.00"


def test_who_answered_is_named_with_the_score_it_was_chosen_with():
    ctx = context(services())
    found = served_headers(ctx, "beta/m2", "m2-2026-01-01")
    score = next(each.shown_score for each in ctx.decision.ranking if each.deployment == "beta/m2")
    assert found == {
        "x-router-model": "m2-2026-01-01",
        "x-router-provider": "beta",
        "x-router-deployment": "beta/m2",
        "x-router-score": f"{score:.2f}",
    }


def test_one_that_was_not_ranked_has_no_score():
    ctx = context(services(), router={"only": ["acme"]})
    assert "x-router-score" not in served_headers(ctx, "beta/m2", "m2")


def test_the_last_good_call_is_the_one_a_client_saw():
    assert last_served([]) is None
    assert last_served([attempt(failure="server")]) is None
    calls = [attempt("acme/m1"), attempt("beta/m2"), attempt("acme/m3", failure="server")]
    assert last_served(calls) == "beta/m2"


def test_replies_share_nothing():
    first = Reply()
    first.headers["x"] = "1"
    assert Reply().headers == {}
