"""What an answer's own signs teach, seen through the rewards that arrive."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.signals import Signals
from router_core.outcome import AttemptOutcome, RequestOutcome, Reward, Usage
from router_core.policy import LearningPolicy, Policy
from router_core.task import TaskProfile, TaskType

pytestmark = pytest.mark.anyio


@dataclass
class Heard:
    rewards: list[Reward] = field(default_factory=list)

    def reward(self, reward: Reward, *_: Any) -> None:
        self.rewards.append(reward)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def signals(heard: Heard) -> Signals:
    return Signals(SimpleNamespace(learner=heard, observer=Heard()))


def context(prompt: str, at: float, policy: Policy | None = None, **changes: Any) -> Any:
    attempt = AttemptOutcome("acme/m1", "acme", TaskType.ANALYSIS, at, 1.0, usage=Usage(10, 0, 0, 5))
    return SimpleNamespace(
        attempts=[replace(attempt, **changes)],
        policy=policy or Policy(),
        decision=SimpleNamespace(profile=TaskProfile(TaskType.ANALYSIS)),
        routing=SimpleNamespace(features=None),
        chat=SimpleNamespace(
            body={"messages": [{"role": "user", "content": prompt}], "response_format": {"type": "json_object"}}
        ),
        principal=SimpleNamespace(key_id="k1"),
        hints=SimpleNamespace(session=None),
        facts=lambda _: None,
    )


def outcome(ctx: Any) -> RequestOutcome:
    return RequestOutcome("dec_1", 0.0, TaskType.ANALYSIS, 200, 1.0, tuple(ctx.attempts), served_by="acme/m1")


def answer(content: str) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]}


async def take(signals: Signals, ctx: Any, body: dict[str, Any] | None) -> None:
    signals.after(ctx, outcome(ctx), body)
    await asyncio.sleep(0.12)


async def test_a_form_that_holds_is_better_than_one_that_does_not(signals: Signals, heard: Heard):
    await take(signals, context("a", 1.0), answer('{"a": 1}'))
    await take(signals, context("b", 2.0), answer("no JSON at all"))
    held, broken = heard.rewards
    assert held.source == broken.source == "verifier"
    assert held.value > 0.5 > broken.value


async def test_a_refusal_is_weak_evidence_of_a_bad_answer(signals: Signals, heard: Heard):
    await take(signals, context("a", 1.0, refusal=True), None)
    (reward,) = heard.rewards
    assert reward.source == "implicit"
    assert reward.value < 0.5
    assert reward.weight < 0.4


async def test_a_quick_re_ask_speaks_against_the_first_answer_only(signals: Signals, heard: Heard):
    await take(signals, context("same", 1.0), None)
    await take(signals, context("same", 30.0), None)
    assert [(reward.source, reward.at) for reward in heard.rewards] == [("implicit", 1.0)]
    await take(signals, context("same", 3000.0), None)
    assert len(heard.rewards) == 1


async def test_learning_that_is_switched_off_hears_nothing(signals: Signals, heard: Heard):
    off = Policy(learning=LearningPolicy(enabled=False))
    await take(signals, context("a", 1.0, off), answer("no JSON at all"))
    assert heard.rewards == []
