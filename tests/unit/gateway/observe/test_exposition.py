from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from gateway.clock import ManualClock
from gateway.http.live import Live, LiveDeployment
from gateway.observe.exposition import SumsCollector, render
from gateway.observe.observer import Observer
from tests.fakes.outcomes import attempt, request, traffic
from tests.fakes.store_of_sums import StoreOfSums

NOW = 1_760_000_123.0
LIVE = Live(
    deployments=(
        LiveDeployment("acme/large", "acme", "large"),
        LiveDeployment("beta/medium", "beta", "medium", state="open", reason="server", retry_in_s=30.0),
        LiveDeployment("gamma/small", "gamma", "small", state="half_open", credentials=True, ejected=True),
        LiveDeployment("delta/none", "delta", "none", callable=False),
    ),
    in_flight=3,
    store_degraded=True,
    reload_failures=2,
    version="0.1.0",
)


def scrape(
    watcher: Observer, live: Live = LIVE, anomalies: list[dict[str, str]] | None = None
) -> dict[tuple[str, ...], float]:
    watcher.sums.settle()
    text = render(SumsCollector(watcher.sums.since_boot, live, anomalies=anomalies or [], own={"log_lines_lost": 4.0}))
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = (f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[(sample.name, *labels)] = sample.value
    return found


def busy(count: int = 300, boot: str = "1760000000") -> Observer:
    watcher = Observer(now=ManualClock(time=NOW).time, boot=boot)
    for outcome in traffic(count, start=NOW - 100, seconds=100):
        for each in outcome.attempts:
            watcher.attempt(each)
        watcher.request(outcome, {})
    return watcher


def total(samples: dict[tuple[str, ...], float], name: str, *labels: str) -> float:
    return sum(value for key, value in samples.items() if key[0] == name and set(labels) <= set(key))


def test_counters_agree_with_the_report():
    watcher = busy()
    samples = scrape(watcher)
    rows = {row["deployment"]: row for row in watcher.report("deployments", window="all")["data"]}
    for name, row in rows.items():
        assert total(samples, "moe_gateway_attempts_total", f"deployment={name}") == row["attempts"]
        assert total(samples, "moe_gateway_attempt_successes_total", f"deployment={name}") == row["successes"]
        failed = total(samples, "moe_gateway_attempt_failures_total", f"deployment={name}", "kind=server")
        assert failed == row["failures"].get("server", 0)
        tokens = total(samples, "moe_gateway_tokens_total", f"deployment={name}", "kind=output")
        assert tokens == row["tokens"]["output"]
    assert total(samples, "moe_gateway_requests_total") == 300
    assert total(samples, "moe_gateway_fallback_requests_total") > 0


def test_histograms_are_cumulative_and_end_with_everything():
    samples = scrape(busy())
    name = "gen_ai_client_operation_duration_seconds"
    labels = ("deployment=acme/large", "gen_ai_provider_name=acme", "gen_ai_request_model=large")
    buckets = [
        (float("inf") if bound == "+Inf" else float(bound), value)
        for key, value in samples.items()
        if key[0] == f"{name}_bucket" and set(labels) <= set(key)
        for bound in [next(part[3:] for part in key[1:] if part.startswith("le="))]
    ]
    counts = [count for _, count in sorted(buckets)]
    assert counts == sorted(counts)
    assert 0 < counts[5] < counts[-1]
    assert counts[-1] == total(samples, f"{name}_count", *labels)


def test_gauges_show_the_moment():
    samples = scrape(
        busy(3), anomalies=[{"deployment": "acme/large", "signal": "latency"}, {"deployment": "x/y", "signal": "cost"}]
    )
    at = ("deployment=beta/medium", "provider=beta")
    assert samples["moe_gateway_breaker_state", *at, "state=open"] == 1
    assert samples["moe_gateway_breaker_state", *at, "state=closed"] == 0
    assert samples["moe_gateway_credentials_alarm", "deployment=gamma/small", "provider=gamma"] == 1
    assert samples["moe_gateway_ejected", "deployment=gamma/small", "provider=gamma"] == 1
    assert not any("delta" in "".join(key) for key in samples)
    assert samples["moe_gateway_in_flight_requests",] == 3
    assert samples["moe_gateway_store_degraded",] == 1
    assert samples["moe_gateway_config_reload_failures_total",] == 2
    assert samples["moe_gateway_log_lines_lost_total",] == 4
    assert samples["moe_gateway_anomaly", "deployment=acme/large", "signal=latency"] == 1
    assert total(samples, "moe_gateway_anomaly") == 1


def test_labels_come_from_the_registry_only():
    watcher = Observer(now=ManualClock(time=NOW).time, boot="1760000000")
    for number in range(50):
        outcome = request(
            attempt(f'evil/{number}\n"x', NOW), number=number, tags=(f"tag{number}",), key_id=f"key{number}"
        )
        watcher.attempt(outcome.attempts[0])
        watcher.request(outcome, {})
    samples = scrape(watcher)
    assert not any("evil" in part or "tag" in part or "key" in part for key in samples for part in key)
    assert total(samples, "moe_gateway_attempts_total", "deployment=other") == 50


def test_counters_begin_at_zero_with_the_gateway_and_hold_no_other_hosts_traffic():
    store, here = StoreOfSums(), busy(100, "1760000000.here")
    there = Observer(now=ManualClock(time=NOW).time, boot="1760000100.there")
    for watcher in (here, there, here, there):
        store.cycle(watcher)
    assert total(scrape(here), "moe_gateway_requests_total") == 100
    assert total(scrape(there), "moe_gateway_requests_total") == 0
    assert sum(row["requests"] for row in there.report("tasks")["data"]) == 100


def test_an_idle_gateway_can_be_scraped():
    assert scrape(Observer(now=ManualClock(time=NOW).time), Live())["moe_gateway_in_flight_requests",] == 0
