"""Who may do what: the list of all routes with those they are for, and tokens that are none."""

from __future__ import annotations

import hmac
import json
from types import SimpleNamespace

import pytest
from fastapi.routing import APIRoute

from gateway import keys as keys_module
from gateway.http.asgi import CHAT, browsed
from gateway.keys import KeyRing
from tests.fakes.edge import ADMIN, CLIENT, SCRAPER, Edge, bearer

pytestmark = pytest.mark.anyio

OPEN, CLIENTS, METRICS, OPERATOR = "open", "clients", "metrics", "operator"

ROUTES = {
    ("POST", "/v1/chat/completions"): CLIENTS,
    ("GET", "/v1/models"): CLIENTS,
    ("GET", "/v1/models/{name:path}"): CLIENTS,
    ("POST", "/v1/route"): CLIENTS,
    ("POST", "/v1/feedback"): CLIENTS,
    ("GET", "/v1/decisions/{name}"): CLIENTS,
    ("GET", "/v1/stats/providers"): CLIENTS,
    ("GET", "/v1/stats/deployments"): CLIENTS,
    ("GET", "/v1/stats/tasks"): CLIENTS,
    ("GET", "/v1/stats/costs"): CLIENTS,
    ("GET", "/v1/stats/win-rates"): CLIENTS,
    ("GET", "/v1/stats/anomalies"): CLIENTS,
    ("GET", "/v1/stats/timeline"): CLIENTS,
    ("POST", "/v1/embeddings"): CLIENTS,
    ("POST", "/v1/responses"): CLIENTS,
    ("POST", "/v1/messages"): CLIENTS,
    ("POST", "/v1/completions"): CLIENTS,
    ("GET", "/metrics"): METRICS,
    ("GET", "/healthz"): OPEN,
    ("HEAD", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("HEAD", "/readyz"): OPEN,
    ("GET", "/dashboard"): OPEN,
    ("GET", "/dashboard/{path:path}"): OPEN,
    ("GET", "/dashboard/data/status"): OPERATOR,
    ("GET", "/dashboard/data/decisions"): OPERATOR,
    ("GET", "/dashboard/data/learning"): OPERATOR,
    ("GET", "/dashboard/events"): OPERATOR,
    ("POST", "/admin/reload"): OPERATOR,
    ("GET", "/admin/breakers"): OPERATOR,
    ("POST", "/admin/breakers/{name:path}/reset"): OPERATOR,
    ("GET", "/v1/experiments"): OPERATOR,
    ("POST", "/v1/experiments"): OPERATOR,
    ("GET", "/v1/experiments/{name}"): OPERATOR,
    ("POST", "/v1/experiments/{name}/{action}"): OPERATOR,
    ("GET", "/admin/keys"): OPERATOR,
    ("POST", "/admin/keys"): OPERATOR,
    ("POST", "/admin/keys/{key_id}"): OPERATOR,
    ("POST", "/admin/keys/{key_id}/rotate"): OPERATOR,
    ("DELETE", "/admin/keys/{key_id}"): OPERATOR,
}
"""Every route there is, and who may use it. The dashboard's files hold no data; all it shows is an operator's."""

ALLOWED = {
    OPEN: {None, CLIENT, SCRAPER, ADMIN},
    CLIENTS: {CLIENT, ADMIN},
    METRICS: {SCRAPER, ADMIN},
    OPERATOR: {ADMIN},
}


def all_routes() -> set[tuple[str, str]]:
    found = {("POST", CHAT)}
    waiting = list(browsed(SimpleNamespace()).routes)  # type: ignore[arg-type]
    while waiting:
        route = waiting.pop()
        included = getattr(route, "original_router", None)
        if included is not None:
            waiting += included.routes
            continue
        assert isinstance(route, APIRoute), f"{route} is no route of ours"
        found |= {(method, route.path) for method in route.methods}
    return found


def test_no_route_slips_in():
    assert all_routes() == set(ROUTES)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_opens_to_those_it_is_for_and_to_nobody_else(keyed: Edge, method: str, path: str):
    address = path.replace("{name:path}", "alpha/small").replace("{path:path}", "index.html")
    address = address.replace("{name}", "dec_x").replace("{action}", "start").replace("{key_id}", "nobody")
    for token in (None, CLIENT, SCRAPER, ADMIN):
        headers = {} if token is None else bearer(token)
        async with keyed.session.request(method, keyed.gateway.origin + address, headers=headers) as answer:
            endless = address.endswith("/events") and answer.status == 200
            status, body = answer.status, b"" if endless else await answer.read()
        if token in ALLOWED[ROUTES[method, path]]:
            assert status not in {401, 403}, (token, body)
        else:
            assert status == (401 if token is None else 403), (token, status, body)
            assert json.loads(body)["error"]["code"] in {"invalid_api_key", "permission_denied"}
    assert keyed.calls == []


async def test_who_is_not_known_learns_nothing_of_what_there_is(keyed: Edge):
    answers = []
    for path in ("/v1/models/alpha/small", "/v1/models/none", "/v1/decisions/dec_x", "/v1/stats/costs"):
        async with keyed.session.get(keyed.gateway.origin + path) as answer:
            assert answer.headers["www-authenticate"] == "Bearer"
            answers.append((answer.status, await answer.json()))
    assert all(found == answers[0] for found in answers)
    assert answers[0][0] == 401


async def test_health_says_nothing(keyed: Edge):
    for path in ("/healthz", "/readyz"):
        async with keyed.session.get(keyed.gateway.origin + path) as answer:
            assert set(await answer.json()) <= {"status", "degraded"}


HEAD = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n"
ODD: dict[str, bytes] = {
    "none": b"",
    "empty": b"Authorization:\r\n",
    "scheme only": b"Authorization: Bearer\r\n",
    "blank token": b"Authorization: Bearer    \r\n",
    "no scheme": f"Authorization: {CLIENT}\r\n".encode(),
    "basic": b"Authorization: Basic dXNlcjpwYXNz\r\n",
    "digest": b'Authorization: Digest username="x"\r\n',
    "wrong": b"Authorization: Bearer wrong\r\n",
    "latin-1": b"Authorization: Bearer \xe9\xe8\xff\r\n",
    "UTF-8": "Authorization: Bearer ключ\r\n".encode(),
    "quotes": f'Authorization: Bearer "{CLIENT}"\r\n'.encode(),
    "longer": f"Authorization: Bearer {CLIENT}x\r\n".encode(),
    "shorter": f"Authorization: Bearer {CLIENT[:-1]}\r\n".encode(),
    "upper case": f"Authorization: Bearer {CLIENT.upper()}\r\n".encode(),
    "two words": f"Authorization: Bearer {CLIENT} {CLIENT}\r\n".encode(),
    "comma": f"Authorization: Bearer {CLIENT},{CLIENT}\r\n".encode(),
    "20 kB": b"Authorization: Bearer " + b"a" * 20_000 + b"\r\n",
    "SQL": b"Authorization: Bearer ' OR '1'='1\r\n",
    "format": b"Authorization: Bearer %s%s%n{0}${jndi:ldap://x}\r\n",
    "percent": b"Authorization: Bearer %0d%0aX-Admin: 1\r\n",
    "twice": f"Authorization: Bearer {CLIENT}\r\nAuthorization: Bearer {CLIENT}\r\n".encode(),
    "two, one good": f"Authorization: Bearer wrong\r\nAuthorization: Bearer {CLIENT}\r\n".encode(),
    "a good one after another kind": f"x-api-key: wrong\r\nAuthorization: Bearer {CLIENT}\r\n".encode(),
    "cookie": f"Cookie: Authorization=Bearer%20{CLIENT}\r\n".encode(),
    "proxy": f"Proxy-Authorization: Bearer {CLIENT}\r\n".encode(),
}


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_token_is_401_and_nothing_else(keyed: Edge, name: str):
    answer = await keyed.raw(HEAD.encode() + ODD[name] + b"\r\n{}")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 "), answer[:200]
    assert b"x-request-id: " in head
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
    assert CLIENT.encode() not in answer


@pytest.mark.parametrize("token", [b"a\x00b", b"a\r\n b", b"a\nX-Admin: 1", b"a\x01b"])
async def test_a_token_that_breaks_the_head_is_no_request_or_no_key(keyed: Edge, token: bytes):
    answer = await keyed.raw(HEAD.encode() + b"Authorization: Bearer " + token + b"\r\n\r\n{}")
    assert answer.split(b" ", 2)[1] in {b"400", b"401"}, answer[:200]


@pytest.mark.parametrize("headers", [{"x-api-key": CLIENT}, {"api-key": CLIENT}, {"authorization": f"bearer {CLIENT}"}])
async def test_a_key_may_come_in_the_ways_sdks_send_it(keyed: Edge, headers: dict[str, str]):
    async with keyed.session.get(f"{keyed.gateway.origin}/v1/models", headers=headers) as answer:
        assert answer.status == 200


async def test_a_body_is_not_read_before_the_key_is_known(keyed: Edge):
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {1 << 40}\r\n\r\n"
    assert (await keyed.raw(head.encode())).startswith(b"HTTP/1.1 401 ")


def test_tokens_are_compared_as_hashes_in_constant_time(monkeypatch: pytest.MonkeyPatch):
    compared: list[tuple[bytes, bytes]] = []
    really = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return really(a, b)

    monkeypatch.setattr(keys_module.hmac, "compare_digest", compare)
    ring = KeyRing(api_keys=[CLIENT])
    assert ring.authenticate(CLIENT.encode()) is not None
    assert ring.authenticate(b"wrong") is None
    assert len(compared) == 2
    assert all(len(a) == len(b) == 32 for a, b in compared)
    assert CLIENT not in repr(vars(ring))
