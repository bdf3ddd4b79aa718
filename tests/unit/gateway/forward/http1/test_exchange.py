"""One request and its answer on a real socket: how bodies are framed, what is refused, when a connection is kept."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.forward.http1 import errors
from gateway.forward.http1.response import Response
from tests.fakes.edge import until
from tests.unit.gateway.forward.http1.scripted import OK, Reply, post, served, whole

pytestmark = pytest.mark.anyio


async def asked(*replies: Reply) -> bytes:
    async with served(*replies) as (made, client):
        return await whole(await post(made, client))


async def test_the_request_as_it_is_written():
    async with served([OK + b"Content-Length: 0\r\n\r\n"]) as (made, client):
        await post(made, client, b'{"a":1}', Authorization="Bearer k")
        await post(made, client, b"", **{"user-agent": "mine", "Host": "elsewhere"})
    first, second = (request.split(b"\r\n") for request in made.requests)
    assert first == [
        b"POST /v1/x?y=1 HTTP/1.1",
        b"Accept: */*",
        b"User-Agent: moe-gateway",
        b"Host: 127.0.0.1:%d" % made.port,
        b"Authorization: Bearer k",
        b"Content-Length: 7",
        b"",
        b'{"a":1}',
    ]
    assert second[1:5] == [b"Accept: */*", b"user-agent: mine", b"Host: elsewhere", b"Content-Length: 0"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-A", "b\r\nX-C: d"), ("X-A", "b\nc"), ("X-A", "b\rc"), ("X-A", "\0"), ("X\n", "b"),
     ("X", "\udcff"), ("content-length", "3"), ("Transfer-Encoding", "chunked"), ("Connection", "close")],
)  # fmt: skip
async def test_no_header_can_change_what_follows_it(name: str, value: str):
    async with served([]) as (made, client):
        with pytest.raises(errors.InvalidHeader):
            await post(made, client, **{name: value})
    assert made.connections == 0


async def test_of_headers_of_one_name_the_last_is_sent():
    async with served([OK + b"Content-Length: 0\r\n\r\n"]) as (made, client):
        await post(made, client, **{"Content-Type": "a", "Authorization": "b", "content-type": "c"})
    assert made.requests[0].lower().count(b"content-type:") == 1
    assert b"\r\ncontent-type: c\r\n" in made.requests[0]


@pytest.mark.parametrize(
    "reply",
    [
        [OK + b"Content-Length: 5\r\n\r\nhello"],
        [OK[:9], OK[9:] + b"Content-", b"Length: 5\r\n\r", b"\nhe", 0.01, b"llo"],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", 0.01, b"3\r\nllo\r\n0\r\n\r\n"],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: t\r\n\r\n"],
        [OK + b"\r\nhel", 0.01, b"lo", None],
        [b"HTTP/1.0 200 OK\r\n\r\nhello", None],
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", OK + b"Content-Length: 5\r\n\r\nhello"],
        [b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"],
        [b"HTTP/1.1 200 \r\nContent-Length:5\r\n\r\nhello"],
        [b"HTTP/1.1 200\r\nX-Empty:\r\nContent-Length : 5  \r\n\r\nhello"],
        [OK + b"Transfer-Encoding : Chunked \r\nX-Folded: a\r\n\tb\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
        [OK + b"Content-Encoding: UTF-8\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello"],
        [b"HTTP/1.1 199 x\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello"],
    ],
)  # fmt: skip
async def test_bodies_however_they_are_framed(reply: Reply):
    assert await asked(reply) == b"hello"


@pytest.mark.parametrize(
    "reply",
    [
        [OK + b"Content-Length: 5\r\n\r\nhel", None],
        [OK + b"Content-Length: 5\r\n\r\n", None],
        [OK + b"Content-Length : 5\r\n\r\nhel", None],
        [OK + b"Transfer-Encoding : chunked\r\n\r\n5\r\nhel", None],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", None],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", None],
        [OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello" * 50, mtime=0)[:-12], None],
    ],
)
async def test_a_body_that_ends_early_is_cut_short_and_what_came_is_read_first(reply: list[Any]):
    async with served(reply) as (made, client):
        response = await post(made, client)
        if b"hel" in reply[0]:
            assert (await response.read_some()).startswith(b"hel")
        with pytest.raises(errors.CutShort):
            await whole(response)


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
        OK + b"Content-Length: -3\r\n\r\n",
        OK + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 000 x\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 150 x\r\nContent-Length: 4\r\n\r\nevil" + OK + b"Content-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        OK + b"X-Long: " + b"x" * 40_000 + b"\r\nContent-Length: 0\r\n\r\n",
        OK + b"X-Endless: " + b"x" * 70_000,
        OK + b"".join(b"X-%d: y\r\n" % n for n in range(9_000)),
    ],
)
async def test_what_is_no_head_is_refused(head: bytes):
    async with served([head, 5.0]) as (made, client):
        with pytest.raises(errors.Malformed):
            await post(made, client)


@pytest.mark.parametrize(
    "rest", [b"zz\r\nhello\r\n", b"5\r\nhello0\r\n\r\n", b"5;" + b"x" * 70_000, b"0\r\nX-Trailer: " + b"x" * 70_000]
)
async def test_a_broken_chunk_is_refused(rest: bytes):
    with pytest.raises(errors.Malformed):
        await asked([OK + b"Transfer-Encoding: chunked\r\n\r\n", 0.01, rest, 5.0])


@pytest.mark.parametrize("reply", [[None], [b"HTTP/1.1 2", None], [b"HTTP/1.1 100 Continue\r\n\r\n", None]])
async def test_a_connection_that_closes_before_the_head(reply: Reply):
    with pytest.raises(errors.Disconnected):
        await asked(reply)


COMPRESSED = {
    "gzip": gzip.compress(b"hello", mtime=0),
    "x-gzip": gzip.compress(b"hel", mtime=0) + gzip.compress(b"lo", mtime=0),
    "deflate": zlib.compress(b"hello"),
    "Deflate": zlib.compress(b"hello")[2:-4],
    "identity": b"hello",
}


@pytest.mark.parametrize("coding", COMPRESSED)
async def test_compressed_bodies_are_read_whole_and_byte_by_byte(coding: str):
    data = COMPRESSED[coding]
    head = OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(data))
    assert await asked([head + data]) == b"hello"
    assert await asked([head, *(step for byte in data for step in (bytes([byte]), 0.001))]) == b"hello"


async def test_a_bomb_comes_in_bounded_pieces_and_no_more_is_made_than_read():
    bomb = gzip.compress(b"\0" * 50_000_000, mtime=0)
    async with served([OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb]) as (
        made,
        client,
    ):
        response = await post(made, client)
        assert 0 < len(await response.read_some()) <= 256 * 1024
        assert sum([len(part) async for part in _parts(response)]) > 49_000_000


async def _parts(response: Response) -> AsyncIterator[bytes]:
    while part := await response.read_some():
        assert len(part) <= 256 * 1024
        yield part


async def test_a_bomb_without_end_is_held_back_while_what_came_of_it_is_read():
    bomb = gzip.compress(b"\0" * 200_000_000, mtime=0)  # less than 200 KB
    size = 40 * len(bomb)
    async with served([OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % size, bomb * 40]) as (
        made,
        client,
    ):
        response = await post(made, client)
        assert not response.ready  # what came may be too little to make anything of it
        for _ in range(200):
            assert len(await response.read_some()) <= 256 * 1024
            await asyncio.sleep(0)
        inflate = response._inflate
        assert inflate is not None
        assert len(inflate._coded) + response._held < 4 * 256 * 1024
        assert not response.ended
        response.abort()


@pytest.mark.parametrize(
    "data",
    [b"\x1f\x8bxyz", gzip.compress(b"hello", mtime=0) + b"\x03\x00", gzip.compress(b"a", mtime=0) + b"\0" * 9],
    ids=["no member", "a rest", "zeros"],
)
async def test_garbage_that_says_gzip_is_refused(data: bytes):
    with pytest.raises(errors.Malformed):
        await asked([OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(data) + data])


async def test_what_nobody_can_decode_is_refused_unless_the_status_says_enough():
    rest = b"Content-Encoding: br\r\nRetry-After: 7\r\nContent-Length: 3\r\n\r\n\x0b\x02\x80"
    with pytest.raises(errors.Malformed):
        await asked([OK + rest])
    async with served([b"HTTP/1.1 429 Slow\r\n" + rest]) as (made, client):
        for _ in range(2):
            response = await post(made, client)
            assert (response.status, response.headers["Retry-After"]) == (429, "7")
            assert await whole(response) == b""
    assert made.connections == 1


async def test_others_get_their_turn_between_the_pieces_of_a_bomb():
    bomb = gzip.compress(b"\0" * 20_000_000, mtime=0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with served([OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb]) as (
        made,
        client,
    ):
        response = await post(made, client)
        await until(lambda: response.ended)  # all of it has come: from now on nothing is waited for
        task = asyncio.create_task(other())
        assert len(await whole(response)) == 20_000_000
        task.cancel()
    assert turns >= 60


async def test_headers_are_found_in_any_case_and_equal_ones_joined():
    reply = (
        OK
        + b"Retry-AFTER: 3\r\nX-A: 1\r\nx-a: 2\r\nContent-Type: Text/Event-Stream; charset=x\r\nContent-Length: 0\r\n\r\n"
    )
    async with served([reply]) as (made, client):
        response = await post(made, client)
    assert response.headers.get("retry-after") == response.headers["Retry-After"] == "3"
    assert response.headers["x-a"] == "1, 2"
    assert response.content_type == "text/event-stream"
    assert list(response.headers) == ["retry-after", "x-a", "content-type", "content-length"]
    assert len(response.headers) == 4


async def test_a_slow_reader_holds_the_provider_back():
    piece = b"x" * 65_536
    async with served([OK + b"Content-Length: %d\r\n\r\n" % (200 * 65_536), *[piece] * 200]) as (made, client):
        response = await post(made, client)
        await asyncio.sleep(0.2)
        first = await response.read_some()
        assert len(first) < 4 * 1024 * 1024  # the rest waits in the kernel's buffers and at the provider
        assert len(first) + len(await whole(response)) == 200 * 65_536
