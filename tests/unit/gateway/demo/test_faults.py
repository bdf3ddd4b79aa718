"""Every fault, on every wire, seen by a plain HTTP client."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from gateway.demo.faults import CONDITIONAL, KINDS, FaultRule
from tests.fakes.provider import FakeProvider

pytestmark = pytest.mark.anyio

WIRES = ("openai", "anthropic", "gemini")
TEXT = "one two three four five six seven eight"


@dataclass
class Seen:
    """What came over the wire: ``broken`` names the exception that ended it, if one did."""

    status: int = 0
    headers: Any = None
    body: bytes = b""
    broken: str = ""

    @property
    def events(self) -> list[bytes]:
        return [part for part in self.body.split(b"\n\n") if part]

    @property
    def words(self) -> str:
        """The text of all events that can be read, whatever the wire."""
        text = ""
        for event in self.events:
            line = next((each for each in event.splitlines() if each.startswith(b"data: {")), None)
            if line is None:
                continue
            try:
                text += _text(json.loads(line[6:]))
            except ValueError:
                text += "<bad>"
        return text


def _text(row: dict[str, Any]) -> str:
    if "choices" in row:
        return "".join(choice["delta"].get("content") or "" for choice in row["choices"])
    if "candidates" in row:
        return "".join(part["text"] for each in row["candidates"] for part in each.get("content", {}).get("parts", []))
    return str(row.get("delta", {}).get("text", ""))


@pytest.fixture(params=WIRES)
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[FakeProvider]:
    async with FakeProvider(request.param) as fake:
        fake.answer(TEXT)
        yield fake


@pytest.fixture
async def openai_wire() -> AsyncIterator[FakeProvider]:
    async with FakeProvider("openai") as fake:
        fake.answer(TEXT)
        yield fake


def request_for(fake: FakeProvider, *, stream: bool) -> tuple[str, dict[str, Any]]:
    says = [{"role": "user", "content": "hello"}]
    if fake.wire == "openai":
        return fake.base_url + "/chat/completions", {"model": "m", "messages": says, "stream": stream}
    if fake.wire == "anthropic":
        return fake.base_url + "/v1/messages", {"model": "m", "messages": says, "stream": stream, "max_tokens": 99}
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"{fake.base_url}/models/m:{verb}", {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


async def call(fake: FakeProvider, *, stream: bool = True, limit_s: float = 60.0, **body: Any) -> Seen:
    url, base = request_for(fake, stream=stream)
    seen = Seen()
    headers = {"anthropic-version": "2023-06-01"}
    try:
        async with (
            asyncio.timeout(limit_s),
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(url, json=base | body, headers=headers, allow_redirects=False) as response,
        ):
            seen.status, seen.headers = response.status, response.headers
            async for part in response.content.iter_any():
                seen.body += part
    except (TimeoutError, aiohttp.ClientError) as error:
        seen.broken = type(error).__name__
    return seen


async def test_without_a_fault_all_is_well(provider: FakeProvider):
    seen = await call(provider)
    assert (seen.status, seen.words, seen.broken) == (200, TEXT, "")
    whole = await call(provider, stream=False)
    assert (whole.status, whole.broken) == (200, "")
    assert TEXT in whole.body.decode()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["reset", "close", "not_http"])
async def test_nothing_usable_comes(provider: FakeProvider, kind: str, stream: bool):
    provider.fail(kind)
    seen = await call(provider, stream=stream)
    assert seen.status == 0
    assert seen.broken in {"ClientOSError", "ServerDisconnectedError", "ClientResponseError"}
    assert (await call(provider, stream=stream)).status == 200


async def test_a_reset_is_a_reset_and_no_close(openai_wire: FakeProvider):
    openai_wire.fail("reset")
    reader, writer = await asyncio.open_connection("127.0.0.1", openai_wire.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 46\r\n\r\n")
    writer.write(b'{"model":"m","messages":[{"role":"user"}]}    ')
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 60)
    writer.close()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["hang", "headers_then_nothing"])
async def test_silence_lasts_until_the_client_leaves(provider: FakeProvider, kind: str, stream: bool):
    provider.fail(kind)
    seen = await call(provider, stream=stream, limit_s=0.3 if kind == "hang" else 1.0)
    assert seen.broken == "TimeoutError"
    assert seen.status == (200 if kind == "headers_then_nothing" else 0)
    await closed(provider)
    (record,) = provider.requests
    assert record.client_closed
    assert record.fault == kind


async def closed(fake: FakeProvider) -> None:
    async with asyncio.timeout(60):
        while any(record.closed_at is None for record in fake.requests):  # noqa: ASYNC110 - it is told to nobody
            await asyncio.sleep(0.005)


async def test_a_hang_may_end_with_the_answer(provider: FakeProvider):
    provider.fail("hang", seconds=0.05, then_answer=True)
    assert (await call(provider)).words == TEXT


@pytest.mark.parametrize("stream", [True, False])
async def test_any_status_with_any_body_and_headers(provider: FakeProvider, stream: bool):
    provider.fail("status", status=418, body="teapot", headers={"X-Why": "tea"})
    seen = await call(provider, stream=stream)
    assert (seen.status, seen.body, seen.headers["X-Why"]) == (418, b"teapot", "tea")
    provider.fail("status", status=500, message="our words", retry_after=7)
    seen = await call(provider, stream=stream)
    assert (seen.status, seen.headers["Retry-After"]) == (500, "7")
    assert b"our words" in seen.body


async def test_named_refusals_on_openais_wire(openai_wire: FakeProvider):
    for kind, status, code in (
        ("rate_limit", 429, "rate_limit_exceeded"),
        ("insufficient_quota", 429, "insufficient_quota"),
        ("context_length_exceeded", 400, "context_length_exceeded"),
        ("content_filter", 400, "content_filter"),
        ("content_policy_violation", 400, "content_policy_violation"),
        ("model_not_found", 404, "model_not_found"),
        ("auth", 401, "invalid_api_key"),
        ("billing", 402, "billing_error"),
        ("too_large", 413, None),
        ("unprocessable", 422, None),
        ("conflict", 409, None),
        ("request_timeout", 408, None),
        ("overloaded", 529, None),
        ("unavailable", 503, None),
    ):
        openai_wire.fail(kind)
        seen = await call(openai_wire)
        assert (seen.status, json.loads(seen.body)["error"]["code"]) == (status, code), kind


@pytest.mark.parametrize(("options", "status"), [({}, 502), ({"status": 200}, 200), ({"status": 504}, 504)])
async def test_html_comes_instead(provider: FakeProvider, options: dict[str, Any], status: int):
    provider.fail("html", **options)
    seen = await call(provider)
    assert seen.status == status
    assert seen.headers["Content-Type"].startswith("text/html")
    assert seen.body.startswith(b"<!DOCTYPE html>")


async def test_a_redirect_names_another_place(provider: FakeProvider):
    provider.fail("redirect", location="http://127.0.0.1:1/x")
    seen = await call(provider)
    assert (seen.status, seen.headers["Location"]) == (302, "http://127.0.0.1:1/x")


async def test_an_error_object_with_200_and_an_empty_body(provider: FakeProvider):
    provider.fail("error_object_200")
    seen = await call(provider, stream=False)
    assert seen.status == 200
    assert "error" in json.loads(seen.body)
    provider.fail("empty_body")
    seen = await call(provider, stream=False)
    assert (seen.status, seen.body) == (200, b"")


async def test_a_slow_first_token_comes_after_the_headers(provider: FakeProvider):
    provider.fail("slow_first_token", seconds=1.0)
    url, body = request_for(provider, stream=True)
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers={"anthropic-version": "1"}) as answer,
    ):
        headers_at = loop.time() - started
        assert TEXT.split(maxsplit=1)[0].encode() in await answer.read()
        assert loop.time() - started >= 1.0 > headers_at


@pytest.mark.parametrize("kind", ["hang_after", "reset_after", "cut_after", "clean_end_after", "error_event_after"])
async def test_a_stream_breaks_after_three_words(provider: FakeProvider, kind: str):
    provider.fail(kind, after=3, seconds=0.05 if kind == "hang_after" else None)
    seen = await call(provider)
    assert seen.status == 200
    assert seen.words == "one two three"
    whole = kind in {"clean_end_after", "error_event_after"}
    assert bool(seen.broken) is not whole
    assert (b"error" in seen.events[-1]) is (kind == "error_event_after")
    assert b"[DONE]" not in seen.body
    assert b"message_stop" not in seen.body
    assert b"finishReason" not in seen.body


@pytest.mark.parametrize("kind", ["hang_after", "reset_after", "cut_after", "short_body"])
async def test_a_whole_body_breaks_in_the_middle(provider: FakeProvider, kind: str):
    provider.fail(kind, seconds=0.05)
    seen = await call(provider, stream=False)
    assert seen.status == 200
    assert seen.broken


async def test_a_truncated_body_is_delivered_without_a_complaint_of_http(provider: FakeProvider):
    provider.fail("truncated_json")
    seen = await call(provider, stream=False)
    assert (seen.status, seen.broken) == (200, "")
    with pytest.raises(ValueError):
        json.loads(seen.body)


async def test_a_missing_end_mark():
    for wire, mark in (("openai", b"[DONE]"), ("anthropic", b"message_stop")):
        async with FakeProvider(wire) as fake:
            fake.answer(TEXT)
            assert mark in (await call(fake)).body
            fake.fail("no_done")
            seen = await call(fake)
            assert mark not in seen.body
            assert seen.words == TEXT
            assert b'"stop' in seen.body


async def test_an_error_event_comes_first(provider: FakeProvider):
    provider.fail("error_event_first", status=503)
    seen = await call(provider)
    assert seen.status == 200
    assert len(seen.events) == 1
    assert b"error" in seen.events[0]


@pytest.mark.parametrize("insert", [False, True])
async def test_one_malformed_event(provider: FakeProvider, insert: bool):
    provider.fail("malformed_event", after=3, insert=insert)
    seen = await call(provider)
    expected = "one two three<bad> four five six seven eight" if insert else "one two three<bad> five six seven eight"
    assert seen.words == expected
    assert seen.broken == ""


async def test_odd_types_and_shapes(provider: FakeProvider):
    provider.fail("wrong_content_type")
    seen = await call(provider, stream=False)
    assert seen.headers["Content-Type"].startswith("text/plain")
    assert json.loads(seen.body)
    provider.fail("json_to_stream")
    seen = await call(provider)
    assert seen.headers["Content-Type"] == "application/json"
    assert json.loads(seen.body)
    provider.fail("empty_choices")
    body = json.loads((await call(provider, stream=False)).body)
    assert [body[key] for key in ("choices", "content", "candidates") if key in body] == [[]]
    provider.fail("empty_choices")
    assert (await call(provider)).words == ""


async def test_usage_can_be_left_out(provider: FakeProvider):
    assert b"sage" in (await call(provider, stream=False)).body
    for stream in (True, False):
        provider.fail("no_usage")
        seen = await call(provider, stream=stream)
        assert b"usage" not in seen.body.replace(b'"usage":null', b"")


async def test_headers_that_must_not_be_passed_on(provider: FakeProvider):
    provider.fail("leak_headers")
    seen = await call(provider)
    assert "upstream-secret" in seen.headers["Set-Cookie"]
    assert seen.headers["Access-Control-Allow-Origin"] == "https://evil.example"
    assert seen.words == TEXT


async def test_a_huge_event_and_bytes_that_are_no_text(provider: FakeProvider):
    provider.fail("huge_event", size=1_000_000)
    assert len((await call(provider)).body) > 1_000_000
    for stream in (True, False):
        provider.fail("invalid_utf8")
        seen = await call(provider, stream=stream)
        assert seen.broken == ""
        with pytest.raises(UnicodeDecodeError):
            seen.body.decode()


async def test_a_gzip_bomb_unpacks_to_what_was_asked(provider: FakeProvider):
    provider.fail("gzip_bomb", size=32 << 20)
    seen = await call(provider, stream=False)
    assert seen.headers["Content-Encoding"] == "gzip"
    assert len(seen.body) < 200_000
    unpacker = zlib.decompressobj(31)
    unpacked = unpacker.decompress(seen.body)
    assert unpacker.eof
    assert len(unpacked) >= 32 << 20
    assert json.loads(unpacked)


async def test_a_slow_drip_comes_in_small_pieces(provider: FakeProvider):
    provider.fail("slow_drip", interval_s=0.001, step=50)
    assert (await call(provider)).words == TEXT
    provider.fail("slow_drip", interval_s=0.2, step=1)
    assert (await call(provider, limit_s=0.5)).broken == "TimeoutError"


async def test_comments_for_ever_and_a_role_then_silence(provider: FakeProvider):
    provider.fail("keepalive_forever", interval_s=0.01)
    seen = await call(provider, limit_s=1.0)
    assert seen.broken == "TimeoutError"
    assert seen.body.count(b": keep-alive") > 5
    provider.fail("role_then_silence")
    seen = await call(provider, limit_s=1.0)
    assert (seen.broken, seen.words) == ("TimeoutError", "")
    assert bool(seen.body) is (provider.wire != "gemini")


async def test_a_beginning_is_refused_only_where_there_is_one(provider: FakeProvider):
    provider.fail("reject_prefill", times=None)
    assert (await call(provider)).status == 200
    says = [("user", "hello"), ("assistant", "one")]
    if provider.wire == "gemini":
        body: dict[str, Any] = {
            "contents": [{"role": role.replace("assistant", "model"), "parts": [{"text": text}]} for role, text in says]
        }
    else:
        body = {"messages": [{"role": role, "content": text} for role, text in says]}
    seen = await call(provider, **body)
    assert seen.status == 400
    assert b"refill" in seen.body


async def test_a_parameter_is_refused_only_where_it_is_given(openai_wire: FakeProvider):
    openai_wire.fail("reject_param", param="stream_options", times=None)
    assert (await call(openai_wire)).status == 200
    seen = await call(openai_wire, stream_options={"include_usage": True})
    assert seen.status == 400
    error = json.loads(seen.body)["error"]
    assert (error["param"], error["code"]) == ("stream_options", "unknown_parameter")
    assert "stream_options" in error["message"]


async def test_refusals_and_filters_are_answers(openai_wire: FakeProvider):
    openai_wire.fail("refusal", message="No.")
    body = json.loads((await call(openai_wire, stream=False)).body)
    assert body["choices"][0]["message"]["refusal"] == "No."
    openai_wire.fail("finish_content_filter", after=2)
    body = json.loads((await call(openai_wire, stream=False)).body)
    assert (body["choices"][0]["finish_reason"], body["choices"][0]["message"]["content"]) == (
        "content_filter",
        "one two",
    )


async def test_rules_are_used_up_in_order_and_only_by_those_they_are_for(openai_wire: FakeProvider):
    openai_wire.fail("status", times=2, status=500)
    openai_wire.fail("status", times=1, status=503, model="other")
    openai_wire.fail("status", times=1, status=429, stream=False)
    statuses = [(await call(openai_wire)).status for _ in range(3)]
    assert statuses == [500, 500, 200]
    assert (await call(openai_wire, model="other")).status == 503
    assert (await call(openai_wire, stream=False)).status == 429
    assert (await call(openai_wire, stream=False)).status == 200


async def test_chance_is_repeatable_and_about_what_was_asked():
    async def statuses() -> list[int]:
        async with FakeProvider("openai", seed=3) as fake:
            fake.fail("status", times=None, status=500, probability=0.3)
            return [(await call(fake)).status for _ in range(60)]

    first = await statuses()
    assert first == await statuses()
    assert 8 <= first.count(500) <= 30


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "made_up"},
        {"kind": "hang", "made_up": 1},
        {"kind": "hang", "seconds": -1},
        {"kind": "hang", "probability": 2},
        {"kind": "status", "status": 99},
        {"kind": "reject_param"},
        {"kind": "hang", "times": 0},
        {},
    ],
)
def test_bad_rules_are_refused(rule: dict[str, Any]):
    with pytest.raises(ValueError):
        FaultRule.of(rule)


async def test_a_wire_without_an_end_mark_cannot_miss_it():
    async with FakeProvider("gemini") as fake:
        with pytest.raises(ValueError, match="gemini wire cannot express"):
            fake.fail("no_done")


@pytest.mark.parametrize("stream", [True, False])
async def test_after_any_fault_the_next_call_is_well(provider: FakeProvider, stream: bool):
    options: dict[str, Any] = {"seconds": 0.02, "size": 2_000_000, "interval_s": 0.001, "step": 400}
    for kind in sorted(KINDS - ({"no_done"} if provider.wire == "gemini" else set())):
        provider.reset()
        provider.answer(TEXT)
        provider.fail(kind, **options, param="something_nobody_sends")
        await call(provider, stream=stream)
        # Rules for requests that have a certain thing wait for such a request; nothing else may be left over.
        assert provider.requests[0].fault == (None if kind in CONDITIONAL else kind)
        seen = await call(provider, stream=stream)
        assert (kind, seen.status, seen.broken) == (kind, 200, "")
        assert TEXT.rsplit(maxsplit=1)[-1] in seen.body.decode()
        async with asyncio.timeout(60):
            while provider.active:  # noqa: ASYNC110 - it is told to nobody
                await asyncio.sleep(0.005)
