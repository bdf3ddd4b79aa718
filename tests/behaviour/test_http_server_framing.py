"""What is not clearly one HTTP request is answered 400 and its connection closed; nothing is ever read in two ways."""

from __future__ import annotations

import json

import pytest

from tests.fakes.edge import CHAT, HELLO, Edge, post

pytestmark = pytest.mark.anyio

GOOD = json.dumps({"model": "main", "messages": HELLO}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
SMUGGLED = b"GET /admin/breakers HTTP/1.1\r\nHost: localhost\r\n\r\n"

MALFORMED = {
    "length and chunks": post(GOOD, b"Transfer-Encoding: chunked") + SMUGGLED,
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": post(GOOD, b"Content-Length: 3") + SMUGGLED,
    "the same length twice": post(GOOD, b"Content-Length: %d" % len(GOOD)),
    "a list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": HEAD + b"Content-Length: -2\r\n\r\n{}",
    "a length in hexadecimal": HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with words": HEAD + b"Content-Length: 2 bytes\r\n\r\n{}",
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunked is not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two codings": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a chunk in 0x": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": CHUNKED + b"fffffffffffffffff2\r\n{}\r\n0\r\n\r\n",
    "a chunk with a space": CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n",
    "a chunk longer than said": CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n",
    "a chunk without a size": CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
    "chunks by bare line feeds": CHUNKED + b"2\n{}\n0\n\n",
    "bare line feeds": b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
    "bare carriage returns": b"GET /healthz HTTP/1.1\rHost: localhost\r\r",
    "a folded header": GET + b"X-A: b\r\n c\r\n\r\n",
    "a space before the colon": GET + b"X-A : b\r\n\r\n",
    "a space before the first header": b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "a NUL in a value": GET + b"X-A: a\x00b\r\n\r\n",
    "a NUL in a name": GET + b"X\x00A: ab\r\n\r\n",
    "a header without a colon": GET + b"XA\r\n\r\n",
    "an empty name": GET + b": a\r\n\r\n",
    "an unknown method": b"FOO /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method in lower case": b"get /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tabs": b"GET\t/healthz\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
    "another version": b"GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n",
    "HTTP/2 by preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bytes in the path": b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32,
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a redis command": b"*1\r\n$4\r\nPING\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_request_is_refused_and_closed(edge: Edge, name: str):
    answer = await edge.raw(MALFORMED[name])
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), answer[:300]
    assert b"connection: close" in head
    assert b"x-request-id: req_" in head
    assert b"x-router-overhead-ms: " in head
    error = json.loads(body)["error"]  # one answer and nothing after it
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "invalid_http"
    assert edge.calls == []


async def test_a_coding_we_do_not_undo_is_refused(edge: Edge):
    answer = await edge.raw(HEAD + b"Connection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 415 "), answer[:200]
    assert edge.calls == []


async def test_chunks_as_they_should_be_are_read(edge: Edge):
    half = len(GOOD) // 2
    body = b"%x\r\n%b\r\n%X;name=value\r\n%b\r\n0\r\n\r\n" % (half, GOOD[:half], len(GOOD) - half, GOOD[half:])
    answer = await edge.raw(HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:300]
    assert len(edge.calls) == 1


async def test_a_bad_chunk_after_a_good_one_calls_nobody(edge: Edge):
    half = len(GOOD) // 2
    answer = await edge.raw(CHUNKED + b"%x\r\n%b\r\n" % (half, GOOD[:half]), b"zz\r\n", pause_s=0.1)
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:300]
    assert edge.calls == []


async def test_a_body_where_none_belongs_is_no_second_request(edge: Edge):
    answer = await edge.raw(GET + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_requests_in_a_row_are_answered_in_order(edge: Edge):
    first = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: first\r\n\r\n"
    answer = await edge.raw(
        first
        + post(GOOD, b"X-Request-Id: second")
        + b"GET /healthz HTTP/1.1\r\nX-Request-Id: third\r\nConnection: close\r\n\r\n"
    )
    places = [answer.index(name) for name in (b"first", b"second", b"third")]
    assert places == sorted(places)
    assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_garbage_behind_a_request_never_becomes_a_second_answer_inside_it(edge: Edge):
    edge.providers["alpha"].answer("word " * 40, delay_s=0.02)
    body = json.dumps({"model": "main", "messages": HELLO, "stream": True}).encode()
    answer = await edge.raw(post(body), b"\x00\x01garbage\r\n\r\n", pause_s=0.4)
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert b"[DONE]" not in answer


async def test_a_line_end_behind_a_request_does_not_cost_it_its_answer(hasty: Edge):
    hasty.providers["alpha"].answer("slow", first_delay_s=2.0)
    answer = await hasty.raw(post(GOOD, b"Connection: close"), b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:300]


async def test_an_upgrade_is_not_taken_up(edge: Edge):
    for kind in (b"websocket", b"h2c"):
        answer = await edge.raw(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: " + kind + b"\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:300]
        assert b"101" not in answer[:20]


# --- methods, paths, ids


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND"])
async def test_chat_is_posted_and_nothing_else(edge: Edge, method: str):
    seen = await edge.request(method, CHAT)
    assert seen.status == 405
    assert seen.headers["allow"] == "POST"
    assert seen.headers["x-request-id"]
    assert edge.calls == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_balancer_may_ask_with_head(edge: Edge, path: str):
    seen = await edge.request("HEAD", path)
    assert (seen.status, seen.body) == (200, b"")
    assert int(seen.headers["content-length"]) == len((await edge.request("GET", path)).body)


async def test_who_asks_at_a_wrong_address_is_told_the_right_one(edge: Edge):
    for path in ("/chat/completions", "/v1/v1/chat/completions", "/v1/chat/completions/"):
        seen = await edge.request("POST", path)
        assert (seen.status, seen.error["code"]) == (404, "not_found")
        assert f"POST {path}: use POST /v1/chat/completions" in seen.error["message"]
    seen = await edge.request("POST", "/v1/images/generations")
    assert (seen.status, seen.error["code"]) == (404, "not_supported")
    seen = await edge.request("GET", "/v1/models/")
    assert (seen.status, seen.error["code"]) == (404, "not_found")
    assert "use GET /v1/models" in seen.error["message"]
    seen = await edge.request("DELETE", "/v1/models")
    assert seen.error["message"] == "there is no DELETE /v1/models: use GET"


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/v1/stats/providers", "/metrics", "/admin/breakers"])
async def test_what_is_read_is_not_written(edge: Edge, path: str):
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
        seen = await edge.request(method, path)
        assert seen.status == 405, (method, path)
        assert seen.error["code"] == "method_not_allowed"
        assert seen.headers["allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/chat/completions/",
        "//v1/chat/completions",
        "/V1/CHAT/COMPLETIONS",
        "/v1/stats/providers/",
        "/v1/../admin/breakers",
        "/v1/%2e%2e/admin/breakers",
        "/dashboard/../admin/breakers",
        "/dashboard/..%2f..%2f..%2fetc%2fpasswd",
        "/dashboard/%2e%2e/%2e%2e/config/models.yaml",
        "/dashboard/..%5c..%5cconfig",
        "/dashboard/index.html%00.js",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/.env",
        "/v1/decisions/..%2f..%2fetc",
    ],
)
async def test_no_path_leads_anywhere_else(edge: Edge, path: str):
    answer = await edge.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    status = answer.split(b" ", 2)[1]
    assert status in {b"404", b"405"}, answer[:300]
    assert b"location:" not in answer.lower()
    assert b"root:" not in answer


async def test_no_answer_is_made_of_the_host_header(edge: Edge):
    for path in ("/v1/stats/providers/", "/v1/models/", "/dashboard/", "/v1/models"):
        answer = await edge.raw(f"GET {path} HTTP/1.1\r\nHost: localhost:4711\r\nConnection: close\r\n\r\n".encode())
        assert b"4711" not in answer


@pytest.mark.parametrize("name", ["a", "abc-1_2.Z", "x" * 128])
async def test_a_request_id_that_may_be_is_echoed(edge: Edge, name: str):
    for path in ("/v1/models", "/healthz", "/nowhere"):
        assert (await edge.request("GET", path, {"x-request-id": name})).headers["x-request-id"] == name
    assert (await edge.chat({"x-request-id": name})).headers["x-request-id"] == name
    assert (await edge.chat({"x-request-id": name}, n=0)).headers["x-request-id"] == name


@pytest.mark.parametrize(
    "name", [b"x" * 129, b"a b", b"a\tb", b"<script>", b"a;b", b"\xe9", b"a\x7fb", b"", b"a,b", b"a%0d%0ab"]
)
async def test_another_request_id_is_replaced(edge: Edge, name: bytes):
    for line in (b"GET /v1/models", b"GET /nowhere", b"GET /v1/chat/completions"):
        answer = await edge.raw(
            line + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Request-Id: " + name + b"\r\n\r\n"
        )
        head = answer.partition(b"\r\n\r\n")[0]
        assert head.count(b"x-request-id: ") == 1, (name, head)
        assert b"x-request-id: req_" in head, (name, head)


async def test_no_answer_can_be_split(edge: Edge):
    evil = "x\r\nset-cookie: a=b\r\n\r\n<html>"
    for body in (
        {"model": evil},
        {"model": "main", "user": evil},
        {"model": "main", "router": {evil: 1}},
        {"model": "main", evil: 1},
        {"model": "main", "messages": [{"role": evil, "content": ""}]},
        {"model": "main", "metadata": {evil: evil}},
    ):
        seen = await edge.chat(**body)
        assert "set-cookie" not in seen.headers
        assert not [value for value in seen.headers.values() if "html" in value]
    await edge.assert_well()


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/models", "/v1/route", "/metrics", "/dashboard", "/healthz"]
)
async def test_no_other_site_may_read_or_ask_first(edge: Edge, path: str):
    headers = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    asked = await edge.request("OPTIONS", path, headers)
    assert asked.status in {404, 405}
    answered = await edge.request("GET", path, {"origin": "http://localhost:3000"})
    for seen in (asked, answered):
        assert not [name for name in seen.headers if name.lower().startswith("access-control-")]
