"""Addresses that reach inside, in every spelling, and public ones that must not be taken for them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.errors import ApiError
from gateway.http.urls import check_media, check_url

PRIVATE = ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]
INSIDE = st.sampled_from(PRIVATE).flatmap(
    lambda network: st.integers(
        int(ipaddress.ip_network(network).network_address), int(ipaddress.ip_network(network).broadcast_address)
    )
)


def spellings(address: int) -> list[str]:
    """Return the ways in which some parser reads this IPv4 address."""
    a, b, c, d = address.to_bytes(4, "big")
    low = address & 0xFFFF
    return [
        f"{a}.{b}.{c}.{d}",
        f"{a}.{b}.{c}.{d}.",
        f"{a}.{b}.{low}",
        f"{a}.{address & 0xFFFFFF}",
        str(address),
        hex(address),
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{b}.{c}.0x{d:x}",
        f"[::ffff:{a}.{b}.{c}.{d}]",
        f"[::ffff:{address >> 16:x}:{low:x}]",
        f"[64:ff9b::{address >> 16:x}:{low:x}]",
        f"[2002:{address >> 16:x}:{low:x}::1]",
        f"[::{a}.{b}.{c}.{d}]",
        f"%3{a % 10}.{b}.{c}.{d}",
        "".join(chr(0xFF10 + int(digit)) if digit.isdigit() else digit for digit in f"{a}.{b}.{c}.{d}"),
        f"{a}\u3002{b}\u3002{c}\u3002{d}",
        f"user@{a}.{b}.{c}.{d}",
        f"{a}.{b}.{c}.{d}\\.example.com",
        f"example.com\\@{a}.{b}.{c}.{d}",
    ]


@given(address=INSIDE, scheme=st.sampled_from(["http", "https", "HTTP"]), rest=st.sampled_from(["", "/", ":80/a?b#c"]))
def test_no_spelling_of_an_inner_address_passes(address: int, scheme: str, rest: str):
    for host in spellings(address):
        with pytest.raises(ApiError):
            check_url("url", f"{scheme}://{host}{rest}")


@given(address=st.integers(0, 2**32 - 1))
def test_a_dotted_address_passes_exactly_when_everybody_can_reach_it(address: int):
    found = ipaddress.IPv4Address(address)
    url = f"http://{found}/"
    if found.is_global and not found.is_multicast and not found.is_reserved:
        check_url("url", url)
    else:
        with pytest.raises(ApiError):
            check_url("url", url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/a/b.png?x=1&y=[2]#frag",
        "https://sub.localhost.example.com/",
        "https://internal.example.com/",
        "https://1password.com/",
        "https://0x.example/",
        "https://bücher.example/",
        "https://[64:ff9b::808:808]/",
        "DATA:image/png;base64,AAAA",
        "data:,",
    ],
)
def test_public_addresses_and_data_pass(url: str):
    check_url("url", url)


def test_a_part_is_searched_to_its_ends():
    deep: object = "http://127.0.0.1/"
    for _ in range(50):
        deep = {"a": [deep]}
    with pytest.raises(ApiError) as caught:
        check_media("messages[0].content[0]", {"type": "x", "in": deep})
    assert caught.value.code == "forbidden_url"


@pytest.mark.parametrize(
    "text", ["AAAA" * 1000, "notes.txt", "a: b", "C:\\Users\\me", "re: http", "wav", "12:30", "x" * 100]
)
def test_what_is_no_address_is_let_through(text: str):
    check_media("p", {"type": "file", "file": {"filename": text, "file_data": text}})
