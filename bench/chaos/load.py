"""The traffic: an open loop of mixed calls, each checked character by character."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

WORDS = "tide rope gull crate ice boat book page blue small quay sun harbour wind salt net line sail mast oar".split()  # noqa: SIM905 - a text
TEMPLATE = "You said {prompt} and I say " + " ".join(WORDS * 2) + " to that."
"""What every provider answers: the same for one request wherever it goes, different for any two requests."""

Verdict = Literal["whole", "error", "left", "wrong", "truncated", "late", "unshaped"]


@dataclass(slots=True)
class Sent:
    """One call and what became of it. Times are monotonic seconds; ``left_at`` is when the client left, if it did."""

    prompt: str
    stream: bool
    recovery: str
    started_at: float
    ended_at: float = 0.0
    left_at: float | None = None
    status: int = 0
    verdict: Verdict = "error"
    kind: str = ""
    decision: str = ""
    detail: str = ""


class Load:
    """Sends calls at a steady rate, whatever becomes of them."""

    def __init__(self, origin: str, route: str, *, rate: float, deadline_s: float, seed: int) -> None:
        self.origin, self.route = origin, route
        self.rate, self.deadline_s = rate, deadline_s
        self.dice = random.Random(seed)
        self.sent: list[Sent] = []

    async def run(self, seconds: float) -> None:
        """Send for ``seconds``, then wait for what is still open."""
        tasks: set[asyncio.Task[None]] = set()
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=self.deadline_s + 20)
        started = time.monotonic()
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            for number in range(int(seconds * self.rate)):
                await asyncio.sleep(max(0.0, started + number / self.rate - time.monotonic()))
                task = asyncio.create_task(self._one(session, number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)

    async def _one(self, session: aiohttp.ClientSession, number: int) -> None:
        stream = self.dice.random() < 0.6
        recovery = self.dice.choice(("error", "continue", "buffer"))
        leaves_after = self.dice.uniform(0.0, 1.2) if self.dice.random() < 0.1 else None
        sent = Sent(f"request {number}", stream, recovery, time.monotonic())
        self.sent.append(sent)
        body = {"model": self.route, "messages": [{"role": "user", "content": sent.prompt}], "stream": stream}
        headers = {"x-router-stream-recovery": recovery} if stream else {}
        try:
            async with asyncio.timeout(leaves_after):
                await self._call(session, sent, body, headers)
        except TimeoutError:
            if leaves_after is None:
                sent.verdict = "late"
            else:
                sent.verdict, sent.left_at = "left", time.monotonic()
        except (aiohttp.ClientError, ConnectionError) as error:
            sent.verdict, sent.detail = "unshaped", f"{type(error).__name__}: {error}"
        sent.ended_at = time.monotonic()
        if sent.verdict != "left" and sent.ended_at - sent.started_at > self.deadline_s + 1:
            sent.verdict, sent.detail = "late", f"{sent.ended_at - sent.started_at:.1f} s, {sent.verdict}"

    async def _call(
        self, session: aiohttp.ClientSession, sent: Sent, body: dict[str, Any], headers: dict[str, str]
    ) -> None:
        async with session.post(f"{self.origin}/v1/chat/completions", json=body, headers=headers) as answer:
            sent.status = answer.status
            sent.decision = answer.headers.get("x-router-decision-id", "")
            if answer.status == 200 and sent.stream:
                await _read_stream(answer, sent)
            else:
                _judge_body(await answer.read(), sent)


def _judge_body(raw: bytes, sent: Sent) -> None:
    try:
        body = json.loads(raw)
    except ValueError:
        sent.verdict, sent.detail = "unshaped", repr(raw[:200])
        return
    if sent.status != 200:
        error = body.get("error") or {}
        shaped = {"message", "type", "code"} <= set(error)
        sent.verdict, sent.kind = ("error" if shaped else "unshaped"), str(error.get("code") or error.get("type"))
        return
    choice = body["choices"][0]
    _judge_text(choice["message"].get("content") or "", choice.get("finish_reason"), sent)


async def _read_stream(answer: aiohttp.ClientResponse, sent: Sent) -> None:
    text, finish, error, done = "", None, "", False
    try:
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            if line.strip() == b"data: [DONE]":
                done = True
                continue
            chunk = json.loads(line[6:])
            if chunk.get("error"):
                error = str(chunk["error"].get("code") or chunk["error"].get("type"))
            for choice in chunk.get("choices") or ():
                text += choice["delta"].get("content") or ""
                finish = choice.get("finish_reason") or finish
    except aiohttp.ClientPayloadError as broken:
        error = error or f"cut: {broken}"
    except ValueError as broken:
        sent.verdict, sent.detail = "unshaped", str(broken)
        return
    if error:
        # What came before the error must still be the beginning of the truth.
        good = expected(sent).startswith(text) and not done
        sent.verdict, sent.kind = ("error" if good else "wrong"), error
        sent.detail = "" if good else text
        return
    _judge_text(text, finish if done else None, sent)


def _judge_text(text: str, finish: str | None, sent: Sent) -> None:
    truth = expected(sent)
    if text == truth and finish == "stop":
        sent.verdict = "whole"
    elif truth.startswith(text):
        sent.verdict, sent.detail = "truncated", f"{len(text)} of {len(truth)} characters, finish {finish}"
    else:
        sent.verdict, sent.detail = "wrong", text


def expected(sent: Sent) -> str:
    """The one right answer."""
    return TEMPLATE.replace("{prompt}", sent.prompt)


def share(values: list[float], quantile: float) -> float | None:
    """A quantile of what was measured, None without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else None
