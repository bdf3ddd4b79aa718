from __future__ import annotations

import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gateway.observe.tracing import Tracing, from_environment
from router_core.outcome import AttemptRole
from tests.fakes.outcomes import attempt, request


def spans_of(outcome, record):
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracing = Tracing(provider)
    for each in outcome.attempts:
        tracing.attempt(each)
    tracing.request(outcome, record)
    tracing.stop()
    return {span.name: span for span in kept.get_finished_spans()}


def test_a_request_is_a_tree_of_spans_with_the_conventions_names():
    failed = attempt("acme/m1", 100.0, failure="timeout", duration_s=2.0)
    good = attempt(
        "beta/m2",
        101.0,
        role=AttemptRole.FALLBACK,
        duration_s=1.0,
        finish_reason="stop",
        upstream_id="up-1",
        time_to_first_content_s=0.25,
        status=200,
    )
    outcome = request(failed, good)
    spans = spans_of(
        outcome, {"chosen": "acme/m1", "rationale": "best", "candidates": {"deployment": ["a", "b"]}, "rejections": {}}
    )
    root, decide, first, second = (spans[name] for name in ("chat analysis", "decide", "chat m1", "chat m2"))
    assert root.kind is SpanKind.SERVER
    assert {each.parent.span_id for each in (decide, first, second)} == {root.context.span_id}
    assert (root.start_time, root.end_time) == (98 * 10**9, 101 * 10**9)
    assert (second.start_time, second.end_time) == (100 * 10**9, 101 * 10**9)
    assert decide.attributes["moe.decision.candidates"] == 2
    assert second.attributes["gen_ai.provider.name"] == "beta"
    assert second.attributes["gen_ai.request.model"] == "m2"
    assert second.attributes["gen_ai.usage.output_tokens"] == 50
    assert second.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert second.attributes["gen_ai.response.time_to_first_chunk"] == 0.25
    assert first.attributes["error.type"] == "timeout"
    assert first.status.status_code is StatusCode.ERROR
    assert root.status.status_code is StatusCode.UNSET


def test_a_failed_request_is_an_error_and_a_client_that_left_is_not():
    failed = spans_of(request(attempt(failure="server"), error_code="upstream_failed"), {})
    assert failed["chat analysis"].status.status_code is StatusCode.ERROR
    left = spans_of(request(attempt(failure="cancelled"), status=499), {})
    assert left["chat analysis"].status.status_code is StatusCode.UNSET


def test_without_an_endpoint_or_the_extra_there_is_no_tracing(monkeypatch: pytest.MonkeyPatch):
    assert from_environment({}) is None
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}) is None
