from __future__ import annotations

import asyncio
import logging
import sys

import orjson
import pytest

from gateway.decisions import RecentDecisions
from gateway.recorder import KIND, Recorder, attempt_record, outcome_record
from router_core.compact import expanded
from router_core.outcome import CostSource, Usage
from router_core.record import recompute, to_record
from tests.fakes.contexts import CALLER, context, served, services
from tests.fakes.outcomes import attempt, request
from tests.unit.router_core.builders import NOW

pytestmark = pytest.mark.anyio


class Sink:
    """Hears of requests; raises for those whose decision is in ``odd``."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.odd: set[str] = set()

    def attempt(self, outcome) -> None:
        raise AssertionError

    def request(self, outcome, record, data) -> None:
        assert orjson.loads(data)["id"] == record["id"] == outcome.decision_id
        if outcome.decision_id in self.odd:
            raise ZeroDivisionError
        self.heard.append(outcome.decision_id)


def recorder(**more) -> tuple[Recorder, Sink]:
    sink = Sink()
    return Recorder(sink, RecentDecisions(), **more), sink


async def test_finishing_takes_no_time_and_the_records_are_made_together_a_little_later(monkeypatch):
    monkeypatch.setattr("gateway.recorder._DELAY_S", 0.001)
    parts = services()
    made, sink = recorder()
    contexts = [context(parts) for _ in range(3)]
    for ctx in contexts:
        made.finish(ctx, served(ctx))
    assert sink.heard == []
    assert made.recent.get(contexts[0].decision_id) is None
    for _ in range(30_000):
        if len(sink.heard) == 3:
            break
        await asyncio.sleep(0.001)
    assert sink.heard == [ctx.decision_id for ctx in contexts]


async def test_a_decision_is_found_as_soon_as_its_request_is_finished():
    parts = services()
    made, sink = recorder()
    ctx = context(parts, principal=CALLER)
    assert made.find(ctx.decision_id) is None
    made.finish(ctx, served(ctx))
    found = made.find(ctx.decision_id)
    assert found is not None
    assert (found.served.deployment, found.served.key_id) == ("acme/m1", "key-1")
    assert found.served.expected == ctx.facts("acme/m1").quality
    assert sink.heard == [ctx.decision_id]
    documents, _ = made.collect()
    assert [data for _, _, data, _ in documents] == [found.data]


async def test_a_request_that_is_recorded_is_let_go_with_its_prompt():
    parts = services()
    made, _ = recorder()
    ctx = context(parts)
    outcome = served(ctx)
    free = sys.getrefcount(ctx)
    made.finish(ctx, outcome)
    assert sys.getrefcount(ctx) > free
    made.drain()
    assert sys.getrefcount(ctx) == free
    assert made.find(ctx.decision_id) is not None


async def test_what_is_collected_is_collected_once_with_what_is_still_queued():
    parts = services()
    made, _ = recorder()
    ctx = context(parts)
    made.finish(ctx, served(ctx))
    made.document("feedback", "d|s", b"{}", 5.0)
    documents, rows = made.collect()
    assert {(kind, name) for kind, name, _, _ in documents} == {("feedback", "d|s"), (KIND, ctx.decision_id)}
    assert rows == []
    assert made.collect() == ([], [])


async def test_a_record_expires_when_the_operator_says():
    parts = services()
    made, _ = recorder()
    ctx = context(parts)
    made.finish(ctx, served(ctx))
    ((_, _, _, expires),) = made.collect()[0]
    assert expires == NOW + ctx.policy.capture.decision_days * 86_400.0


async def test_a_record_that_cannot_be_made_is_lost_alone_and_said(caplog):
    parts = services()
    made, sink = recorder()
    contexts = [context(parts) for _ in range(3)]
    sink.odd = {contexts[1].decision_id}
    for ctx in contexts:
        made.finish(ctx, served(ctx))
    with caplog.at_level(logging.ERROR, "gateway.recorder"):
        documents, _ = made.collect()
    assert [name for _, name, _, _ in documents] == [contexts[0].decision_id, contexts[2].decision_id]
    assert "could not be recorded" in caplog.text


async def test_ledger_rows_go_with_the_request():
    parts = services()
    made, _ = recorder(ledger_rows=lambda outcome, ctx: [{"id": outcome.decision_id, "key": ctx.principal.key_id}])
    ctx = context(parts, principal=CALLER)
    made.finish(ctx, served(ctx))
    assert made.collect()[1] == [{"id": ctx.decision_id, "key": "key-1"}]


async def test_the_record_says_everything_without_the_text_and_can_be_recomputed():
    parts = services()
    made, _ = recorder()
    ctx = context(
        parts, principal=CALLER, messages=[{"role": "user", "content": "a secret about tulips"}], router={"tags": ["t"]}
    )
    made.finish(ctx, served(ctx, tags=ctx.tags, session="s1"))
    ((_, _, data, _),) = made.collect()[0]
    assert b"tulips" not in data
    record = orjson.loads(data)
    assert (record["id"], record["request_id"], record["key_id"]) == (ctx.decision_id, "req_1", "key-1")
    assert record["outcome"]["served_by"] == "acme/m1"
    assert record["outcome"]["tags"] == ["t"]
    assert record["outcome"]["attempts"][0]["usage"]["output"] == 20
    again = recompute(record, ctx.registry, ctx.policy)
    assert (again.chosen, again.fallbacks) == (ctx.decision.chosen, ctx.decision.fallbacks)


async def test_the_whole_record_comes_back_from_what_is_stored():
    parts = services()
    made, _ = recorder()
    ctx = context(parts, principal=CALLER, router={"tags": ["t"], "policy": "cost"})
    outcome = served(ctx, tags=ctx.tags)
    made.finish(ctx, outcome)
    ((_, _, data, _),) = made.collect()[0]
    whole = {
        "id": ctx.decision_id,
        "request_id": ctx.request_id,
        "key_id": "key-1",
        **to_record(ctx.routing, ctx.decision),
        "judged_by": None,
        "verdict": None,
        "experiment": None,
        "outcome": outcome_record(outcome),
    }
    assert orjson.dumps(expanded(orjson.loads(data))) == orjson.dumps(whole)
    assert len(data) < len(orjson.dumps(whole))


async def test_no_more_than_some_rows_are_kept_for_later(monkeypatch):
    monkeypatch.setattr("gateway.recorder._MOST_KNOWN", 3)
    parts = services()
    made, _ = recorder()
    for _ in range(4):
        ctx = context(parts)
        call = attempt("acme/m1", at=NOW, task=ctx.decision.profile.task)
        parts.learner.attempt(call, ctx.registry, ctx.policy)
        ctx = context(parts)
        made.finish(ctx, served(ctx))
        made.drain()
        assert len(made._known_rows) == len(made._known) <= 3
    for _, _, data, _ in made.collect()[0]:
        assert {each["deployment"] for each in expanded(orjson.loads(data))["candidates"]} == {"acme/m1", "beta/m2"}


async def test_what_is_known_of_a_deployment_is_written_once_and_never_mistaken():
    parts = services()
    made, _ = recorder()
    for number in range(3):
        ctx = context(parts)
        if number == 2:  # it is known anew from here on
            call = attempt("acme/m1", at=NOW, task=ctx.decision.profile.task)
            parts.learner.attempt(call, ctx.registry, ctx.policy)
            ctx = context(parts)
        made.finish(ctx, served(ctx))
    first, second, third = (expanded(orjson.loads(data)) for _, _, data, _ in made.collect()[0])

    def observations(record) -> dict[str, float]:
        return {each["deployment"]: each["facts"]["known"]["observations"] for each in record["candidates"]}

    assert observations(first) == observations(second) == {"acme/m1": 0.0, "beta/m2": 0.0}
    assert observations(third)["acme/m1"] > 0.0


def test_a_call_in_plain_words():
    good = attempt(
        time_to_first_content_s=0.25,
        usage=Usage(1, 2, 3, 4, 5, estimated=True),
        cost_source=CostSource.ESTIMATE,
        status=200,
        finish_reason="stop",
    )
    found = attempt_record(good)
    assert found["usage"] == {
        "input": 1,
        "cached_input": 2,
        "cache_write": 3,
        "output": 4,
        "reasoning": 5,
        "estimated": True,
    }
    assert (found["ok"], found["failure"], found["time_to_first_content_ms"]) == (True, None, 250.0)
    bad = attempt_record(attempt(failure="timeout"))
    assert (bad["ok"], bad["failure"], bad["message"], bad["time_to_first_content_ms"]) == (
        False,
        "timeout",
        "it failed",
        None,
    )
    orjson.dumps([found, bad])


def test_a_request_in_plain_words():
    found = outcome_record(request(attempt(failure="server"), attempt("beta/m2"), session="s", error_code=None))
    assert [call["deployment"] for call in found["attempts"]] == ["acme/m1", "beta/m2"]
    assert (found["status"], found["served_by"], found["overhead_ms"]) == (200, "beta/m2", 2.0)
