"""Answers that are odd on the wire: what can be read is delivered exactly, what cannot is never passed off as one."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.provider import FakeProvider
from tests.fakes.raw_provider import RawProvider, Step, Then, event, head, sse, whole
from tests.fakes.stage import POLICY, TEXT, Reply

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SAID = "one two three"
OTHER = "answered by the other deployment"


def chunk(content: Any = None, finish: str | None = None, *, index: int = 0, **delta: Any) -> dict[str, Any]:
    said = {} if content is None else {"content": content}
    choice = {"index": index, "delta": {**delta, **said}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def completion(content: Any = SAID, finish: str | None = "stop", **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    choices = [{"index": 0, "message": message, "finish_reason": finish, **choice}]
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": USAGE}


USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
LAST = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": USAGE}
TEN = {**LAST, "usage": {**USAGE, "completion_tokens": 10}}
ROLE = event(chunk("", role="assistant"))
PIECES = [event(chunk("one ")), event(chunk("two ")), event(chunk("three"))]
STOP = event(chunk(finish="stop"))
DONE = b"data: [DONE]\n\n"
GOOD = b"".join((ROLE, *PIECES, STOP, event(LAST), DONE))
EMOJI = event(json.dumps(chunk("gull \U0001f426 wörld"), ensure_ascii=False).encode())


@dataclass(frozen=True)
class Odd:
    """What the provider sends, and what the client must see: a text, the other's answer, or an error's text before."""

    steps: tuple[Step, ...]
    sees: str
    stream: bool = True
    error: bool = False
    body: dict[str, Any] = field(default_factory=dict)
    finish: str = "stop"
    modes: tuple[str, ...] = ("error",)


ALL = ("error", "continue", "buffer")


def streamed(*steps: Step, sees: str = SAID, **more: Any) -> Odd:
    return Odd((sse(), *steps), sees, **more)


def answered(*steps: Step, sees: str = OTHER) -> Odd:
    return Odd(steps, sees, stream=False)


def error_after_one(*steps: Step, **body: Any) -> Odd:
    return Odd((sse(), ROLE, PIECES[0], *steps), "one ", error=True, body=body)


def bytewise(data: bytes) -> tuple[Step, ...]:
    return tuple(step for byte in data for step in (bytes([byte]), 0.001))


CASES: dict[str, Odd] = {
    "lines end with CR LF": streamed(GOOD.replace(b"\n", b"\r\n"), modes=ALL),
    "lines end with CR": streamed(GOOD.replace(b"\n", b"\r")),
    "byte order mark": streamed(b"\xef\xbb\xbf", GOOD),
    "byte order mark in pieces": streamed(b"\xef", 0.01, b"\xbb", 0.01, b"\xbf", GOOD),
    "byte by byte": streamed(*bytewise(ROLE + EMOJI + STOP + DONE), sees="gull \U0001f426 wörld"),
    "halves of a character": streamed(
        event(chunk("a \ud83d")), event(chunk("\udc26 b")), STOP, DONE, sees="a \U0001f426 b", modes=("error", "buffer")
    ),
    "number that is none": streamed(event(json.dumps(chunk(SAID, logprobs=float("nan"))).encode()), STOP, DONE),
    "half a character in a name": streamed(
        *(
            event({**chunk(word), "id": "a\ud83d", "system_fingerprint": "\ud83d"})
            for word in ("one ", "two ", "three")
        ),
        event({**chunk(finish="stop\ud83d"), "id": "a\ud83d"}),
        event({**LAST, "id": "a\ud83d"}),
        DONE,
        body={"stream_options": {"include_usage": True}},
        finish="stop\ud83d",
        modes=ALL,
    ),
    "no end mark": streamed(ROLE, *PIECES, STOP),
    "last blank line missing": streamed(ROLE, *PIECES, STOP.rstrip()),
    "one line end between events": streamed(*(part[:-1] for part in (ROLE, *PIECES, STOP, DONE))),
    "one event on several lines": streamed(
        b'data: {"id":"c","model":"m",\ndata: "choices":[{"index":0,"delta":{"content":"one two three"}}]}\n\n', STOP
    ),
    "pings that are no chunks": streamed(ROLE, event({"type": "ping"}), *PIECES, STOP, DONE, modes=ALL),
    "events that are no objects": streamed(event(b'"text"'), event(b"12"), event(b"null"), *PIECES, STOP, DONE),
    "a role in each piece": streamed(
        ROLE, ROLE, *(event(chunk(w, role="assistant")) for w in ("one two ", "three")), STOP
    ),
    "delta null": streamed(event({**LAST, "choices": [{"index": 0, "delta": None}]}), *PIECES, STOP, DONE),
    "message for delta": streamed(event(completion()), DONE),
    "a whole answer labelled a stream": streamed(json.dumps(completion()).encode()),
    "choices null": streamed(event({**LAST, "choices": None}), *PIECES, event({**LAST, "choices": None}), STOP, DONE),
    "content in parts": streamed(event(chunk([{"type": "text", "text": "one "}])), PIECES[1], PIECES[2], STOP, DONE),
    "a tab that is not escaped": streamed(
        event(json.dumps(chunk("one\ttwo")).replace("\\t", "\t").encode()), STOP, DONE, sees="one\ttwo"
    ),
    "usage that is a list": streamed(
        *PIECES, STOP, event({**LAST, "usage": [1]}), DONE, body={"stream_options": {"include_usage": True}}
    ),
    "garbage after the end": streamed(*PIECES, STOP, event(b"{bad"), DONE, modes=ALL),
    "reset after the end": streamed(*PIECES, STOP, 0.05, Then.RESET, modes=ALL),
    "garbage between": streamed(*PIECES[:2], event(b"{bad"), PIECES[2], STOP, event(LAST), DONE, modes=ALL),
    "n ignored": streamed(*PIECES, STOP, DONE, body={"n": 2}),
    "compressed": Odd((sse("Content-Encoding: gzip"), gzip.compress(GOOD)), SAID),
    "another content type": Odd((sse(kind="text/plain"), GOOD), SAID),
    "another content type, in pieces": Odd((sse(kind="text/plain"), b"da", 0.02, b"ta", 0.02, GOOD[4:]), SAID),
    "no content type": Odd((b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", GOOD), SAID),
    "early hints": Odd((b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", sse(), GOOD), SAID),
    # what broke before any content is somebody else's to answer
    "error in vLLM's shape first": streamed(event({"object": "error", "message": "x", "code": 500}), sees=OTHER),
    "error event of words first": streamed(event(b"something broke", "error"), sees=OTHER),
    "finish error first": streamed(ROLE, event(chunk("", "error")), DONE, sees=OTHER),
    "all of it in what is no JSON": streamed(ROLE, event(b'{"choices":[{"delta":{"con'), STOP, DONE, sees=OTHER),
    "only comments": streamed(b": PROCESSING\n\n" * 3, DONE, sees=OTHER),
    "only the end mark": streamed(DONE, sees=OTHER),
    "reset after the role": streamed(ROLE, 0.05, Then.RESET, sees=OTHER),
    "JSON lines": Odd((sse(kind="application/x-ndjson"), b'{"choices":[]}\n{"choices":[]}\n'), OTHER),
    # what broke later is told, with the beginning as it was
    "error in vLLM's shape": error_after_one(event({"object": "error", "message": "x", "type": "T", "code": 500})),
    "error event of words": error_after_one(event(b"something broke", "error")),
    "error with half a character": error_after_one(event({"error": {"message": "a\ud83d", "code": "\ud83d"}})),
    "error as text": error_after_one(event({"error": "out of memory"}), DONE),
    "error as detail": error_after_one(event({"detail": "out of memory"}), DONE),
    "error without a frame": error_after_one(b'{"error":{"message":"bare"}}'),
    "finish error": error_after_one(event(chunk("", "error")), DONE),
    "end mark without a reason": error_after_one(DONE),
    "page in the middle": error_after_one(b"<html>bad gateway</html>\n"),
    "one of two choices cut": error_after_one(event(chunk("uno", index=1)), STOP, DONE, n=2),
    "piece lost": Odd(
        (sse(), *PIECES * 3, event(b'{"choices":[{"delta":{"content":"tw'), STOP, event(TEN), DONE), SAID, error=True
    ),
    "few pieces": Odd(
        (sse(), event(chunk("one two")), event(b"{bad"), event(chunk(" three")), STOP, event(LAST)), SAID
    ),
    # whole answers
    "choice without a message": answered(whole({**completion(), "choices": [{}]})),
    "message null": answered(whole(completion(message=None))),
    "choice null": answered(whole({**completion(), "choices": [None]})),
    "finish error, whole": answered(whole(completion("par", "error", error={"code": 502, "message": "died"}))),
    "error in vLLM's shape, whole": answered(whole({"object": "error", "message": "x", "code": 500})),
    "a list": answered(whole([completion()])),
    "a refusal that is cut": answered(head("429 Slow", "Retry-After: 9", "Content-Length: 99"), b"{", Then.RESET),
    "a refusal without an end": answered(head("401 No", "Content-Length: 99"), b"{", Then.HANG),
    "content in parts, whole": answered(whole(completion([{"type": "text", "text": SAID}])), sees=SAID),
    "no content": answered(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
    "switching protocols": answered(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
    "length that is none": answered(head("200 OK", "Content-Length: abc"), b"{}"),
    "compressed badly": answered(whole(completion(), "200 OK", "Content-Encoding: gzip")),
    "deep": answered(whole(b'{"choices":' + b"[" * 5000 + b"]" * 5000 + b"}")),
    "deep, but not too deep": answered(
        whole(json.dumps(completion())[:-1].encode() + b',"x":' + b"[" * 300 + b"]" * 300 + b"}"), sees=SAID
    ),
    "byte order mark, whole": answered(whole(b"\xef\xbb\xbf" + json.dumps(completion()).encode()), sees=SAID),
    "half a character, whole": answered(whole(completion("half \ud83d")), sees="half �"),
    "numbers that are none, whole": answered(whole({**completion(), "score": float("nan")}), sees=SAID),
    "blank lines first": answered(
        b"HTTP/1.1 200 OK\r\n\r\n\n", 0.1, b"\n", json.dumps(completion()).encode(), sees=SAID
    ),
    "a number too large for one, whole": answered(
        whole(json.dumps(completion()).replace('"created": 1', '"created": 1e999').encode()), sees=SAID
    ),
    "usage that is a list, whole": answered(whole({**completion(), "usage": [1]}), sees=SAID),
    "processing": answered(b"HTTP/1.1 102 Processing\r\n\r\n" * 2 + whole(completion()), sees=SAID),
    "tool calls that are none": answered(
        whole(completion(None, message={"content": SAID, "tool_calls": [None]})), sees=SAID
    ),
}
ALONE = ("cut, then well", "cut twice", "cut, with another", "cut every time")
CUT = (sse(), ROLE, *PIECES[:2], 0.02, Then.RESET)


@dataclass
class Stage:
    """A gateway before a provider of raw bytes and a good one."""

    origin: str
    raw: RawProvider
    session: aiohttp.ClientSession
    gateway: GatewayProcess

    async def ask(self, route: str, *, stream: bool, mode: str = "error", **body: Any) -> Reply:
        reply = Reply()
        sent = {"model": route, "messages": [{"role": "user", "content": "hello"}], "stream": stream, **body}
        headers = {"x-router-stream-recovery": mode} if stream else {}
        async with self.session.post(f"{self.origin}/v1/chat/completions", json=sent, headers=headers) as answer:
            reply.status, reply.headers = answer.status, answer.headers
            reply.body = await answer.read()
        return reply


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as stack:
        raw = await stack.enter_async_context(RawProvider())
        other = await stack.enter_async_context(FakeProvider("openai"))
        other.answer(TEXT)
        names = [f"case-{number}" for number in range(len(CASES) + len(ALONE))]
        for name, odd in zip(names, CASES.values(), strict=False):
            raw.play(name, *odd.steps)
        folder = tmp_path_factory.mktemp("odd")
        gateway = GatewayProcess(folder / "config", models(names, raw.port, other.base_url), POLICY)
        await asyncio.to_thread(gateway.__enter__)
        stack.callback(gateway.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)))
        yield Stage(gateway.origin, raw, session, gateway)


def models(names: list[str], port: int, other: str) -> dict[str, Any]:
    """Return a provider and a deployment of its own for each case, so that no circuit is shared."""
    providers: dict[str, Any] = {"other": {"wire": "openai", "base_url": other}}
    deployments = [("other/spare", "other", "spare")]
    routes: dict[str, Any] = {}
    for name in names:
        providers[f"p-{name}"] = {"wire": "openai", "base_url": f"http://127.0.0.1:{port}/v1"}
        deployments.append((f"p-{name}/{name}", f"p-{name}", name))
        routes[name] = {"order": "listed", "deployments": [f"p-{name}/{name}", "other/spare"]}
        routes[f"{name}-alone"] = {"order": "listed", "deployments": [f"p-{name}/{name}"]}
    rows = [
        {
            "id": name,
            "provider": provider,
            "model": model,
            "context_window": 8192,
            "price_usd_per_mtok": {"input": 1.0, "output": 2.0},
            "capabilities": ["tools", "n"],
        }
        for name, provider, model in deployments
    ]
    return {"providers": providers, "deployments": rows, "routes": routes}


@pytest.mark.parametrize(
    ("what", "mode"), [(what, mode) for what, odd in CASES.items() for mode in (odd.modes if odd.stream else ALL[:1])]
)
async def test_odd_bytes(stage: Stage, what: str, mode: str):
    odd = CASES[what]
    reply = await stage.ask(f"case-{list(CASES).index(what)}", stream=odd.stream, mode=mode, **odd.body)
    assert reply.status == 200, reply.body
    text = reply.text.encode("utf-16", "surrogatepass").decode("utf-16")
    if odd.error:
        assert (reply.text.startswith(odd.sees), reply.finish, reply.done) == (True, "error", False), reply.body
        assert reply.error["code"].startswith("provider_")
    elif odd.sees == OTHER:
        assert (text, reply.finish) == (TEXT, "stop"), reply.body
    else:
        assert (text, reply.finish) == (odd.sees, odd.finish), reply.body
        assert reply.done is odd.stream
        if odd.stream:
            assert all(isinstance(choice["delta"], dict) for each in reply.chunks for choice in each["choices"])


async def test_a_held_answer_that_broke_is_asked_for_once_more_where_nobody_else_is_left(stage: Stage):
    name = f"case-{len(CASES)}"
    stage.raw.play(name, *CUT)
    stage.raw.play(name, sse(), GOOD)
    reply = await stage.ask(f"{name}-alone", stream=True, mode="buffer")
    assert (reply.status, reply.text, reply.done) == (200, SAID, True)
    assert len(stage.raw.calls(name)) == 2


async def test_a_held_answer_that_broke_is_somebody_else_s_at_once(stage: Stage):
    name = f"case-{len(CASES) + 2}"
    stage.raw.play(name, *CUT)
    reply = await stage.ask(name, stream=True, mode="buffer")
    assert (reply.status, reply.text) == (200, TEXT)
    assert reply.headers["x-router-fallback-reason"] in {"stream_broken", "stream_truncated"}
    assert len(stage.raw.calls(name)) == 1


async def test_a_held_answer_that_breaks_every_time_is_an_error_that_says_so(stage: Stage):
    name = f"case-{len(CASES) + 1}"
    stage.raw.play(name, *CUT)
    reply = await stage.ask(f"{name}-alone", stream=True, mode="buffer")
    assert reply.status == 502
    assert reply.error["code"] == "provider_protocol"
    assert [attempt["deployment"] for attempt in reply.error["attempts"]] == [f"p-{name}/{name}"] * 2


async def test_a_stream_that_breaks_every_time_is_not_continued_for_ever(stage: Stage):
    name = f"case-{len(CASES) + 3}"
    stage.raw.play(name, *CUT)
    reply = await stage.ask(f"{name}-alone", stream=True, mode="continue")
    assert (reply.status, reply.text, reply.finish, reply.done) == (200, "one two ", "error", False)
    assert len(stage.raw.calls(name)) == 4, "as many as retry.max_attempts"


async def test_nothing_of_all_this_was_a_fault_of_the_gateway(stage: Stage):
    log = stage.gateway.log.read_text()
    assert "Traceback" not in log
    assert "never retrieved" not in log
