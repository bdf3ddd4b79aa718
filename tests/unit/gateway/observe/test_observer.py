from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway.clock import ManualClock
from gateway.http.live import Live
from gateway.observe.observer import Observer
from gateway.recorder import outcome_record
from router_core.compact import expanded
from router_core.outcome import AttemptRole, RequestOutcome, Reward, Usage
from router_core.task import TaskType
from tests.fakes.outcomes import attempt, candidates, request, traffic
from tests.fakes.store_of_sums import StoreOfSums
from tests.fakes.watched import World

NOW = 1_760_000_123.0


def observer() -> Observer:
    return Observer(now=ManualClock(time=NOW).time, boot="1760000000")


def feed(watcher: Observer, outcome: RequestOutcome, record: dict[str, Any] | None = None) -> None:
    for each in outcome.attempts:
        watcher.attempt(each)
    watcher.request(outcome, record or {})


def row(watcher: Observer, report: str, **where: Any) -> dict[str, Any]:
    wanted = {name: where.pop(name) for name in ("provider", "deployment", "task", "group", "name") if name in where}
    rows = watcher.report(report, **where)["data"]
    found = [each for each in rows if all(each[name] == value for name, value in wanted.items())]
    assert len(found) == 1, rows
    return found[0]


def test_a_fallback_is_two_attempts_one_request_and_the_second_ones_answer():
    watcher = observer()
    failed = attempt("acme/m1", NOW, failure="server", duration_s=9.0)
    answered = attempt("beta/m2", NOW, role=AttemptRole.FALLBACK, duration_s=0.5)
    feed(watcher, request(failed, answered))
    acme, beta = row(watcher, "providers", provider="acme"), row(watcher, "providers", provider="beta")
    assert (acme["requests"], acme["attempts"], acme["successes"], acme["answered"]) == (1, 1, 0, 0)
    assert acme["failures"] == {"server": 1}
    assert acme["success_rate"] == 0.0
    assert acme["latency_ms"]["p95"] is None
    assert (beta["requests"], beta["answered"], beta["success_rate"]) == (1, 1, 1.0)
    assert beta["roles"] == {"fallback": 1}
    assert beta["latency_ms"]["p50"] == pytest.approx(500, rel=0.01)
    assert row(watcher, "tasks", task="analysis")["fell_back"] == 1
    assert row(watcher, "tasks", task="analysis")["answered_by"] == {"beta/m2": 1}


@pytest.mark.parametrize("key_id", ["", "key-1"])
def test_statistics_are_the_same_whenever_somebody_looked(key_id: str):
    seen = []
    for looks in (False, True):
        watcher = observer()
        failed = attempt("acme/m1", NOW, failure="server")
        answered = attempt("beta/m2", NOW, role=AttemptRole.FALLBACK)
        for each in (failed, answered):
            watcher.attempt(each)
            if looks:
                watcher.report("providers", scope="nobody")
        watcher.request(request(failed, answered, key_id=key_id), {})
        watcher.attempt(attempt("beta/m2", NOW, role=AttemptRole.SHADOW))  # nobody's request will tell of it
        read = [(name, scope) for name in ("providers", "tasks") for scope in ("", key_id)]
        seen.append([watcher.report(name, scope=scope)["data"] for name, scope in read])
    assert seen[0] == seen[1]
    assert [each["attempts"] for each in seen[0][0]] == [1, 2]


def test_two_deployments_of_one_provider_make_one_request_of_the_provider():
    watcher = observer()
    feed(watcher, request(attempt("acme/m1", NOW, failure="timeout"), attempt("acme/m2", NOW)))
    assert row(watcher, "providers", provider="acme")["requests"] == 1
    assert row(watcher, "providers", provider="acme")["attempts"] == 2
    assert [row(watcher, "deployments", deployment=name)["requests"] for name in ("acme/m1", "acme/m2")] == [1, 1]


@pytest.mark.parametrize("kind", ["cancelled", "invalid_request", "context_overflow", "content_filter"])
def test_what_is_not_the_providers_fault_does_not_lower_its_success_rate(kind: str):
    watcher = observer()
    feed(watcher, request(attempt(at=NOW)))
    feed(watcher, request(attempt(at=NOW, failure=kind), number=2, status=499 if kind == "cancelled" else 400))
    found = row(watcher, "providers", provider="acme")
    assert found["success_rate"] == 1.0
    assert found["attempts"] == 2
    assert found["cancelled"] == (kind == "cancelled")
    assert ("cancelled" in found["failures"]) is False


def test_a_client_that_left_is_nobodys_failure_in_the_tasks_either():
    watcher = observer()
    feed(watcher, request(attempt(at=NOW)))
    feed(watcher, request(attempt(at=NOW, failure="cancelled"), number=2, status=499))
    found = row(watcher, "tasks", task="analysis")
    assert found["success_rate"] == 1.0
    assert found["statuses"] == {"2xx": 1, "499": 1}


def test_first_content_is_of_streams_only_and_durations_of_good_answers_only():
    watcher = observer()
    feed(watcher, request(attempt(at=NOW, duration_s=1.0, time_to_first_content_s=0.9)))
    feed(watcher, request(attempt(at=NOW, duration_s=4.0, time_to_first_content_s=0.2, stream=True), number=2))
    feed(watcher, request(attempt(at=NOW, duration_s=30.0, failure="timeout"), number=3))
    found = row(watcher, "deployments", deployment="acme/m1")
    assert found["first_content_ms"]["n"] == 1
    assert found["first_content_ms"]["p50"] == pytest.approx(200, rel=0.01)
    assert found["latency_ms"]["avg"] == pytest.approx(2500)
    assert found["latency_ms"]["p99"] == pytest.approx(4000, rel=0.01)


def test_money_is_per_request_and_per_success_and_counts_failed_calls_that_cost():
    watcher = observer()
    feed(watcher, request(attempt(at=NOW, cost_usd=0.01)))
    feed(watcher, request(attempt(at=NOW, cost_usd=0.03, failure="stream_broken"), number=2))
    cost = row(watcher, "providers", provider="acme")["cost_usd"]
    assert cost == {
        "total": pytest.approx(0.04),
        "per_request": pytest.approx(0.02),
        "per_success": pytest.approx(0.04),
    }
    assert row(watcher, "costs", group="provider_task", name="acme analysis")["cost_usd"]["total"] == pytest.approx(
        0.04
    )
    assert row(watcher, "costs", group="total", name="")["requests"] == 2


def test_tokens_by_kind_tools_refusals_and_cuts_are_counted():
    watcher = observer()
    usage = Usage(100, 40, 10, 50, 7, estimated=True)
    feed(watcher, request(attempt(at=NOW, usage=usage, tool_calls=2, refusal=True, finish_reason="length")))
    found = row(watcher, "deployments", deployment="acme/m1")
    assert found["tokens"] == {"input": 100, "cached_input": 40, "cache_write": 10, "output": 50, "reasoning": 7}
    assert (found["tool_calls"], found["refusals"], found["length_cuts"], found["estimated_usage"]) == (2, 1, 1, 1)


def test_a_key_sees_its_own_traffic_and_the_bill_names_keys_and_tags():
    watcher = observer()
    feed(watcher, request(attempt("acme/m1", NOW), key_id="k1", tags=("team-a",)))
    feed(watcher, request(attempt("beta/m2", NOW), number=2, key_id="k2", tags=("team-a", "x")))
    assert [each["provider"] for each in watcher.report("providers", scope="k1")["data"]] == ["acme"]
    assert [each["provider"] for each in watcher.report("providers")["data"]] == ["acme", "beta"]
    assert watcher.report("providers", scope="k1")["data"][0]["requests"] == 1
    assert watcher.report("providers", scope="nobody")["data"] == []
    assert row(watcher, "tasks", task="analysis", scope="k2")["requests"] == 1
    everybody = [(each["group"], each["name"], each["requests"]) for each in watcher.report("costs")["data"]]
    assert ("key", "k1", 1) in everybody
    assert ("tag", "team-a", 2) in everybody
    own = {each["name"] for each in watcher.report("costs", scope="k1")["data"] if each["group"] in {"key", "tag"}}
    assert own == {"k1", "team-a"}


def test_filters_leave_out_other_tasks_and_providers():
    watcher = observer()
    feed(watcher, request(attempt("acme/m1", NOW)))
    feed(watcher, request(attempt("beta/m2", NOW, task=TaskType.PLANNING), number=2))
    assert [each["provider"] for each in watcher.report("providers", task="planning")["data"]] == ["beta"]
    assert [each["deployment"] for each in watcher.report("deployments", provider="acme")["data"]] == ["acme/m1"]
    assert [each["task"] for each in watcher.report("tasks", task="planning")["data"]] == ["planning"]
    groups = {each["group"] for each in watcher.report("costs", provider="acme")["data"]}
    assert not groups & {"key", "tag"}


def test_quality_and_win_rates_come_with_intervals():
    watcher = observer()
    for value in (1.0, 0.5, 0.0, 1.0):
        watcher.reward(Reward("acme/m1", TaskType.ANALYSIS, NOW, value))
    for _ in range(8):
        watcher.head_to_head("acme/m1", "beta/m2", TaskType.ANALYSIS, at=NOW)
    watcher.head_to_head("beta/m2", "acme/m1", TaskType.PLANNING, at=NOW)
    watcher.head_to_head("beta/m2", "acme/m1", TaskType.ANALYSIS, draw=True)
    quality = row(watcher, "deployments", deployment="acme/m1")["quality"]
    assert quality["mean"] == pytest.approx(0.625)
    assert quality["n"] == 4
    assert quality["low"] < 0.625 < quality["high"]
    won = row(watcher, "win-rates", deployment="acme/m1", task="*")
    assert (won["wins"], won["losses"], won["draws"]) == (8, 1, 1)
    assert won["rate"] == pytest.approx(0.85)
    assert 0.0 < won["low"] < 0.85 < won["high"] <= 1.0
    assert row(watcher, "win-rates", deployment="beta/m2", task="planning")["rate"] == 1.0
    assert {"winner": "acme/m1", "loser": "beta/m2", "wins": 8, "draws": 1} in watcher.report("win-rates")["pairs"]


def test_expected_quality_is_compared_with_what_answers_were_worth():
    watcher = observer()
    for value in (1.0, 0.0, 1.0):
        watcher.reward(Reward("acme/m1", TaskType.ANALYSIS, NOW, value), expected=0.72)
    watcher.reward(Reward("acme/m1", TaskType.ANALYSIS, NOW, 0.5, weight=0.5), expected=1.0)
    high, top = watcher.calibration("hour")
    assert (high["tenth"], high["n"], high["expected"]) == (7, 3.0, pytest.approx(0.72))
    assert high["mean"] == pytest.approx(2 / 3)
    assert high["low"] < high["mean"] < high["high"]
    assert (top["tenth"], top["n"], top["mean"]) == (9, 0.5, pytest.approx(0.5))


def test_savings_are_against_the_best_candidate_at_the_length_the_answer_really_had():
    watcher = observer()
    ranking = candidates(("gamma/s", 0.6, 0.001), ("acme/l", 0.9, 0.020))
    outcome = request(attempt("gamma/s", NOW, cost_usd=0.002))
    feed(watcher, outcome, {"candidates": ranking})
    savings = watcher.report("costs")["savings"]
    assert savings["paid_usd"] == pytest.approx(0.002)
    assert savings["baseline_usd"] == pytest.approx(0.040)
    assert savings["saved_share"] == pytest.approx(0.95)


def test_nothing_is_saved_by_the_best_model_itself_nor_claimed_for_failures():
    watcher = observer()
    ranking = candidates(("acme/l", 0.9, 0.020), ("gamma/s", 0.6, 0.001))
    feed(watcher, request(attempt("acme/l", NOW, cost_usd=0.03)), {"candidates": ranking})
    feed(watcher, request(attempt("gamma/s", NOW, failure="server"), number=2), {"candidates": ranking})
    feed(watcher, request(attempt("gamma/s", NOW), number=3), {})
    savings = watcher.report("costs")["savings"]
    assert (savings["baseline_usd"], savings["saved_usd"]) == (pytest.approx(0.03), pytest.approx(0.0))


def test_a_provider_is_the_sum_of_its_deployments_over_any_traffic():
    watcher = observer()
    for outcome in traffic(600, start=NOW - 3000, seconds=2900):
        feed(watcher, outcome)
    deployments = watcher.report("deployments")["data"]
    for provider in watcher.report("providers")["data"]:
        own = [each for each in deployments if each["provider"] == provider["provider"]]
        for name in ("attempts", "successes", "answered", "cancelled"):
            assert provider[name] == sum(each[name] for each in own)
        assert provider["cost_usd"]["total"] == pytest.approx(sum(each["cost_usd"]["total"] for each in own))
    asked = watcher.report("tasks")["data"]
    assert sum(each["requests"] for each in asked) == 600
    timeline = watcher.report("timeline")["data"]
    assert sum(each["attempts"] for each in timeline) == sum(each["attempts"] for each in deployments)
    assert [each["at"] for each in timeline] == sorted(each["at"] for each in timeline)


def test_a_second_worker_and_a_later_start_report_the_same():
    store, one, two = StoreOfSums(), observer(), observer()
    for number, outcome in enumerate(traffic(100, start=NOW - 600, seconds=500)):
        feed((one, two)[number % 2], outcome)
    later = Observer(now=ManualClock(time=NOW + 5).time, boot="1760000120")
    for watcher in (one, two, one, two, later):
        store.cycle(watcher)
    for report in ("providers", "deployments", "tasks", "costs"):
        assert one.report(report)["data"] == two.report(report)["data"] == later.report(report)["data"]


def test_answers_are_kept_for_a_second_and_then_made_again():
    clock = ManualClock(time=NOW)
    watcher = Observer(now=clock.time)
    feed(watcher, request(attempt(at=NOW)))
    assert row(watcher, "providers", provider="acme")["attempts"] == 1
    feed(watcher, request(attempt(at=NOW), number=2))
    assert row(watcher, "providers", provider="acme")["attempts"] == 1
    clock.advance(1.0)
    assert row(watcher, "providers", provider="acme")["attempts"] == 2


class Broken:
    def attempt(self, *arguments: Any) -> None:
        raise RuntimeError

    def request(self, *arguments: Any) -> None:
        raise RuntimeError


def test_a_listener_that_raises_is_counted_and_hurts_nobody():
    heard: list[str] = []
    watcher = Observer(
        now=ManualClock(time=NOW).time, listeners=[Broken()], on_error=lambda exc: heard.append(type(exc).__name__)
    )
    feed(watcher, request(attempt(at=NOW)))
    assert heard == ["RuntimeError", "RuntimeError"]
    assert watcher.listener_errors == 2
    assert row(watcher, "providers", provider="acme")["attempts"] == 1


def test_the_last_decisions_are_kept_and_older_ones_forgotten():
    watcher = Observer(now=ManualClock(time=NOW).time, kept_decisions=2)
    for number in range(4):
        feed(watcher, request(attempt(at=NOW), number=number), {"chosen": "acme/m1", "rationale": "best"})
    assert [each["id"] for each in watcher.decisions()] == ["d-3", "d-2"]
    assert watcher.decision("d-0") is None
    kept = watcher.decision("d-3")
    assert kept is not None
    assert kept["rationale"] == "best"
    assert kept["attempts"][0]["deployment"] == "acme/m1"


def test_a_decision_from_the_store_reads_like_ones_own():
    world = World(now=NOW)
    world.run(count=30, outage="anthropic")
    live = world.observer.decisions(30)
    stored = [
        orjson.dumps({**orjson.loads(data), "id": name, "key_id": outcome.key_id, "outcome": outcome_record(outcome)})
        for name, (outcome, data) in world.observer.feed._records.items()
    ]
    later = observer()
    garbage = [b"{", b"[]", b"{}", b'{"outcome": {}, "task": 1}', b'{"candidates": {"deployment": ["a"]}}']
    told = orjson.loads(orjson.dumps(live, default=str))
    assert later.decisions(30, [*stored, *garbage]) == told
    whole = [orjson.dumps(expanded(orjson.loads(data))) for data in stored]  # as it was written once
    assert later.decisions(30, [*stored[:10], *whole[10:]]) == told
    assert world.observer.decisions(5, stored) == live[:5]


@pytest.mark.anyio
async def test_reports_are_made_aside_while_traffic_goes_on():
    clock = ManualClock(time=NOW)
    watcher = Observer(now=clock.time)
    asked = []
    for number, outcome in enumerate(traffic(400, start=NOW - 1000, seconds=900)):
        feed(watcher, outcome)
        if number % 40 == 0:
            clock.advance(1.0)
            asked.append(asyncio.ensure_future(watcher.answer("deployments", window="hour")))
            await asyncio.sleep(0)
    sizes = [sum(row["answered"] for row in (await each)["data"]) for each in asked]
    assert sizes == sorted(sizes)
    clock.advance(1.0)
    aside = await watcher.answer("deployments", window="day")
    assert aside == watcher.report("deployments", window="day")
    assert b"moe_gateway_requests_total" in await watcher.scrape(Live())
    watcher.close()


def test_unknown_reports_and_windows_are_refused():
    with pytest.raises(KeyError):
        observer().report("secrets")
    with pytest.raises(ValueError, match="fortnight"):
        observer().report("providers", window="fortnight")
    assert observer().windows == ("hour", "day", "week", "month", "all")


def test_old_buckets_are_forgotten_while_exchanging():
    clock = ManualClock(time=NOW)
    watcher = Observer(now=clock.time)
    for outcome in traffic(50, start=NOW - 600, seconds=500):
        feed(watcher, outcome)
    watcher.collect()
    before = watcher.sums.size
    clock.advance(40 * 86_400)
    watcher.collect()
    assert watcher.sums.size < before
    assert sum(each["requests"] for each in watcher.report("tasks", window="all")["data"]) == 50
