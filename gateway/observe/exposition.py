"""Prometheus text from the merged sums of all workers.

Counters begin with the gateway's start (``buckets``), so a restart looks like one to Prometheus, and two hosts that
share a store do not report each other's traffic. Labels come from the registry: what it does not know is ``other``.
Names follow the OpenTelemetry GenAI conventions where they have one, in Prometheus spelling
(https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-metrics.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.http.live import Live
from gateway.observe import fold, views
from gateway.observe.aggregates import Fields, Series, add_into
from router_core.latency import value_of

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

OPERATION_BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Seconds; the convention's advice for ``gen_ai.client.operation.duration``."""

OVERHEAD_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 1.024)

_OTHER: Final = "other"
_STATES: Final = ("closed", "half_open", "open")
_TOKEN_FIELDS: Final = {"input": "in", "cached_input": "cin", "cache_write": "cw", "output": "out", "reasoning": "rea"}

_CALL_FIELDS: Final = ("n", "ok", "cost", "refusal", "tools")

Reader = Callable[[str], Series]
"""Gives the sums of one kind since the gateway's start."""


class SumsCollector(Collector):
    """Turns sums and the moment's gauges into metric families, each time it is asked."""

    def __init__(
        self, read: Reader, live: Live, *, anomalies: Sequence[Mapping[str, Any]] = (), own: Mapping[str, float] = {}
    ) -> None:
        """Read sums through ``read``; ``own`` are further counters by name (without prefix)."""
        self._read = read
        self._live = live
        self._models = {each.id: (each.provider, each.model) for each in live.deployments}
        self._anomalies = anomalies
        self._own = own

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        calls = self._named(self._read(fold.ATTEMPTS))
        requests = self._read(fold.REQUESTS)
        yield from self._operations(calls)
        yield from self._calls(calls)
        yield from _requests(requests)
        yield from self._gauges()

    def _named(self, series: Series) -> Series:
        """Replace labels the registry does not have, so that a metric's label values are bounded by it."""
        named: Series = {}
        for labels, sums in series.items():
            known = labels[3] in self._models
            provider = self._models[labels[3]][0] if known else _OTHER
            key = (labels[0], labels[1], provider, labels[3] if known else _OTHER, labels[4] if known else _OTHER)
            add_into(named.setdefault(key, {}), sums)
        return named

    def _operations(self, calls: Series) -> Iterator[Metric]:
        labels = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "deployment"]
        duration = HistogramMetricFamily(
            "gen_ai_client_operation_duration_seconds", "Whole good answers of a deployment.", labels=labels
        )
        first = HistogramMetricFamily(
            "gen_ai_client_operation_time_to_first_chunk_seconds", "First content of good streams.", labels=labels
        )
        by_deployment: dict[tuple[str, str], Fields] = {}
        for key, sums in calls.items():
            add_into(by_deployment.setdefault((key[2], key[3]), {}), sums)
        for (provider, deployment), sums in sorted(by_deployment.items()):
            model = self._models.get(deployment, (provider, _OTHER))[1]
            values = ["chat", provider, model, deployment]
            duration.add_metric(values, _histogram(sums, "d", OPERATION_BUCKETS), sums.get("dur", 0.0))
            first.add_metric(values, _histogram(sums, "t", OPERATION_BUCKETS), sums.get("ts", 0.0))
        yield duration
        yield first

    def _calls(self, calls: Series) -> Iterator[Metric]:
        at = ["provider", "deployment", "task"]
        attempts = _counter("attempts", "Calls to a deployment, retries, hedges, legs and judges included.", at)
        good = _counter("attempt_successes", "Calls that were answered.", at)
        failed = _counter("attempt_failures", "Calls that failed, by kind.", [*at, "kind"])
        cost = _counter("cost_usd", "Cost of calls in USD.", at)
        refusals = _counter("refusals", "Answers in which the model refused.", at)
        tools = _counter("tool_calls", "Tool calls asked for by answers.", at)
        tokens = _counter("tokens", "Tokens by disjoint kind.", ["provider", "deployment", "kind"])
        by_deployment: dict[tuple[str, str], Fields] = {}
        for key, sums in sorted(calls.items()):
            values = list(key[2:5])
            for family, field in (
                (attempts, "n"),
                (good, "ok"),
                (cost, "cost"),
                (refusals, "refusal"),
                (tools, "tools"),
            ):
                family.add_metric(values, sums.get(field, 0.0))
            for name, count in sums.items():
                if name.startswith("f:"):
                    failed.add_metric([*values, name[2:]], count)
            add_into(by_deployment.setdefault((key[2], key[3]), {}), sums)
        for names, sums in sorted(by_deployment.items()):
            for kind, field in _TOKEN_FIELDS.items():
                tokens.add_metric([*names, kind], sums.get(field, 0.0))
        yield from (attempts, good, failed, cost, refusals, tools, tokens)

    def _gauges(self) -> Iterator[Metric]:
        live = self._live
        info = InfoMetricFamily("moe_gateway_build", "The running version.")
        info.add_metric([], {"version": live.version})
        yield info
        yield GaugeMetricFamily("moe_gateway_in_flight_requests", "Client requests being served.", value=live.in_flight)
        yield GaugeMetricFamily("moe_gateway_tasks", "Tasks of the event loop.", value=live.tasks)
        yield GaugeMetricFamily(
            "moe_gateway_store_degraded", "1 while the state store cannot be reached.", value=float(live.store_degraded)
        )
        reloads = _counter("config_reload_failures", "Configurations that were refused at reload.", [])
        reloads.add_metric([], live.reload_failures)
        yield reloads
        states = GaugeMetricFamily(
            "moe_gateway_breaker_state", "1 for the state a circuit is in.", labels=["provider", "deployment", "state"]
        )
        ejected = GaugeMetricFamily(
            "moe_gateway_ejected", "1 while a deployment is left alone after a 429.", labels=["provider", "deployment"]
        )
        credentials = GaugeMetricFamily(
            "moe_gateway_credentials_alarm",
            "1 while a deployment is out because its key, its account or its permission was refused.",
            labels=["provider", "deployment"],
        )
        for each in live.deployments:
            if not each.callable:
                continue
            for state in _STATES:
                states.add_metric([each.provider, each.id, state], float(each.state == state))
            ejected.add_metric([each.provider, each.id], float(each.ejected))
            credentials.add_metric([each.provider, each.id], float(each.credentials))
        yield from (states, ejected, credentials)
        alarms = GaugeMetricFamily(
            "moe_gateway_anomaly", "1 while a signal departs from its own baseline.", labels=["deployment", "signal"]
        )
        for row in self._anomalies:
            if row["deployment"] in self._models:
                alarms.add_metric([row["deployment"], row["signal"]], 1.0)
        yield alarms
        for name, value in sorted(self._own.items()):
            counter = _counter(name, "Of this worker.", [])
            counter.add_metric([], value)
            yield counter


def render(collector: Collector) -> bytes:
    """Return the text of one scrape."""
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry)


def _requests(series: Series) -> Iterator[Metric]:
    total = _counter("requests", "Client requests by status class (499: the client left).", ["task", "status"])
    fell = _counter("fallback_requests", "Client requests that were passed on to a further deployment.", ["task"])
    paid = _counter("request_cost_usd", "What requests cost, over those with a known baseline.", ["task"])
    baseline = _counter("baseline_cost_usd", "What they had cost at the best model.", ["task"])
    duration = HistogramMetricFamily("moe_gateway_request_duration_seconds", "Answered requests.", labels=["task"])
    overhead = HistogramMetricFamily("moe_gateway_overhead_seconds", "Time spent in the gateway itself.", labels=[])
    whole: Fields = {}
    for key, sums in sorted(series.items()):
        task = key[2]
        for status, count in views.requests(sums)["statuses"].items():
            total.add_metric([task, status], count)
        for family, field in ((fell, "fb"), (paid, "based"), (baseline, "base")):
            family.add_metric([task], sums.get(field, 0.0))
        duration.add_metric([task], _histogram(sums, "d", OPERATION_BUCKETS), sums.get("dur", 0.0))
        add_into(whole, sums)
    overhead.add_metric([], _histogram(whole, "o", OVERHEAD_BUCKETS), whole.get("ov", 0.0))
    yield from (total, fell, paid, baseline, duration, overhead)


def _counter(name: str, text: str, labels: Iterable[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"moe_gateway_{name}", text, labels=list(labels))


def _histogram(sums: Mapping[str, float], letter: str, bounds: Sequence[float]) -> list[tuple[str, float]]:
    """Return cumulative counts per bound; a sketch's bin counts where its representative value falls (within 1 %)."""
    held = sorted(views.bins(sums, letter).items())
    found: list[tuple[str, float]] = []
    seen, index = 0.0, 0
    for bound in bounds:
        while index < len(held) and value_of(held[index][0]) <= bound:
            seen += held[index][1]
            index += 1
        found.append((repr(float(bound)), seen))
    found.append(("+Inf", seen + sum(count for _, count in held[index:])))
    return found
