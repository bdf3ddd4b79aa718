"""An operator's route stays closed to a client however its address, its method or its key is dressed up."""

from __future__ import annotations

import pytest

from tests.fakes.edge import ADMIN, CLIENT, Edge

pytestmark = pytest.mark.anyio

PATHS = [
    b"/admin/keys",
    b"//admin/keys",
    b"/./admin/keys",
    b"/v1/../admin/keys",
    b"/v1/%2e%2e/admin/keys",
    b"/v1/..%2fadmin/keys",
    b"/v1/models/..%2f..%2fadmin%2fkeys",
    b"/%61dmin/keys",
    b"/admin%2fkeys",
    b"/ADMIN/keys",
    b"/admin/keys/",
    b"/admin/keys;a=b",
    b"/admin/keys?x-router-policy=cost",
    b"/healthz/../admin/keys",
    b"/dashboard/../admin/keys",
    b"/dashboard/data/../../admin/keys",
    b"http://localhost/admin/keys",
    b"http://evil.example/admin/keys",
    b"/healthz#/admin/keys",
    b"/admin/breakers",
    b"/metrics",
    b"/dashboard/data/decisions",
    b"/openapi.json",
]
DISGUISES = [
    b"X-Original-URL: /admin/keys",
    b"X-Rewrite-URL: /admin/keys",
    b"X-Forwarded-Prefix: /admin",
    b"X-HTTP-Method-Override: DELETE",
    b"X-Forwarded-For: 127.0.0.1",
    b"X-Real-IP: 127.0.0.1",
    b"Forwarded: for=127.0.0.1;host=localhost",
    b"Cookie: authorization=" + ADMIN.encode(),
    b"Proxy-Authorization: Bearer " + ADMIN.encode(),
]


def get(path: bytes, *headers: bytes, method: bytes = b"GET", key: str | None = CLIENT) -> bytes:
    own = [] if key is None else [b"Authorization: Bearer " + key.encode()]
    return b"\r\n".join(
        (method + b" " + path + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *own, *headers)
    ) + (b"\r\n\r\n")


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("path", PATHS)
async def test_no_spelling_of_an_address_opens_an_operators_route(keyed: Edge, path: bytes):
    for key in (CLIENT, None):
        for method in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH"):
            answer = await keyed.raw(get(path, method=method, key=key))
            harmless = path.startswith(b"/healthz#") and method in {b"GET", b"HEAD"}
            assert harmless or status(answer) in {400, 401, 403, 404, 405}, answer[:300]
            assert b"digest" not in answer
            assert b"acme" not in answer


@pytest.mark.parametrize("header", DISGUISES)
async def test_no_other_header_makes_an_operator(keyed: Edge, header: bytes):
    for key in (CLIENT, None):
        assert status(await keyed.raw(get(b"/admin/keys", header, key=key))) == (401 if key is None else 403)
    ordinary = await keyed.raw(get(b"/v1/models", header))
    assert status(ordinary) == 200
    assert b"breakers" not in ordinary


@pytest.mark.parametrize("name", [b"x-api-key", b"api-key"])
async def test_a_second_kind_of_key_does_not_add_to_the_first(keyed: Edge, name: bytes):
    better = name + b": " + ADMIN.encode()
    assert status(await keyed.raw(get(b"/admin/keys", better, key=CLIENT))) == 403
    assert status(await keyed.raw(get(b"/admin/keys", better, key="wrong"))) == 401


async def test_two_keys_are_no_key(keyed: Edge):
    both = (b"Authorization: Bearer " + ADMIN.encode(),)
    assert status(await keyed.raw(get(b"/admin/keys", *both))) == 401
    assert status(await keyed.raw(get(b"/admin/keys", b"Authorization: Bearer " + CLIENT.encode(), key=ADMIN))) == 401
