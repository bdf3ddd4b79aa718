"""A gateway without keys answers its own machine, and no page from elsewhere."""

from __future__ import annotations

import json

import pytest

from tests.fakes.edge import CHAT, HELLO, Edge

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LocalHost:8080", "127.0.0.1:80"])
async def test_an_open_gateway_answers_its_own_machine(edge: Edge, host: str):
    assert (
        await edge.raw(f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    ).startswith(b"HTTP/1.1 200 ")


FOREIGN = [
    "Host: evil.example",
    "Host: localhost.evil.example",
    "Host: evil.localhost",
    "Host: 127.0.0.1.nip.io",
    "Host: localhost@evil.example",
    "Host: localhost:80@evil.example",
    "Host: 192.168.1.5",
    "Host: 0.0.0.0",
    "Host: 127.0.0.2",
    "Host: [::1].evil.example",
    "Host: [::ffff:127.0.0.1]",
    "Host: ",
    "Host: localhost\r\nHost: evil.example",
    "Host: localhost\r\nHost: localhost",
    "X-Forwarded-Host: localhost",
    "Host: localhost\r\nOrigin: http://evil.example",
    "Host: localhost\r\nOrigin: null",
    "Host: localhost\r\nOrigin: http://localhost.evil.example",
    "Host: localhost\r\nOrigin: http://localhost@evil.example",
    "Host: localhost\r\nOrigin: https://127.0.0.1.evil.example:443",
]


@pytest.mark.parametrize("lines", FOREIGN)
async def test_an_open_gateway_answers_nobody_from_elsewhere(edge: Edge, lines: str):
    body = json.dumps({"model": "main", "messages": HELLO})
    for request in (
        "GET /v1/models",
        "GET /metrics",
        "POST /admin/reload",
        "POST /admin/keys",
        "GET /dashboard/data/status",
        f"POST {CHAT}",
        "POST /v1/feedback",
    ):
        answer = await edge.raw(
            f"{request} HTTP/1.1\r\n{lines}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        assert answer.startswith(b"HTTP/1.1 403 "), (request, answer[:300])
        assert b"forbidden_" in answer
        assert b"evil" not in answer
    assert edge.calls == []
    await edge.assert_well()


async def test_the_dashboards_own_page_may_ask(edge: Edge):
    seen = await edge.request("POST", "/admin/reload", {"Origin": edge.gateway.origin})
    assert seen.status == 200, seen.body


async def test_the_dashboard_runs_nothing_from_elsewhere(edge: Edge):
    for path in ("/dashboard", "/dashboard/index.html"):
        seen = await edge.request("GET", path)
        rules = seen.headers["content-security-policy"]
        assert "default-src 'self'" in rules
        assert "frame-ancestors 'none'" in rules
        assert "unsafe" not in rules
        assert seen.headers["x-content-type-options"] == "nosniff"
        assert b"http://" not in seen.body.replace(b"http://www.w3.org/", b"")
        assert b"https://" not in seen.body
