"""The sixteen scenarios: what the primary does, what the answer must be like, what else is looked at.

A time that stands in a scenario is multiplied by ``scale``: 1 is the real thing, 0.1 the fast run, for which the
gateway's time-outs are shortened likewise. Limits stay what they are, so do the times of what must not be waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import openai

from bench.failover.client import WORDS, Seen, ask
from tests.fakes.provider import FakeProvider

Verdict = Literal["pass", "partial", "safe", "fail"]
Check = tuple[str, bool]


@dataclass(slots=True)
class Scene:
    """One scenario at work: its two providers, the client, and the clock's scale."""

    primary: FakeProvider
    fallback: FakeProvider
    client: openai.AsyncOpenAI
    route: str
    scale: float

    async def ask(self, limit_s: float) -> Seen:
        """Call once; ``limit_s`` is in real seconds."""
        return await ask(self.client, self.route, limit_s)

    def heal(self, prefill: Literal["continue", "ignore"] = "ignore") -> None:
        """Make both providers well again."""
        for provider in (self.primary, self.fallback):
            provider.reset()
            provider.answer(WORDS, delay_s=0.015, prefill=prefill)


@dataclass(slots=True)
class Result:
    """The verdict on one scenario, and why."""

    id: str
    title: str
    verdict: Verdict
    seconds: float
    attempts: tuple[int, int]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario.

    ``faults`` are set at the primary (``fallback_faults`` at the fallback) before the call; ``limit_s`` is when a call
    counts as hung; ``checks`` look at what was seen. ``error_is_fine``: a clean error passes, if the checks hold.
    ``scaled``: whether the faults' times are; not where the gateway must not wait for their end.
    ``wide_fallback`` gives the fallback a larger window, ``prefill_fallback`` lets the gateway believe that it goes on
    from a beginning, ``prefill`` says whether it does.
    """

    id: str
    title: str
    faults: tuple[dict[str, Any], ...]
    checks: Callable[[Scene, Seen], Sequence[Check]] = lambda _scene, _seen: ()
    fallback_faults: tuple[dict[str, Any], ...] = ()
    limit_s: float = 100.0
    scaled: bool = True
    error_is_fine: bool = False
    wide_fallback: bool = False
    prefill_fallback: bool = False
    prefill: Literal["continue", "ignore"] = "ignore"
    script: Callable[[Scenario, Scene], Awaitable[Result]] | None = None


async def play(scenario: Scenario, scene: Scene) -> Result:
    """Set the faults, call, look, and see that a healthy call works afterwards."""
    scene.heal(scenario.prefill)
    if scenario.script is not None:
        return await scenario.script(scenario, scene)
    for provider, rules in ((scene.primary, scenario.faults), (scene.fallback, scenario.fallback_faults)):
        for rule in rules:
            provider.fail(**_scaled(rule, scene.scale if scenario.scaled else 1.0))
    seen = await scene.ask(scenario.limit_s)
    checks = list(scenario.checks(scene, seen))
    attempts = (len(scene.primary.requests), len(scene.fallback.requests))
    scene.heal()
    after = await scene.ask(60)
    verdict, notes = judge(seen, checks, error_is_fine=scenario.error_is_fine)
    if not after.whole:
        verdict = "fail"
        notes.append(f"the healthy call afterwards: {after.error or after.text[:60]!r}")
    return Result(scenario.id, scenario.title, verdict, seen.seconds, attempts, notes)


def judge(seen: Seen, checks: Sequence[Check], *, error_is_fine: bool = False) -> tuple[Verdict, list[str]]:
    """Give the verdict on one call and the reasons against a better one."""
    missed = [name for name, held in checks if not held]
    if seen.hung:
        return "fail", ["hung", *missed]
    if seen.garbage:
        return "fail", [f"garbage reached the client: {seen.garbage[:60]}", *missed]
    if seen.truncated_success:
        share = f"{len(seen.text.split())} of {len(WORDS.split())} words"
        return "fail", [f"not the answer, passed off as one ({share}, finish {seen.finish})", *missed]
    if seen.whole:
        return ("partial" if missed else "pass"), missed
    if error_is_fine and not missed:
        return "pass", [f"error: {seen.error[:90]}"]
    return "safe", [f"error: {seen.error[:90]}", *missed]


def _scaled(rule: dict[str, Any], scale: float) -> dict[str, Any]:
    return {key: value * scale if key == "seconds" else value for key, value in rule.items()}


def _times(provider: FakeProvider) -> list[float]:
    return [record.started_at for record in provider.requests]


# ---- what is looked at ----


def waited_for_the_primary(scene: Scene, _seen: Seen) -> list[Check]:
    """S01."""
    times = _times(scene.primary)
    gap = times[1] - times[0] if len(times) > 1 else 0.0
    return [
        ("second attempt on the primary", len(times) == 2 and not scene.fallback.requests),
        ("at least 1.8 s after the first", gap >= 1.8),
    ]


def few_in_a_storm(scene: Scene, _seen: Seen) -> list[Check]:
    """S02: attempts are counted on both."""
    times = sorted(_times(scene.primary) + _times(scene.fallback))
    early = sum(1 for at in times if at - times[0] <= 3)
    return [("at most 4 attempts in 3 s", early <= 4), ("at most 6 in all", len(times) <= 6)]


def same_again(scene: Scene, _seen: Seen) -> list[Check]:
    """S03."""
    return [("second attempt on the same provider", len(scene.primary.requests) == 2 and not scene.fallback.requests)]


def few(scene: Scene, _seen: Seen) -> list[Check]:
    """S04."""
    return [("at most 6 attempts", len(scene.primary.requests) + len(scene.fallback.requests) <= 6)]


def once_on_the_silent(scene: Scene, _seen: Seen) -> list[Check]:
    """S06."""
    return [("exactly one attempt on the silent one", len(scene.primary.requests) == 1)]


def within(limit_s: float) -> Callable[[Scene, Seen], list[Check]]:
    """S07, S09: the whole answer in time."""

    def check(_scene: Scene, seen: Seen) -> list[Check]:
        return [(f"within {limit_s:g} s", seen.seconds <= limit_s)]

    return check


def done_with_usage(_scene: Scene, seen: Seen) -> list[Check]:
    """S11."""
    return [("done within 8 s", seen.seconds <= 8), ("usage present", seen.usage_tokens is not None)]


def once_on_the_small(scene: Scene, _seen: Seen) -> list[Check]:
    """S12."""
    return [("no second attempt on the same model", len(scene.primary.requests) == 1)]


def refused_once(scene: Scene, seen: Seen) -> list[Check]:
    """S13."""
    return [
        ("one attempt, no fallback", len(scene.primary.requests) == 1 and not scene.fallback.requests),
        ("the provider's reason reaches the client", "safety system" in seen.error),
        # Only OpenAI's wire has a code for it.
        (
            "its code reaches the client",
            scene.primary.wire != "openai" or seen.error_code == "content_policy_violation",
        ),
    ]


def prefill_error_hidden(_scene: Scene, seen: Seen) -> list[Check]:
    """S14."""
    return [("the prefill refusal is never shown", "refill" not in seen.error + seen.text)]


def fallback_named(_scene: Scene, seen: Seen) -> list[Check]:
    """S16."""
    return [("model names the fallback", "fallback" in seen.model), ("usage present", seen.usage_tokens is not None)]


async def outage(scenario: Scenario, scene: Scene) -> Result:
    """S15: an outage of a minute, a call every four seconds for eighty."""
    every, lasts, calls = 4 * scene.scale, 60 * scene.scale, 20
    scene.primary.fail("unavailable", times=None)
    started = time.monotonic()
    tasks: list[asyncio.Task[Seen]] = []
    recovered = None
    for number in range(calls):
        await asyncio.sleep(max(0.0, started + number * every - time.monotonic()))
        if recovered is None and time.monotonic() - started >= lasts:
            scene.primary.server.faults.clear()
            recovered = time.monotonic()
        tasks.append(asyncio.create_task(scene.ask(60)))
    seen = await asyncio.gather(*tasks)
    back = [r.started_at - recovered for r in scene.primary.requests if recovered and r.started_at >= recovered]
    whole = sum(each.whole for each in seen)
    attempts = (len(scene.primary.requests), len(scene.fallback.requests))
    # The calls end soon after the outage; the way back may take until thirty seconds after it.
    limit = max(30 * scene.scale, 8.0)  # a busy machine needs some; a second opening would take longer
    while not back and recovered is not None and time.monotonic() - recovered < limit:
        await asyncio.sleep(0.2)
        await scene.ask(60)
        back = [r.started_at - recovered for r in scene.primary.requests if r.started_at >= recovered]
    checks = [(f"back on the primary within {limit:g} s", bool(back) and back[0] <= limit)]
    missed = [name for name, held in checks if not held]
    verdict: Verdict = "pass"
    if any(each.truncated_success or each.hung for each in seen):
        verdict = "fail"
    elif whole < calls:
        verdict = "safe"
    elif missed:
        verdict = "partial"
    notes = [f"{whole} of {calls} answered", *missed]
    if back:
        notes.append(f"back after {back[0]:.1f} s")
    return Result(scenario.id, scenario.title, verdict, time.monotonic() - started, attempts, notes)


def _once(kind: str, **options: Any) -> tuple[dict[str, Any], ...]:
    return ({"kind": kind, **options},)


def _always(kind: str, **options: Any) -> tuple[dict[str, Any], ...]:
    return ({"kind": kind, "times": None, **options},)


_DIES = _always("cut_after", after=40)

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("S01", "429 with Retry-After: 2 once", _once("rate_limit", retry_after=2), waited_for_the_primary),
    Scenario("S02", "429 without Retry-After, always", _always("rate_limit"), few_in_a_storm),
    Scenario("S03", "500 once", _once("server_error"), same_again),
    Scenario("S04", "503 always", _always("unavailable"), few),
    Scenario("S05", "TCP reset before headers, once", _once("reset")),
    Scenario("S06", "accepts, never answers", _always("hang", seconds=120), once_on_the_silent, scaled=False),
    Scenario("S07", "first token after 20 s", _always("slow_first_token", seconds=20), within(15), scaled=False),
    Scenario("S08", "stream dies after 40 of 60 tokens", _DIES),
    Scenario("S09", "silent after 20 tokens", _always("hang_after", after=20, seconds=30), within(45)),
    Scenario("S10", "tenth event is invalid JSON", _always("malformed_event", after=8, insert=True)),
    Scenario("S11", "complete, but no [DONE]", _always("no_done"), done_with_usage),
    Scenario(
        "S12",
        "400 context_length_exceeded",
        _always("context_length_exceeded"),
        once_on_the_small,
        error_is_fine=True,
        wide_fallback=True,
    ),
    Scenario(
        "S13", "400 content_policy_violation", _always("content_policy_violation"), refused_once, error_is_fine=True
    ),
    Scenario(
        "S14",
        "as S08, the fallback refuses a prefill",
        _DIES,
        prefill_error_hidden,
        fallback_faults=_always("reject_prefill"),
        prefill_fallback=True,
    ),
    Scenario("S15", "503 for 60 s, then well", (), script=outage),
    Scenario("S16", "503 always: what the answer says", _always("unavailable"), fallback_named),
    # Besides the sixteen.
    Scenario("X08", "as S08, the fallback goes on from a prefill", _DIES, prefill_fallback=True, prefill="continue"),
    Scenario("X09", "RST after 40 of 60 tokens", _always("reset_after", after=40)),
    Scenario("X10", "tenth event is cut, its word is lost", _always("malformed_event", after=8)),
    Scenario("X11", "ends after 40 words without finish_reason", _always("clean_end_after", after=40)),
    Scenario("X12", "error event after 40 words", _always("error_event_after", after=40)),
    Scenario("X13", "as X08, but the fallback starts anew", _DIES, prefill_fallback=True),
)
