"""OpenTelemetry traces, when the ``otel`` extra is installed and an endpoint is set; else nothing at all.

One span per request with a child for the decision and one for each attempt, named and described after the GenAI
conventions (https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-spans.md).
Spans are made when the request has ended, from its times, so tracing costs the request itself nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from router_core.outcome import AttemptOutcome, RequestOutcome

SCOPE: Final = "moe-gateway"
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_NS: Final = 1_000_000_000


def from_environment(env: Mapping[str, str]) -> Tracing | None:
    """Return tracing to the endpoint the environment names, None without one or without the extra."""
    if not any(env.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        return None
    resource = Resource.create({"service.name": env.get("OTEL_SERVICE_NAME", SCOPE)})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


class Tracing:
    """A listener that turns finished requests into spans of a provider."""

    def __init__(self, provider: Any) -> None:
        """Use an SDK ``TracerProvider``; it exports in a thread of its own."""
        from opentelemetry import trace  # noqa: PLC0415

        self._provider = provider
        self._trace = trace
        self._tracer = provider.get_tracer(SCOPE)

    def attempt(self, outcome: AttemptOutcome) -> None:
        """Attempts become spans with their request, whose children they are."""

    def request(self, outcome: RequestOutcome, record: Mapping[str, Any]) -> None:
        """Make the spans of one request. ``outcome.at`` and the attempts' ``at`` are taken as their ends."""
        begin = _ns(outcome.at - outcome.duration_s)
        root = self._tracer.start_span(
            f"chat {outcome.task}", kind=self._trace.SpanKind.SERVER, start_time=begin, attributes=_of_request(outcome)
        )
        inside = self._trace.set_span_in_context(root)
        decide = self._tracer.start_span("decide", context=inside, start_time=begin, attributes=_of_decision(record))
        decide.end(begin + _ns(outcome.overhead_s))
        for attempt in outcome.attempts:
            self._attempt(attempt, inside)
        if not outcome.ok and outcome.status != 499:
            root.set_status(self._trace.StatusCode.ERROR, outcome.error_code or "")
        root.end(_ns(outcome.at))

    def stop(self) -> None:
        """Export what waits."""
        self._provider.shutdown()

    def _attempt(self, attempt: AttemptOutcome, context: Any) -> None:
        model = attempt.deployment.partition("/")[2]
        span = self._tracer.start_span(
            f"chat {model}",
            context=context,
            kind=self._trace.SpanKind.CLIENT,
            start_time=_ns(attempt.at - attempt.duration_s),
            attributes=_of_attempt(attempt, model),
        )
        if attempt.failure is not None:
            span.set_attribute("error.type", str(attempt.failure.kind))
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(_ns(attempt.at))


def _of_request(outcome: RequestOutcome) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "http.response.status_code": outcome.status,
        "moe.decision.id": outcome.decision_id,
        "moe.task": str(outcome.task),
        "moe.policy": outcome.policy,
        "moe.mode": outcome.mode,
        "moe.served_by": outcome.served_by or "",
        "moe.cost_usd": outcome.cost_usd,
    }


def _of_decision(record: Mapping[str, Any]) -> dict[str, Any]:
    candidates, rejections = record.get("candidates") or {}, record.get("rejections") or {}
    return {
        "moe.decision.chosen": str(record.get("chosen") or ""),
        "moe.decision.rationale": str(record.get("rationale") or ""),
        "moe.decision.candidates": len(candidates.get("deployment", ())),
        "moe.decision.rejections": len(rejections.get("deployment", ())),
    }


def _of_attempt(attempt: AttemptOutcome, model: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": attempt.provider,
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": attempt.usage.prompt,
        "gen_ai.usage.output_tokens": attempt.usage.completion,
        "moe.deployment": attempt.deployment,
        "moe.role": str(attempt.role),
        "moe.cost_usd": attempt.cost_usd,
    }
    if attempt.finish_reason is not None:
        attributes["gen_ai.response.finish_reasons"] = [attempt.finish_reason]
    if attempt.upstream_id:
        attributes["gen_ai.response.id"] = attempt.upstream_id
    if attempt.time_to_first_content_s is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = attempt.time_to_first_content_s
    if attempt.status is not None:
        attributes["http.response.status_code"] = attempt.status
    return attributes


def _ns(seconds: float) -> int:
    return int(seconds * _NS)
