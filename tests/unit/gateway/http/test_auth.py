"""Who is calling, from the headers alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.auth import authenticate, check_host, require_client, token_of
from gateway.http.errors import ApiError
from gateway.keys import ANONYMOUS, KeyRing, Principal

KEY = "a-client-key-of-some-length"
RING = KeyRing(api_keys=[KEY], admin_keys=["an-admin-key-of-some-length"])
HOST = (b"host", b"localhost")


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([(b"authorization", b"Bearer abc")], b"abc"),
        ([(b"authorization", b"bearer   abc  ")], b"abc"),
        ([(b"authorization", b"Basic abc")], b""),
        ([(b"authorization", b"abc")], b""),
        ([(b"authorization", b"Bearer a b")], b"a b"),
        ([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")], None),
        ([(b"x-api-key", b"abc")], b"abc"),
        ([(b"api-key", b"abc")], b"abc"),
        ([(b"x-api-key", b"wrong"), (b"authorization", b"Bearer abc")], None),
        ([(b"authorization", b"Bearer abc"), (b"x-api-key", b"other")], b"abc"),
        ([(b"cookie", b"token=abc")], None),
        ([], None),
    ],
)
def test_a_token_is_found_where_sdks_put_it(headers: list[tuple[bytes, bytes]], token: bytes | None):
    assert token_of(headers) == token


@given(value=st.binary(max_size=200))
def test_no_header_but_the_key_opens(value: bytes):
    for headers in ([(b"authorization", value)], [(b"authorization", b"Bearer " + value)], [(b"x-api-key", value)]):
        if KEY.encode() in value:
            continue
        with pytest.raises(ApiError) as caught:
            authenticate(headers, RING)
        assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


def test_a_good_key_is_its_principal():
    found = authenticate([(b"authorization", f"Bearer {KEY}".encode())], RING)
    assert found.key_id.startswith("env-")
    assert not found.admin


def test_without_keys_the_machine_itself_is_let_in():
    assert authenticate([HOST], KeyRing()) is ANONYMOUS
    assert authenticate([(b"host", b"anything")], KeyRing(), open_host=True) is ANONYMOUS


@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST:1", b"127.0.0.1", b"127.0.0.1:65535", b"[::1]", b"[::1]:80"]
)
def test_names_of_the_loopback_are_good_hosts(host: bytes):
    check_host([(b"host", host)])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"host", b"")],
        [(b"host", b"localhost:")],
        [(b"host", b"localhost:123456")],
        [(b"host", b"localhost.")],
        [(b"host", b"localhost.evil.example")],
        [(b"host", b"localhost:80@evil.example")],
        [(b"host", b"127.0.0.1.nip.io")],
        [(b"host", b"[::1].evil.example")],
        [(b"host", b"\xff")],
        [HOST, HOST],
        [HOST, (b"host", b"evil.example")],
        [HOST, (b"origin", b"null")],
        [HOST, (b"origin", b"http://evil.example")],
        [HOST, (b"origin", b"localhost")],
        [HOST, (b"origin", b"http://localhost:80/path")],
        [HOST, (b"origin", b"http://localhost, http://evil.example")],
    ],
)
def test_everything_else_is_foreign(headers: list[tuple[bytes, bytes]]):
    with pytest.raises(ApiError) as caught:
        check_host(headers)
    assert caught.value.status == 403


@pytest.mark.parametrize("origin", [b"http://localhost:3000", b"https://127.0.0.1", b"http://[::1]:8080"])
def test_a_page_of_this_machine_may_ask(origin: bytes):
    check_host([HOST, (b"origin", origin)])


def test_a_scraper_may_not_send_requests():
    with pytest.raises(ApiError) as caught:
        require_client(Principal("m", metrics=True))
    assert caught.value.status == 403
    assert require_client(Principal("a", metrics=True, admin=True)).admin
