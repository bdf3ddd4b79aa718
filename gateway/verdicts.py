"""Asking a judge about several answers, or for one made of them; and learning from what it says."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway import chunks
from gateway.attempts import AttemptLoop, Exhausted
from gateway.calls import LiveCall
from gateway.context import RequestContext
from gateway.services import Services
from gateway.whole import close, text_of
from router_core.decision import Attempt
from router_core.judging import combine, judge_messages, question_of, read_verdict, synthesis_messages
from router_core.outcome import AttemptRole
from router_core.pricing import worst_usd
from router_core.request import Mode
from router_core.reward import of_verdict

_KEPT = frozenset({"user", "metadata", "safety_identifier"})


@dataclass(slots=True)
class Judged:
    """A verdict over answers, or an answer ``written`` by the judge."""

    winner: int
    scores: tuple[float, ...]
    reason: str
    written: LiveCall | None = None


async def ask(services: Services, ctx: RequestContext, texts: Sequence[str], weights: Sequence[float]) -> Judged | None:
    """Ask the decision's judge; None when there is none, it may not be paid for, or it gave no verdict."""
    name = ctx.decision.judge
    if name is None:
        return None
    ctx.judge = name
    question = question_of(ctx.chat.body["messages"])
    fence = secrets.token_hex(8)
    if ctx.decision.mode is Mode.SYNTHESIZE:
        live = await _call(services, ctx, name, synthesis_messages(question, texts, fence), None)
        if live is None:
            return None
        close(ctx, live)
        if not text_of(live):
            return None
        return Judged(-1, (), "written from all answers", live)
    forward = list(range(len(texts)))
    orders = (forward, forward[::-1])
    limit = ctx.policy.parallel.judge_max_output_tokens

    async def one(order: Sequence[int]) -> tuple[int, str] | None:
        messages = judge_messages(question, texts, order, fence)
        live = await _call(services, ctx, name, messages, limit, of=len(orders))
        if live is None:
            return None
        close(ctx, live)
        return read_verdict(text_of(live), order)

    said = [verdict for verdict in await asyncio.gather(*map(one, orders)) if verdict is not None]
    found = combine(said, len(texts), weights)
    return None if found is None else Judged(found.winner, found.scores, found.reason)


def learn(services: Services, ctx: RequestContext, deployments: Sequence[str], judged: Judged) -> None:
    """Book a verdict: a reward for every answer, a head-to-head result for every pair."""
    task, now = ctx.decision.profile.task, services.steady()
    for name, value in zip(deployments, judged.scores, strict=True):
        reward = of_verdict(
            name, task, now, value, secondary=ctx.decision.profile.secondary, features=ctx.routing.features
        )
        services.learner.reward(reward, ctx.policy)
        services.observer.reward(reward)
    for index, name in enumerate(deployments):
        if index != judged.winner:
            draw = judged.scores[index] == judged.scores[judged.winner]
            services.observer.head_to_head(deployments[judged.winner], name, task, draw=draw)


async def _call(
    services: Services,
    ctx: RequestContext,
    name: str,
    messages: Sequence[Mapping[str, Any]],
    limit: int | None,
    of: int = 1,
) -> LiveCall | None:
    """Make one of ``of`` calls to the judge, with a body of our own.

    None when it fails, or when all of them together do not fit into what is left of the cost limit.
    """
    deployment = ctx.deployment(name)
    characters = sum(len(message["content"]) for message in messages)
    output = limit or ctx.routing.max_output_tokens or ctx.policy.default_max_output_tokens
    worst = worst_usd(deployment, characters // 3, output)
    left = ctx.hints.max_cost_usd
    if left is not None and ctx.spent_usd + of * worst > left:
        return None
    body: dict[str, Any] = {field: None for field in ctx.chat.body if field not in _KEPT and field != "model"}
    body["messages"] = list(messages)
    parameter = chunks.limit_name(ctx.chat.body, deployment, ctx.registry.providers[deployment.provider])
    bounded = limit is not None or left is not None
    body[parameter] = output if bounded else ctx.routing.max_output_tokens
    loop = AttemptLoop(services, ctx, [Attempt(name, None, worst, worst)], AttemptRole.JUDGE)
    try:
        async with asyncio.timeout(ctx.policy.parallel.judge_timeout_s):
            return await loop.open(overrides=lambda _: body, stream=False)
    except (Exhausted, TimeoutError):
        return None
