"""A refusal whose words cannot be read is still that refusal; a stream that begins with half a word is still one."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.forward import relay
from gateway.forward.wire_gemini import _refuse_blocked
from router_core.errors import AttemptFailed
from router_core.outcome import FailureKind as K
from tests.unit.gateway.forward.calls import answer, call_to, events, failure, forwarder, text_of
from tests.unit.gateway.forward.http1.scripted import OK, served

pytestmark = pytest.mark.anyio

BODIES: dict[str, list[Any]] = {
    "cut": [b'Content-Length: 500\r\n\r\n{"error"', None],
    "silent": [b"Content-Length: 500\r\n\r\n", 60.0],
    "silent in the middle": [b'Content-Length: 500\r\n\r\n{"error"', 60.0],
    "without an end": [b"\r\nslow down", 60.0],
    "not gzip": [b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"],
    "brotli": [b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\n\x0b\x02\x80"],
    "broken chunk": [b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"],
}


@pytest.mark.parametrize(
    ("status", "kind"), [(401, K.AUTH), (429, K.RATE_LIMITED), (503, K.SERVER), (413, K.INVALID_REQUEST)]
)
@pytest.mark.parametrize("what", BODIES)
async def test_a_status_stands_whether_its_words_can_be_read_or_not(
    status: int, kind: K, what: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(relay, "_ERROR_WITHIN_S", 0.1)
    first, *rest = BODIES[what]
    reply = [b"HTTP/1.1 %d X\r\nRetry-After: 9\r\n" % status + first, *rest]
    async with served(reply) as (made, _), forwarder() as one:
        found, _ = await failure(one, call_to(f"http://127.0.0.1:{made.port}/v1"))
    assert (found.kind, found.status, found.retry_after_s) == (kind, status, 9.0)


GOOD = (
    b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


@pytest.mark.parametrize("cuts", [(1,), (3,), (1, 2, 4), (0,)])
@pytest.mark.parametrize("before", [b"", b"\n", b"\xef\xbb\xbf", b" \r\n: ping\n\n", b"event: x\n"])
async def test_a_stream_is_known_by_its_first_word_however_that_comes(cuts: tuple[int, ...], before: bytes):
    data, at, steps = before + GOOD, 0, []
    for cut in (*cuts, len(before + GOOD)):
        steps += [data[at:cut], 0.02]
        at = cut
    reply = [OK + b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(data), *steps]
    async with served(reply) as (made, _), forwarder() as one:
        assert text_of(await events(one, call_to(f"http://127.0.0.1:{made.port}/v1", stream=True))) == "hi"


async def test_what_ends_before_it_was_known_for_a_stream_is_none():
    async with (
        served([OK + b"Content-Type: text/plain\r\nContent-Length: 3\r\n\r\ndat"]) as (made, _),
        forwarder() as one,
    ):
        found, _ = await failure(one, call_to(f"http://127.0.0.1:{made.port}/v1", stream=True))
    assert found.kind is K.PROTOCOL


@pytest.mark.parametrize("stream", [False, True])
async def test_a_whole_answer_of_parts_is_put_into_words(stream: bool):
    body = b'{"choices":[{"index":0,"message":{"content":[{"type":"text","text":"one "},{"text":"two"}]}}]}'
    async with served([OK + b"Content-Length: %d\r\n\r\n" % len(body) + body]) as (made, _), forwarder() as one:
        call = call_to(f"http://127.0.0.1:{made.port}/v1", stream=stream)
        if stream:
            assert text_of(await events(one, call)) == "one two"
        else:
            found = await answer(one, call)
            assert found.body["choices"][0]["message"]["content"] == "one two"
            assert found.raw is None


def test_the_reason_for_a_block_names_no_address():
    with pytest.raises(AttemptFailed) as caught:
        _refuse_blocked(
            {"promptFeedback": {"blockReason": f"{'x' * 80} see https://10.0.0.1:8000/internal/path/of/it"}}
        )
    assert caught.value.failure.kind is K.CONTENT_FILTER
    assert "x see [address]" in caught.value.failure.message
