from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.calibration import CalibrationError
from gateway.capture import KIND, MOST_BYTES, Capture
from gateway.feedback import VOTE
from gateway.recorder import KIND as DECISION
from gateway.services import Services
from gateway.state.memory import MemoryStore
from gateway.traffic import judged_decisions, sampled_prompts
from router_core.policy import CapturePolicy, Policy
from tests.fakes.contexts import CALLER, context, served, services
from tests.unit.router_core.builders import NOW, without_exploration

pytestmark = pytest.mark.anyio
ON = without_exploration().replace(capture=CapturePolicy(enabled=True, days=3))


def kept(parts: Services) -> list[tuple[str, str, bytes, float | None]]:
    documents, _ = parts.recorder.collect()
    return [each for each in documents if each[0] == KIND]


def finish(policy: Policy = ON, *, principal: Any = CALLER, answered: bool = True, **body: Any) -> Services:
    parts = services(policy=policy)
    ctx = context(parts, principal=principal, **body)
    outcome = served(ctx, ctx.decision.chosen if answered else None)
    Capture(parts).finished(ctx, outcome)
    return parts


def test_nothing_is_kept_unless_the_operator_says_so():
    assert kept(finish(without_exploration())) == []


def test_a_prompt_is_kept_without_its_answer_for_as_long_as_configured():
    ((_, name, data, expires),) = kept(finish(temperature=0.3, user="u-1", max_tokens=9))
    assert name.startswith("dec_")
    assert orjson.loads(data) == {
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 9,
    }
    assert expires == NOW + 3 * 86_400.0


def test_keys_tags_failures_images_and_giants_are_left_out():
    assert kept(finish(principal=replace(CALLER, capture=False))) == []
    assert kept(finish(router={"tags": ["calibration"]})) == []
    assert kept(finish(answered=False)) == []
    assert kept(finish(router={"task": "multimodal"}, messages=[{"role": "user", "content": "see"}])) == []
    assert kept(finish(messages=[{"role": "user", "content": "x" * MOST_BYTES}])) == []


def test_a_share_is_drawn():
    parts = services(policy=ON.replace(capture=CapturePolicy(enabled=True, share=0.3)))
    hook = Capture(parts)
    for _ in range(400):
        ctx = context(parts)
        hook.finished(ctx, served(ctx, ctx.decision.chosen))
    assert 70 < hook.kept < 170


async def filled(count: int = 0) -> MemoryStore:
    store = MemoryStore(wall=lambda: NOW)
    for number in range(count):
        body = {"messages": [{"role": "user", "content": f"question {number % 700}"}]}
        await store.put(KIND, f"dec_{number:05}", orjson.dumps(body), NOW + 10.0)
    return store


async def test_prompts_are_drawn_alike_for_a_seed_and_each_once():
    store = await filled(1300)
    first = await sampled_prompts(store, 50, seed=1)
    assert len({orjson.dumps(dict(task.body)) for task in first}) == 50
    assert await sampled_prompts(store, 50, seed=1) == first
    assert await sampled_prompts(store, 50, seed=2) != first
    assert len(await sampled_prompts(store, 10_000)) == 700


async def test_a_store_without_prompts_says_what_to_turn_on():
    with pytest.raises(CalibrationError, match=r"capture\.enabled"):
        await sampled_prompts(await filled(), 5)


async def test_decisions_come_with_their_votes():
    store = await filled()
    for name in ("dec_1", "dec_2"):
        await store.put(DECISION, name, orjson.dumps({"id": name}))
    await store.put(VOTE, "dec_2|a", orjson.dumps({"decision_id": "dec_2", "score": 0.5}))
    await store.put(VOTE, "dec_2|b", orjson.dumps({"decision_id": "dec_2", "rating": 5}))
    found = {row["id"]: row["feedback"] for row in await judged_decisions(store)}
    assert found["dec_1"] == []
    assert sorted(len(vote) for vote in found["dec_2"]) == [2, 2]
