"""A past decision is told whole, whatever form it is stored in, to those whose it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from gateway import shadow
from gateway.http.errors import ApiError
from gateway.http.route import decision
from gateway.keys import Principal
from gateway.recorder import KIND, experiment_record, outcome_record
from gateway.services import Services
from router_core.compact import expanded
from router_core.record import to_record
from tests.fakes.contexts import CALLER, OTHER, context, served, services

pytestmark = pytest.mark.anyio


async def ask(parts: Services, name: str, caller: Principal = CALLER) -> bytes:
    request: Any = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(services=parts)))
    answer = await decision(name, request, caller)
    assert answer.status_code == 200
    return bytes(answer.body)


def finished(parts: Services) -> tuple[str, bytes]:
    """Let a request be served and recorded; return its decision's id and what is told of it."""
    ctx = context(parts, principal=CALLER, messages=[{"role": "user", "content": "compare two lists"}])
    outcome = served(ctx)
    parts.recorder.finish(ctx, outcome)
    whole = {
        "id": ctx.decision_id,
        "request_id": ctx.request_id,
        "key_id": CALLER.key_id,
        **to_record(ctx.routing, ctx.decision),
        "judged_by": ctx.judge,
        "verdict": ctx.verdict,
        "experiment": experiment_record(ctx),
        "outcome": outcome_record(outcome),
    }
    return ctx.decision_id, orjson.dumps(whole)


async def test_a_decision_is_told_alike_from_memory_and_from_either_form_in_a_store():
    first = services()
    name, told = finished(first)
    assert await ask(first, name) == told
    ((_, _, stored, _),) = first.recorder.collect()[0]
    assert len(stored) < len(told)
    for document in (stored, told):
        later = services()
        await later.store.put(KIND, name, document)
        assert await ask(later, name) == told


async def test_a_comparison_stands_behind_the_decision():
    parts = services()
    name, told = finished(parts)
    await parts.store.put(shadow.KIND, name, b'{"scores":[0.5,0.75]}')
    assert await ask(parts, name) == told[:-1] + b',"shadow":{"scores":[0.5,0.75]}}'


@pytest.mark.parametrize("stored", [False, True])
async def test_a_decision_of_somebody_else_s_is_not_there(stored: bool):
    first = services()
    name, told = finished(first)
    parts = services() if stored else first
    if stored:
        await parts.store.put(KIND, name, told)
    with pytest.raises(ApiError) as refused:
        await ask(parts, name, OTHER)
    assert (refused.value.status, refused.value.code) == (404, "decision_not_found")
    operator = Principal("key-9", "operator", admin=True)
    assert expanded(orjson.loads(await ask(parts, name, operator)))["id"] == name
    with pytest.raises(ApiError):
        await ask(parts, parts.ids.new(parts.clock.time()))
