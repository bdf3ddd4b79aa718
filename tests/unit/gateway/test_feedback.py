from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway import feedback as desk_of
from gateway.feedback import HELD_S
from gateway.http.errors import ApiError
from gateway.keys import ANONYMOUS, Principal
from gateway.recorder import KIND
from gateway.services import Services
from gateway.store_errors import StoreError
from router_core.compact import expanded
from router_core.outcome import Feedback
from router_core.task import TaskType
from tests.fakes.contexts import CALLER, OTHER, context, served, services
from tests.unit.router_core.builders import registry

pytestmark = pytest.mark.anyio


async def answered(parts: Services, deployment: str | None = "acme/m1", principal: Principal = CALLER) -> str:
    """Let a request be served and recorded; returns its decision."""
    ctx = context(parts, principal=principal)
    parts.recorder.finish(ctx, served(ctx, deployment))
    parts.recorder.drain()
    return ctx.decision_id


def vote(decision_id: str, parts: Services, **values: Any) -> Feedback:
    return Feedback(decision_id, parts.steady(), **(values or {"score": 1.0}))


def learned(parts: Services, deployment: str = "acme/m1") -> tuple[float, float]:
    """The number of votes and their mean, over whatever task it was."""
    state = parts.learner.snapshot.states.get(deployment)
    rows = [series.fields for series in state.tasks.values() if "fw" in series.fields] if state else []
    if not rows:
        return 0.0, 0.0
    unit = max(row["fw"] for row in rows)
    return unit, rows[0]["fv"] / rows[0]["fw"]


async def refused(parts: Services, feedback: Feedback, principal: Principal = CALLER) -> ApiError:
    with pytest.raises(ApiError) as found:
        await parts.feedback.accept(feedback, principal)
    return found.value


async def test_a_vote_is_booked_for_the_one_that_answered():
    parts = services()
    name = await answered(parts)
    status, told = await parts.feedback.accept(vote(name, parts, outcome="success", rating=3), CALLER)
    assert (status, told["status"], told["deployment"], told["score"]) == (200, "accepted", "acme/m1", 0.75)
    assert learned(parts)[1] == pytest.approx(0.75)
    assert learned(parts, "beta/m2") == (0.0, 0.0)
    kept = await parts.store.get("feedback", f"{name}|client")
    assert kept is not None
    assert orjson.loads(kept)["rating"] == 3


async def test_the_same_source_votes_once_and_another_source_again():
    parts = services()
    name = await answered(parts)
    await parts.feedback.accept(vote(name, parts), CALLER)
    once = learned(parts)
    status, told = await parts.feedback.accept(vote(name, parts, score=0.0), CALLER)
    assert (status, told["status"], told["score"]) == (200, "duplicate", 1.0)
    assert learned(parts) == once
    _, told = await parts.feedback.accept(vote(name, parts, score=0.0, source="reviewer"), CALLER)
    assert told["status"] == "accepted"
    assert learned(parts)[1] == pytest.approx(0.5)


async def test_a_vote_counted_before_a_restart_or_by_another_worker_is_not_counted_again():
    first = services()
    name = await answered(first)
    await first.feedback.accept(vote(name, first, score=0.25), CALLER)
    second = services(store=first.store)
    for kind, place, data, expires in first.recorder.collect()[0]:
        await first.store.put(kind, place, data, expires)
    status, told = await second.feedback.accept(vote(name, second), CALLER)
    assert (status, told["status"], told["score"]) == (200, "duplicate", 0.25)
    assert learned(second) == (0.0, 0.0)
    assert (await refused(second, vote(name, second), OTHER)).status == 404


async def test_of_two_workers_that_hear_the_same_vote_at_once_one_counts_it():
    first = services()
    second = services(store=first.store)
    name = await answered(first)
    for kind, place, data, expires in first.recorder.collect()[0]:
        await first.store.put(kind, place, data, expires)
    told = await asyncio.gather(
        *(parts.feedback.accept(vote(name, parts, score=0.5), CALLER) for parts in (first, second) for _ in range(3))
    )
    assert sorted(body["status"] for _, body in told) == ["accepted", *["duplicate"] * 5]
    assert sorted([learned(first)[0] > 0.0, learned(second)[0] > 0.0]) == [False, True]


async def test_the_votes_of_several_sources_at_once_are_all_kept():
    first = services()
    second = services(store=first.store)
    name = await answered(first)
    for kind, place, data, expires in first.recorder.collect()[0]:
        await first.store.put(kind, place, data, expires)
    votes = [
        parts.feedback.accept(vote(name, parts, score=0.5, source=f"s{n}"), CALLER)
        for n, parts in enumerate([first, second] * 4)
    ]
    assert {body["status"] for _, body in await asyncio.gather(*votes)} == {"accepted"}
    assert len(await first.store.list("feedback")) == 8


async def test_another_key_s_decision_is_not_there_but_for_an_operator():
    parts = services()
    name = await answered(parts)
    error = await refused(parts, vote(name, parts), OTHER)
    assert (error.status, error.code) == (404, "decision_not_found")
    assert learned(parts) == (0.0, 0.0)
    operator = Principal("ops", admin=True)
    assert (await parts.feedback.accept(vote(name, parts), operator))[0] == 200


@pytest.mark.parametrize("name", ["dec_abc", "dec_" + "a" * 29, "chatcmpl-1"])
async def test_a_forged_decision_is_not_there(name):
    parts = services()
    error = await refused(parts, vote(name, parts))
    assert (error.status, error.code, error.should_retry) == (404, "decision_not_found", False)


async def test_a_vote_for_a_decision_that_is_on_its_way_waits_for_it(monkeypatch):
    monkeypatch.setattr(desk_of, "_STEP_S", 0.01)
    parts = services()
    other = services()
    ctx = context(other, principal=CALLER)
    status, told = await parts.feedback.accept(vote(ctx.decision_id, parts), CALLER)
    assert (status, told["status"]) == (202, "held")
    assert learned(parts) == (0.0, 0.0)
    other.recorder.finish(ctx, served(ctx))
    for kind, place, data, expires in other.recorder.collect()[0]:
        await parts.store.put(kind, place, data, expires)
    for _ in range(3000):
        if learned(parts)[0]:
            break
        await asyncio.sleep(0.01)
    assert learned(parts)[1] == 1.0
    assert parts.feedback.dropped == 0


async def test_a_held_vote_of_the_wrong_key_is_dropped_when_the_decision_comes(monkeypatch):
    monkeypatch.setattr(desk_of, "_STEP_S", 0.001)
    parts = services()
    ctx = context(parts, principal=CALLER)
    assert (await parts.feedback.accept(vote(ctx.decision_id, parts), OTHER))[0] == 202
    parts.recorder.finish(ctx, served(ctx))
    (task,) = parts.feedback._held
    await asyncio.wait_for(task, 60)
    assert learned(parts) == (0.0, 0.0)


async def test_a_vote_whose_decision_never_comes_is_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(desk_of, "_STEP_S", 20.0)
    real = asyncio.sleep
    monkeypatch.setattr(desk_of.asyncio, "sleep", lambda seconds: real(0))
    parts = services()
    await parts.feedback.accept(vote(parts.ids.new(parts.clock.time()), parts), CALLER)
    (task,) = parts.feedback._held
    await asyncio.wait_for(task, 60)
    assert parts.feedback.dropped == 1


async def test_only_so_many_votes_wait(monkeypatch):
    monkeypatch.setattr(desk_of, "_MOST_HELD", 2)
    parts = services()
    for _ in range(2):
        await parts.feedback.accept(vote(parts.ids.new(parts.clock.time()), parts), CALLER)
    error = await refused(parts, vote(parts.ids.new(parts.clock.time()), parts))
    assert (error.status, error.code) == (503, "overloaded")
    held = list(parts.feedback._held)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    assert not parts.feedback._held


async def test_a_decision_that_is_long_gone_is_not_waited_for():
    parts = services()
    name = parts.ids.new(parts.clock.time() - HELD_S - 2)
    assert (await refused(parts, vote(name, parts))).status == 404
    assert not parts.feedback._held


async def test_a_vote_on_a_deployment_that_is_gone_is_kept_with_it():
    parts = services()
    name = await answered(parts)
    parts.config.current.registry = registry("beta/m2")
    status, told = await parts.feedback.accept(vote(name, parts), CALLER)
    assert (status, told["status"]) == (200, "accepted")
    assert "no longer registered" in told["note"]
    assert learned(parts)[1] == 1.0


async def test_a_request_that_nobody_answered_earns_no_vote():
    parts = services()
    name = await answered(parts, None)
    status, told = await parts.feedback.accept(vote(name, parts), CALLER)
    assert (status, told["status"]) == (200, "ignored")
    assert learned(parts) == (0.0, 0.0)


async def test_words_alone_are_kept_and_move_nothing():
    parts = services()
    name = await answered(parts)
    _, told = await parts.feedback.accept(vote(name, parts, label="too long"), CALLER)
    assert (told["status"], told["score"]) == ("accepted", None)
    assert learned(parts) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("signals", "score"),
    [
        ({"outcome": "success", "pr_merged": True}, 1.0),
        ({"outcome": "failure", "pr_reverted": True}, 0.0),
        ({"outcome": "partial", "pr_reverted": True}, 0.0),
        ({"outcome": "success", "score": 0.5, "pr_merged": True, "rating": 5}, 0.975),
        ({"rating": 1}, 0.0),
        ({"correction": "4"}, 0.0),
    ],
)
async def test_scores_stay_between_nothing_and_one(signals, score):
    parts = services()
    name = await answered(parts)
    _, told = await parts.feedback.accept(vote(name, parts, **signals), CALLER)
    assert told["score"] == pytest.approx(score)


async def test_a_store_that_is_away_changes_nothing_for_decisions_in_memory():
    class Away:
        async def get(self, kind: str, name: str) -> bytes | None:
            raise StoreError

        async def swap(self, *_: object) -> bool:
            await asyncio.sleep(0)
            raise StoreError

    parts = services(store=Away())
    name = await answered(parts, principal=ANONYMOUS)
    both = await asyncio.gather(*(parts.feedback.accept(vote(name, parts), ANONYMOUS) for _ in range(2)))
    assert [body["status"] for _, body in both] == ["accepted", "duplicate"]
    assert [place for kind, place, _, _ in parts.recorder.collect()[0] if kind == "feedback"] == [f"{name}|client"]
    assert (await parts.feedback.accept(vote(parts.ids.new(parts.clock.time()), parts), CALLER))[0] == 202
    held = list(parts.feedback._held)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)


def whole(data: bytes) -> bytes:
    """A document as it was written before records were stored as columns."""
    return orjson.dumps(expanded(orjson.loads(data)))


@pytest.mark.parametrize("form", [bytes, whole])
async def test_what_a_store_remembers_of_a_decision_is_enough_to_vote(form):
    first = services()
    name = await answered(first)
    second = services(store=first.store)
    data = next(data for kind, place, data, _ in first.recorder.collect()[0] if (kind, place) == (KIND, name))
    await first.store.put(KIND, name, form(data))
    found = await second.feedback.find(name)
    assert found is not None
    assert (found.deployment, found.key_id) == ("acme/m1", CALLER.key_id)
    assert isinstance(found.task, TaskType)


async def test_old_votes_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(desk_of, "_MOST_VOTES", 1)
    parts = services()
    first, second = await answered(parts), await answered(parts)
    for name in (first, second):
        await parts.feedback.accept(vote(name, parts), CALLER)
    assert list(parts.feedback._votes) == [(second, "client")]
