"""What an answer's own signs teach, seen through the rewards that arrive."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.signals import Signals, keeps_answer
from router_core.outcome import AttemptOutcome, AttemptRole, RequestOutcome, Reward, Usage
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


async def looked_at(signals: Signals) -> None:
    """Wait until nothing waits any more."""
    async with asyncio.timeout(60):
        while len(signals._waiting):  # noqa: ASYNC110 - it is told to nobody
            await asyncio.sleep(0.005)


async def take(signals: Signals, ctx: Any, body: dict[str, Any] | None) -> None:
    signals.after(ctx, outcome(ctx), body)
    await looked_at(signals)


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


async def test_many_answers_at_once_are_all_looked_at_and_an_odd_one_is_passed_over(signals: Signals, heard: Heard):
    for number in range(23):
        ctx = context(f"prompt {number}", float(number))
        if number == 7:
            ctx.chat.body["messages"] = None
        signals.after(ctx, outcome(ctx), answer("{}" if number % 2 else "no JSON"))
    await looked_at(signals)
    assert [reward.at for reward in heard.rewards] == [float(number) for number in range(23)]
    assert len(signals._asked) == 22
    await take(signals, context("one more", 50.0), answer("{}"))
    assert heard.rewards[-1].at == 50.0


async def test_of_a_prompt_that_may_be_asked_again_no_text_is_kept(signals: Signals, heard: Heard):
    ctx = context("same", 1.0)
    free = sys.getrefcount(ctx)
    await take(signals, ctx, None)
    assert sys.getrefcount(ctx) == free
    await take(signals, context("same", 2.0), None)
    assert [reward.at for reward in heard.rewards] == [1.0]


async def test_learning_that_is_switched_off_hears_nothing(signals: Signals, heard: Heard):
    off = Policy(learning=LearningPolicy(enabled=False))
    await take(signals, context("a", 1.0, off), answer("no JSON at all"))
    assert heard.rewards == []


def stream(text: str, calls: Sequence[Any] = ()) -> Any:
    return SimpleNamespace(relay=SimpleNamespace(text=text, calls=list(calls), finish_reason="stop"))


async def take_stream(signals: Signals, ctx: Any, told: Any) -> None:
    signals.after(ctx, outcome(ctx), None, told)
    await looked_at(signals)


async def test_declining_in_words_is_a_refusal_too(signals: Signals, heard: Heard):
    ctx = context("a", 1.0)
    del ctx.chat.body["response_format"]
    await take(signals, ctx, answer("I'm sorry, but I can't help with that."))
    (reward,) = heard.rewards
    assert (reward.source, reward.value < 0.5) == ("implicit", True)
    assert not ctx.attempts[0].refusal  # what was counted of the call stays as it was


async def test_a_stream_whose_text_was_kept_is_looked_at_like_an_answer(signals: Signals, heard: Heard):
    await take_stream(signals, context("a", 1.0), stream('{"a": 1}'))
    await take_stream(signals, context("b", 2.0), stream("{"))
    assert [(reward.source, reward.value > 0.5) for reward in heard.rewards] == [
        ("verifier", True),
        ("verifier", False),
    ]


async def test_a_stream_that_was_not_kept_or_that_others_continued_says_nothing_of_form(signals: Signals, heard: Heard):
    await take_stream(signals, context("a", 1.0), stream(""))
    ctx = context("c", 1.0)
    ctx.attempts.append(replace(ctx.attempts[0], role=AttemptRole.CONTINUATION))
    await take_stream(signals, ctx, stream("{"))
    assert heard.rewards == []


async def test_tool_calls_of_a_stream_are_held_against_their_tools(signals: Signals, heard: Heard):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    for number, arguments in enumerate(['{"city": "Oslo"}', '{"town": "Oslo"}', '{"city": "Os']):
        ctx = context(f"prompt {number}", float(number))
        ctx.chat.body["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
        call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
        await take_stream(signals, ctx, stream("", [call]))
    assert [(reward.source, reward.value > 0.5) for reward in heard.rewards] == [
        ("verifier", True),
        ("verifier", False),
        ("verifier", False),
    ]


def test_an_answer_is_kept_where_a_form_was_asked_for_else_of_some():
    ctx = context("a", 1.0)
    ctx.chat.n, ctx.decision_id = 1, "dec_1"
    assert keeps_answer(ctx)
    ctx.chat.n = 2
    assert not keeps_answer(ctx)
    ctx.chat.n = 1
    del ctx.chat.body["response_format"]
    kept = 0
    for number in range(400):
        ctx.decision_id = f"dec_{number}"
        kept += keeps_answer(ctx)
    assert 60 < kept < 140
    assert not keeps_answer(ctx)  # the last of them
    ctx.chat.body["tools"] = []
    assert keeps_answer(ctx)
    ctx.policy = Policy(learning=LearningPolicy(enabled=False))
    assert not keeps_answer(ctx)


async def test_what_waits_to_be_looked_at_stays_bounded_under_load(signals: Signals, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.signals._DELAY_S", 0.0)
    most = 0
    for turn in range(200):
        for number in range(20):  # more than a turn looks at when few wait
            ctx = context(f"prompt {turn} {number}", 0.0)
            signals.after(ctx, outcome(ctx), answer("{}"))
        await asyncio.sleep(0)
        most = max(most, len(signals._waiting))
    assert most <= 20 * 12
