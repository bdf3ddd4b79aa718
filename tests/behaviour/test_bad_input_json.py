"""Bodies that are no request: refused by name, before anybody is called, and the gateway is well afterwards."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest

from tests.fakes.edge import CHAT, HELLO, Edge, assert_refused, post

pytestmark = pytest.mark.anyio

CLOSE = b"Connection: close"
GOOD = json.dumps({"model": "main", "messages": HELLO}).encode()


def with_more(fields: bytes) -> bytes:
    """A good request with more fields, as they are written."""
    return GOOD[:-1] + b", " + fields + b"}"


NO_JSON = {
    "empty": b"",
    "blank": b"   \r\n",
    "words": b"hello",
    "cut": GOOD[:-2],
    "form": b"model=main&messages=hello",
    "trailing comma": GOOD[:-1] + b",}",
    "two documents": GOOD + GOOD,
    "trailing byte": GOOD + b"\x00",
    "single quotes": GOOD.replace(b'"', b"'"),
    "comment": b"/* hi */" + GOOD,
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "invalid UTF-8": GOOD.replace(b"hello", b"h\xff\xfello"),
    "overlong UTF-8": GOOD.replace(b"hello", b"h\xc0\xafllo"),
    "surrogate in UTF-8": GOOD.replace(b"hello", b"h\xed\xa0\x80llo"),
    "lone surrogate": GOOD.replace(b"hello", rb"h\ud800llo"),
    "raw control character": GOOD.replace(b"hello", b"h\x00llo"),
    "bad escape": GOOD.replace(b"hello", rb"h\xllo"),
    "NaN": with_more(b'"temperature": NaN'),
    "NaN deep inside": with_more(b'"metadata": {"a": [1, {"b": NaN}]}'),
    "Infinity": with_more(b'"temperature": Infinity'),
    "-Infinity": with_more(b'"temperature": -Infinity'),
    "infinite by size": with_more(b'"temperature": 1e999'),
    "5,000 digits": with_more(b'"seed": ' + b"9" * 5000),
    "leading zero": with_more(b'"seed": 01'),
    "hexadecimal": with_more(b'"seed": 0x10'),
    "null": b"null",
    "true": b"true",
    "number": b"42",
    "text": b'"hello"',
    "list": b"[" + GOOD + b"]",
    "deep lists": with_more(b'"x": ' + b"[" * 100_000 + b"]" * 100_000),
    "deep objects": with_more(b'"x": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "65 levels": with_more(b'"x": ' + b"[" * 65 + b"]" * 65),
    "open brackets only": b"[" * 200_000,
}


@pytest.mark.parametrize("name", NO_JSON)
async def test_what_is_no_json_object_is_refused(edge: Edge, name: str):
    for path in (CHAT, "/v1/route", "/v1/feedback"):
        assert_refused(await edge.send(NO_JSON[name], path=path), 400, "invalid_json")
    assert edge.calls == []


DUPLICATES = {
    "at the top": with_more(b'"model": "other"'),
    "with space before the colon": with_more(b'"model" : "other"'),
    "hidden by a spaced key": with_more(b'"model": "other", "x" : 1'),
    "hidden by a key that ends with a backslash": with_more(rb'"model":"other", "x\\":1'),
    "spelled with an escape": with_more(rb'"mode\u006c": "other"'),
    "deep inside": with_more(b'"metadata": {"a": [{"b": 1, "b": 2}]}'),
    "in a tool": with_more(
        b'"tools": [{"type": "function", "function": {"name": "f", "name": "g", "parameters": {}}}]'
    ),
    "twice the same": with_more(b'"model": "main"'),
}


@pytest.mark.parametrize("name", DUPLICATES)
async def test_a_repeated_key_is_refused_and_named(edge: Edge, name: str):
    error = assert_refused(await edge.send(DUPLICATES[name]), 400, "invalid_json")
    assert "repeats the key" in error["message"]
    assert edge.calls == []


@pytest.mark.parametrize(
    "text", ['say "a": 1, "a": 2', "ends with a backslash \\", '"model": "model":', "un mot : deux", '\\":', '": "']
)
async def test_text_that_looks_like_keys_is_text(edge: Edge, text: str):
    asked = await edge.chat(messages=[{"role": "user", "content": text}])
    assert asked.status == 200, asked.body
    (call,) = edge.calls
    assert call.body["messages"][0]["content"] == text


async def test_what_is_just_within_the_depth_goes_through(edge: Edge):
    answer = await edge.send(with_more(b'"x": ' + b"[" * 62 + b"]" * 62))
    assert answer.status == 200, answer.body
    assert len(edge.calls) == 1


LIMIT = 2 << 20


async def test_a_body_that_declares_too_much_is_refused_before_it_is_sent(edge: Edge):
    answer = await edge.raw(post(b"", CLOSE, length=LIMIT + 1))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"x-request-id: " in head
    assert json.loads(body)["error"]["code"] == "request_too_large"
    assert edge.calls == []


async def test_a_body_that_grows_too_large_is_refused_without_its_end(edge: Edge):
    async def parts():
        for _ in range(LIMIT // 65536 + 2):
            yield b" " * 65536

    seen = await edge.request("POST", CHAT, {"Content-Type": "application/json"}, data=parts())
    assert_refused(seen, 413, "request_too_large")
    assert edge.calls == []


@pytest.mark.parametrize("length", [b"99999999999999999999999999999999999999", b"18446744073709551615"])
async def test_an_absurd_length_is_refused(edge: Edge, length: bytes):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " + length
    answer = await edge.raw(head + b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 ")), answer[:200]
    assert edge.calls == []


async def test_an_encoded_body_is_refused_and_never_decoded(edge: Edge):
    bomb = gzip.compress(b" " * (64 << 20))
    for encoding in ("gzip", "deflate", "br", "zstd", "gzip, identity", "x-unknown"):
        seen = await edge.request(
            "POST", CHAT, {"Content-Type": "application/json", "Content-Encoding": encoding}, data=bomb
        )
        assert_refused(seen, 415, "unsupported_encoding")
    assert edge.calls == []


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/jsonp",
    ],
)
async def test_only_json_is_read(edge: Edge, kind: str):
    seen = await edge.request("POST", CHAT, {"Content-Type": kind}, data=GOOD)
    assert_refused(seen, 415, "unsupported_media_type")
    assert edge.calls == []


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
async def test_json_by_any_of_its_names_is_read(edge: Edge, kind: str):
    assert (await edge.request("POST", CHAT, {"Content-Type": kind}, data=GOOD)).status == 200


async def test_a_slow_head_is_cut_off(hasty: Edge):
    drip = [bytes([byte]) for byte in b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 200]
    assert await hasty.raw(*drip, pause_s=0.03) == b""
    assert hasty.calls == []


async def test_a_silent_connection_is_cut_off(hasty: Edge):
    assert await hasty.raw(b"") == b""


async def test_a_slow_body_is_cut_off_with_a_word(hasty: Edge):
    head, _, body = post(GOOD, CLOSE).partition(b"\r\n\r\n")
    drip = [head + b"\r\n\r\n", *(bytes([byte]) for byte in body)]
    answer = await hasty.raw(*drip, pause_s=0.1)
    assert answer.startswith(b"HTTP/1.1 408 "), answer[:200]
    assert hasty.calls == []


async def test_many_slow_clients_keep_nobody_else_out(hasty: Edge):
    half = post(GOOD, CLOSE)[:-5]
    slow = [asyncio.create_task(hasty.raw(half)) for _ in range(100)]
    await asyncio.sleep(0.1)
    await hasty.assert_well()
    for answer in await asyncio.gather(*slow):
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_ends_early_calls_nobody(edge: Edge):
    _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(post(GOOD, length=len(GOOD) + 10))
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await edge.assert_well()
    assert len(edge.calls) == 1


async def test_floods_of_headers_are_refused(edge: Edge):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    for flood in (
        b"X-A: " + b"a" * 70_000 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(8000)),
        b"X" * 70_000 + b": a\r\n",
    ):
        answer = await edge.raw(head + flood + b"Content-Length: 2\r\n\r\n{}")
        assert answer.startswith(b"HTTP/1.1 431 "), answer[:200]
        assert b'"code":"headers_too_large"' in answer
    answer = await edge.raw(b"GET /v1/" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 "), answer[:200]
    assert edge.calls == []


async def test_after_all_this_the_gateway_is_well(edge: Edge):
    await edge.assert_well()


@pytest.mark.parametrize("path", ["/admin/keys", "/v1/experiments", "/v1/feedback", "/v1/route"])
async def test_every_body_is_read_with_the_same_care(edge: Edge, hasty: Edge, path: str):
    for body in (b"[]", b"{", b'{"a":NaN}', b'{"a":1,"a":2}', b"\xff", b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"):
        assert_refused(await edge.send(body, path=path), 400, "invalid_json")
    assert_refused(await edge.send(b'{"name":"x"}', {"Content-Type": "text/plain"}, path), 415)
    assert_refused(await edge.send(b'{"name":"x"}', {"Content-Encoding": "gzip"}, path), 415)
    answer = await edge.raw(post(b"", CLOSE, length=LIMIT + 1, path=path.encode()))
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
    head, _, rest = post(b'{"name":"x"}', CLOSE, path=path.encode()).partition(b"\r\n\r\n")
    answer = await hasty.raw(head + b"\r\n\r\n" + rest[:5])
    assert answer.startswith(b"HTTP/1.1 408 "), answer[:200]
