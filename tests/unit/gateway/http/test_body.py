"""Reading a body: counted, timed, identity encoding only."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.http.body import ClientGone, check_headers, read_body
from gateway.http.errors import ApiError
from router_core.policy import InputLimits

pytestmark = pytest.mark.anyio

LIMITS = InputLimits(body_bytes=10, header_bytes=100, body_timeout_s=0.05)


def receiver(*messages: dict[str, Any]) -> Any:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        await asyncio.sleep(60)
        raise AssertionError

    return receive


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


@pytest.mark.parametrize(
    "parts",
    [
        [part(b"0123456789")],
        [part(b"01234", more=True), part(b"56789")],
        [part(b"", more=True), part(b"0123456789", more=True), part(b"")],
    ],
)
async def test_a_body_up_to_the_limit_is_read_whole(parts: list[dict[str, Any]]):
    assert await read_body(receiver(*parts), LIMITS) == b"0123456789"


async def test_a_body_that_is_there_is_held_to_the_same_limit():
    assert await read_body(receiver(part(b"0123456789")), LIMITS, whole=True) == b"0123456789"
    with pytest.raises(ApiError) as caught:
        await read_body(receiver(part(b"x" * 11)), LIMITS, whole=True)
    assert caught.value.status == 413


async def test_no_body_is_an_empty_one():
    assert await read_body(receiver({"type": "http.request"}), LIMITS) == b""


@pytest.mark.parametrize("parts", [[part(b"x" * 11)], [part(b"x" * 6, more=True), part(b"x" * 5, more=True)]])
async def test_one_byte_more_is_too_large(parts: list[dict[str, Any]]):
    with pytest.raises(ApiError) as caught:
        await read_body(receiver(*parts), LIMITS)
    assert caught.value.status == 413


@pytest.mark.parametrize("parts", [[], [part(b"x", more=True)]])
async def test_a_body_that_does_not_come_is_timed_out(parts: list[dict[str, Any]]):
    with pytest.raises(ApiError) as caught:
        await read_body(receiver(*parts), LIMITS)
    assert caught.value.status == 408


@pytest.mark.parametrize("parts", [[GONE], [part(b"x", more=True), GONE]])
async def test_a_client_that_leaves_is_gone(parts: list[dict[str, Any]]):
    with pytest.raises(ClientGone):
        await read_body(receiver(*parts), LIMITS)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        (b"content-length", b"11", 413),
        (b"content-length", b"9" * 5000, 413),
        (b"content-encoding", b"gzip", 415),
        (b"content-encoding", b"identity, gzip", 415),
        (b"transfer-encoding", b"gzip, chunked", 415),
        (b"content-type", b"text/plain", 415),
        (b"content-type", b"application/jsonp", 415),
        (b"x-long", b"x" * 100, 431),
    ],
)
async def test_headers_that_promise_no_good_body_are_refused(name: bytes, value: bytes, status: int):
    with pytest.raises(ApiError) as caught:
        check_headers([(name, value)], LIMITS)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"content-length", b"10"),
        (b"content-encoding", b"Identity"),
        (b"content-encoding", b""),
        (b"transfer-encoding", b"Chunked"),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-type", b"application/vnd.api+json"),
        (b"content-type", b""),
    ],
)
async def test_headers_of_a_good_body_pass(name: bytes, value: bytes):
    check_headers([(name, value)], LIMITS)
