"""What a client sees of every fault a provider can have: with another deployment behind it, and without."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tests.fakes.edge import until
from tests.fakes.gateway import GatewayProcess
from tests.fakes.provider import FakeProvider
from tests.fakes.sockets import dead_port, tls_bad_cert
from tests.fakes.stage import POLICY, TEXT, Case, Reply, models

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WIRES = ("openai", "anthropic", "gemini")
OTHER = 0
"""Stands for: 200, answered by the other deployment."""


@dataclass(frozen=True)
class Row:
    """A fault and what may come of it: the statuses allowed with a fallback (``OTHER``: its answer) and without one.

    ``calls`` is the most calls the primary may see from one request; a ``silent`` one is not waited for long.
    """

    what: str
    fault: dict[str, Any]
    fallback: set[int]
    alone: set[int]
    calls: int = 2
    streams: tuple[bool, ...] = (False, True)
    wires: tuple[str, ...] = WIRES
    base: str = ""
    silent: bool = False


ROWS = [
    Row("connect refused", {}, {OTHER}, {502, 503}, wires=("openai",), base="dead"),
    Row("DNS failure", {}, {OTHER}, {502, 503}, wires=("openai",), base="nowhere"),
    Row("bad certificate", {}, {OTHER}, {502, 503}, wires=("openai",), base="tls"),
    Row("our key is bad", {"kind": "auth"}, {OTHER}, {502}, calls=1),
    Row("no permission", {"kind": "permission"}, {OTHER}, {502, 403}, calls=1),
    Row("no money", {"kind": "billing"}, {OTHER}, {502}, calls=1),
    Row("unknown model", {"kind": "model_not_found"}, {OTHER}, {404}, calls=1),
    Row("bad request", {"kind": "bad_request"}, {400}, {400}, calls=1),
    Row("408", {"kind": "request_timeout"}, {OTHER}, {408, 504}, calls=2),
    Row("409", {"kind": "conflict"}, {OTHER, 409}, {409}, calls=1),
    Row("413", {"kind": "too_large"}, {413, OTHER}, {413}, calls=1),
    Row("422", {"kind": "unprocessable"}, {422}, {422}, calls=1),
    Row("429, an hour", {"kind": "rate_limit", "retry_after": 3600}, {OTHER}, {429}, calls=1),
    Row("429, no word when", {"kind": "rate_limit"}, {OTHER}, {429}, calls=4),
    Row("quota used up", {"kind": "insufficient_quota"}, {OTHER}, {429}, calls=1, wires=("openai",)),
    Row("500 always", {"kind": "server_error"}, {OTHER}, {500, 502}, calls=3),
    Row("502 in HTML", {"kind": "html"}, {OTHER}, {502}, calls=1),
    Row("504 in HTML", {"kind": "html", "status": 504}, {OTHER}, {502, 504}, calls=1),
    Row("503, in a while", {"kind": "unavailable", "retry_after": 30}, {OTHER}, {502, 503}, calls=1),
    Row("529", {"kind": "overloaded"}, {OTHER}, {503}, calls=2),
    Row("silence", {"kind": "hang"}, {OTHER}, {504}, calls=1, silent=True),
    Row("headers, then silence", {"kind": "headers_then_nothing"}, {OTHER}, {504}, calls=1, silent=True),
    Row("role, then silence", {"kind": "role_then_silence"}, {OTHER}, {504}, calls=1, streams=(True,), silent=True),
    Row(
        "keep-alives for ever",
        {"kind": "keepalive_forever", "interval_s": 0.1},
        {OTHER},
        {504},
        calls=1,
        streams=(True,),
        silent=True,
    ),
    # once more where the first call had taken a kept connection: it might have died before
    Row("reset before headers", {"kind": "reset"}, {OTHER}, {502, 503}, calls=3),
    Row("closed before headers", {"kind": "close"}, {OTHER}, {502, 503}, calls=3),
    Row("error event first", {"kind": "error_event_first", "status": 503}, {OTHER}, {502, 503}, streams=(True,)),
    Row("truncated body", {"kind": "truncated_json"}, {OTHER}, {502}, streams=(False,)),
    Row("body shorter than said", {"kind": "short_body"}, {OTHER}, {502}, streams=(False,)),
    Row("cut before any content", {"kind": "cut_after", "after": 0}, {OTHER}, {502}),
    Row("ends before any content", {"kind": "clean_end_after", "after": 0}, {OTHER}, {502}, streams=(True,)),
    Row("odd content type", {"kind": "wrong_content_type"}, {200, OTHER}, {200, 502}),
    Row("HTML with 200", {"kind": "html", "status": 200}, {OTHER}, {502}),
    Row("error object with 200", {"kind": "error_object_200"}, {OTHER}, {500, 502}),
    Row("empty body", {"kind": "empty_body"}, {OTHER}, {502}),
    Row("no choices", {"kind": "empty_choices"}, {200, OTHER}, {200, 502}),
    Row("event over the limit", {"kind": "huge_event", "size": 2 << 20}, {200, OTHER}, {200, 502}, streams=(True,)),
    Row("body over the limit", {"kind": "huge_event", "size": 6 << 20}, {200, OTHER}, {200, 502}, streams=(False,)),
    Row("gzip bomb", {"kind": "gzip_bomb", "size": 64 << 20}, {OTHER}, {502}),
    Row("slow drip", {"kind": "slow_drip", "interval_s": 0.3}, {OTHER}, {504}, calls=1, silent=True),
    Row("redirect", {"kind": "redirect"}, {OTHER}, {502}, calls=1),
    Row("not HTTP", {"kind": "not_http"}, {OTHER}, {502, 503}),
    Row("context too long", {"kind": "context_length_exceeded"}, {400}, {400}, calls=1),
    Row("content filter", {"kind": "content_filter"}, {400}, {400}, calls=1),
    Row("policy violation", {"kind": "content_policy_violation"}, {400}, {400}, calls=1),
    Row("filtered answer", {"kind": "finish_content_filter", "after": 3}, {200}, {200}, calls=1),
    Row("no usage", {"kind": "no_usage"}, {200}, {200}, calls=1),
    Row("JSON for a stream", {"kind": "json_to_stream"}, {200, OTHER}, {200, 502}, streams=(True,)),
    Row("headers of its own", {"kind": "leak_headers"}, {200}, {200}, calls=1),
]

CASES = {
    f"m{number}-{wire}-{'stream' if stream else 'whole'}-{'alone' if alone else 'two'}": (row, wire, stream, alone)
    for number, row in enumerate(ROWS)
    for wire in row.wires
    for stream in row.streams
    for alone in (False, True)
}
STREAM_BREAKS = ("hang_after", "reset_after", "cut_after", "clean_end_after", "error_event_after")
SPECIAL = [
    "once",
    "soon",
    "wait",
    "done",
    "utf8-stream",
    "utf8-whole",
    "codes",
    "filter",
    "canary",
    "down",
    "quiet",
    "key",
    *(f"skip-{wire}" for wire in WIRES),
    *(f"{kind}-{wire}" for kind in STREAM_BREAKS for wire in WIRES),
    *(f"leave-{moment}" for moment in ("silence", "headers", "stream", "whole")),
]
SILENT = {"first_content_s": 0.5, "idle_s": 0.5, "total_s": 1.5}
TIMEOUTS = {name: SILENT for name, (row, _, _, _) in CASES.items() if row.silent}
TIMEOUTS |= {f"hang_after-{wire}": {"idle_s": 1.5} for wire in WIRES}


@dataclass
class Stage:
    """The gateway and the providers of this file."""

    origin: str
    providers: Mapping[str, FakeProvider]
    fallback: FakeProvider
    session: aiohttp.ClientSession
    gateway: GatewayProcess
    wires: dict[str, str] = field(default_factory=dict)

    def case(self, name: str) -> Case:
        wire = self.wires.get(name, "openai")
        return Case(name, self.providers[wire], self.fallback, self.origin, self.session)


def wire_of(name: str) -> str:
    return next((wire for wire in WIRES if wire in name), "openai")


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as stack:
        providers = {wire: await stack.enter_async_context(FakeProvider(wire)) for wire in WIRES}
        fallback = await stack.enter_async_context(FakeProvider("openai"))
        tls_port = await stack.enter_async_context(tls_bad_cert())
        bases = {
            "dead": f"http://127.0.0.1:{dead_port()}/v1",
            "nowhere": "http://no-such-host.invalid/v1",
            "tls": f"https://127.0.0.1:{tls_port}/v1",
        }
        primaries = [(name, bases.get(row.base, providers[wire])) for name, (row, wire, _, _) in CASES.items()]
        primaries += [(name, providers[wire_of(name)]) for name in SPECIAL]
        folder = tmp_path_factory.mktemp("matrix")
        gateway = GatewayProcess(folder / "config", models(primaries, fallback, TIMEOUTS), POLICY)
        await asyncio.to_thread(gateway.__enter__)
        stack.callback(gateway.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)))
        wires = {name: wire for name, (_, wire, _, _) in CASES.items()} | {name: wire_of(name) for name in SPECIAL}
        yield Stage(gateway.origin, providers, fallback, session, gateway, wires)


@pytest.fixture
def at(stage: Stage) -> Callable[[str], Case]:
    for provider in (*stage.providers.values(), stage.fallback):
        provider.reset()
        provider.answer(TEXT)
    return stage.case


def assert_is_an_error(reply: Reply, status: set[int]) -> None:
    assert reply.status in status, (reply.status, reply.body[:500])
    error = reply.json["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    assert "sk-not-a-real-key" not in reply.body.decode()
    assert "Traceback" not in reply.body.decode()


@pytest.mark.parametrize("name", CASES)
async def test_the_matrix(at: Callable[[str], Case], name: str):
    row, _, stream, alone = CASES[name]
    case = at(name)
    if row.fault:
        case.fail(**row.fault)
    reply = await case.ask(stream=stream, alone=alone)
    allowed = row.alone if alone else row.fallback
    reply.body.decode()  # whatever the provider sent, this is UTF-8
    if case.at_fallback:
        assert OTHER in allowed, (row.what, reply.status, reply.body[:300])
        assert (reply.status, reply.text, reply.finish) == (200, TEXT, "stop"), reply.body[:300]
        assert len(case.at_fallback) == 1
    elif 200 in allowed and reply.status == 200:
        assert reply.finish is not None or reply.error or row.what == "no choices"
    else:
        assert_is_an_error(reply, allowed)
    if stream and reply.status == 200:
        assert reply.done is not bool(reply.error)
    if not row.base:
        assert 1 <= len(case.at_primary) <= row.calls, len(case.at_primary)


async def test_one_bad_moment_is_mended_on_the_spot(at: Callable[[str], Case]):
    case = at("once")
    case.fail("server_error", times=1)
    reply = await case.ask(stream=True)
    assert (reply.status, reply.text, len(case.at_primary), len(case.at_fallback)) == (200, TEXT, 2, 0)


async def test_a_short_rate_limit_is_waited_for_where_nobody_else_stands_ready(at: Callable[[str], Case]):
    case = at("soon")
    case.fail("rate_limit", times=1, retry_after=1)
    reply = await case.ask(stream=False, alone=True)
    if reply.status == 200:
        first, second = case.at_primary
        assert second.started_at - first.started_at >= 0.9
    else:
        assert_is_an_error(reply, {429})
        assert 1 <= int(reply.headers["Retry-After"]) <= 2


async def test_a_long_rate_limit_is_told_and_the_next_request_asks_nobody(at: Callable[[str], Case]):
    case = at("wait")
    case.fail("rate_limit", retry_after=3600)
    first = await case.ask(stream=False, alone=True)
    assert_is_an_error(first, {429})
    assert 3590 <= int(first.headers["Retry-After"]) <= 3600
    second = await case.ask(stream=False, alone=True)
    assert_is_an_error(second, {429})
    assert len(case.at_primary) == 1


async def test_a_missing_end_mark_is_added(at: Callable[[str], Case]):
    case = at("done")
    case.fail("no_done")
    reply = await case.ask(stream=True, stream_options={"include_usage": True})
    assert (reply.text, reply.finish, reply.done, reply.error) == (TEXT, "stop", True, {})
    assert reply.chunks[-1]["usage"]["completion_tokens"] == len(TEXT.split())
    assert not case.at_fallback


@pytest.mark.parametrize("stream", [True, False])
async def test_bytes_that_are_no_text_never_reach_the_client(at: Callable[[str], Case], stream: bool):
    case = at("utf8-stream" if stream else "utf8-whole")
    case.fail("invalid_utf8", after=3)
    reply = await case.ask(stream=stream)
    reply.body.decode()
    assert reply.status in {200, 502}


@pytest.mark.parametrize("name", [f"{kind}-{wire}" for kind in STREAM_BREAKS for wire in WIRES])
async def test_a_stream_that_breaks_is_never_a_success(at: Callable[[str], Case], name: str):
    kind = name.rpartition("-")[0]
    case = at(name)
    case.fail(kind, after=4)
    reply = await case.ask(stream=True)
    assert reply.status == 200
    assert reply.text == "one two three four"
    assert reply.error
    assert not reply.done
    assert reply.finish == "error"
    assert (len(case.at_primary), len(case.at_fallback)) == (1, 0)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_bad_event_is_skipped_or_told_but_never_passed_on(at: Callable[[str], Case], wire: str):
    case = at(f"skip-{wire}")
    case.fail("malformed_event", after=4, insert=True)
    reply = await case.ask(stream=True)
    assert reply.text == TEXT or (reply.error and TEXT.startswith(reply.text))


async def test_the_providers_words_and_codes_reach_the_client(at: Callable[[str], Case]):
    case = at("codes")
    case.fail("context_length_exceeded", times=1)
    error = (await case.ask(stream=False)).error
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert "maximum context length is 8192 tokens" in error["message"]
    case.fail("content_filter", times=1)
    error = (await case.ask(stream=True)).error
    assert error["code"] == "content_filter"
    assert "content management policy" in error["message"]


async def test_a_filtered_answer_is_passed_on_as_it_is(at: Callable[[str], Case]):
    case = at("filter")
    case.fail("finish_content_filter", after=3)
    reply = await case.ask(stream=True)
    assert (reply.text, reply.finish, len(case.at_fallback)) == ("one two three", "content_filter", 0)


async def test_a_redirect_is_not_followed(at: Callable[[str], Case]):
    case = at("canary")
    async with FakeProvider("openai") as canary:
        case.fail("redirect", status=307, location=canary.base_url + "/chat/completions")
        reply = await case.ask(stream=False, alone=True)
        assert_is_an_error(reply, {502})
        assert canary.requests == []


async def test_with_both_down_the_calls_are_few(at: Callable[[str], Case]):
    case = at("down")
    case.fail("unavailable")
    case.fail_fallback("unavailable")
    for _ in range(8):
        reply = await case.ask(stream=False)
        assert_is_an_error(reply, {502, 503})
        assert len(case.at_primary) + len(case.at_fallback) <= 6 * 8
    before = len(case.at_primary) + len(case.at_fallback)
    reply = await case.ask(stream=False)
    assert_is_an_error(reply, {502, 503})
    assert int(reply.headers["Retry-After"]) >= 1
    assert len(case.at_primary) + len(case.at_fallback) <= before + 1


async def test_the_providers_cookies_and_cross_origin_headers_stay_behind(at: Callable[[str], Case]):
    case = at("quiet")
    case.fail("leak_headers")
    for stream in (False, True):
        reply = await case.ask(stream=stream)
        assert reply.text == TEXT
        assert "upstream-secret" not in str(reply.headers)
        assert not {name.lower() for name in reply.headers} & {"set-cookie", "access-control-allow-origin"}


async def test_a_bad_key_of_ours_is_not_the_clients_fault_and_stays_secret(at: Callable[[str], Case]):
    case = at("key")
    case.fail("auth", message="Incorrect API key provided: sk-not-a-real-key-key. Find it in your account.")
    reply = await case.ask(stream=False, alone=True)
    assert_is_an_error(reply, {502})
    assert case.at_primary[0].headers["authorization"] == "Bearer sk-not-a-real-key-key"


@pytest.mark.parametrize("moment", ["silence", "headers", "stream", "whole"])
async def test_when_the_client_leaves_the_upstream_is_closed_and_nobody_else_is_asked(
    at: Callable[[str], Case], moment: str
):
    case = at(f"leave-{moment}")
    if moment in {"silence", "whole"}:
        case.fail("hang")
    elif moment == "headers":
        case.fail("headers_then_nothing")
    else:
        case.primary.answer(TEXT * 200, delay_s=0.05)
    body = {"model": case.name, "messages": [{"role": "user", "content": "x"}], "stream": moment != "whole"}

    async def ask() -> None:
        async with case.session.post(f"{case.origin}/v1/chat/completions", json=body) as answer:
            async for _ in answer.content.iter_any():
                pass

    def answering() -> bool:
        return bool(case.at_primary) and (moment != "stream" or case.at_primary[0].first_byte_at is not None)

    asking = asyncio.create_task(ask())
    await until(answering)
    await asyncio.sleep(0.2)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    (record,) = case.at_primary
    # Within less than the policy's time-outs: closed by the client's leaving, and by nothing else.
    await until(lambda: record.closed_at is not None, within_s=20.0)
    assert record.client_closed
    await asyncio.sleep(0.2)
    assert not case.at_fallback
