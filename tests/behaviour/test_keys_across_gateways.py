"""A key made, changed or revoked at one gateway is so at all others within a second, on every store they can share."""

from __future__ import annotations

import json
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.redis_server import RedisServer, running
from tests.fakes.gateway import GatewayProcess

ADMIN = "operator-canary-91c2"
PRICE = {"input": 1.0, "output": 2.0}
MODELS = {
    "providers": {"acme": {"wire": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": "k"}},
    "deployments": [
        {"id": "acme/m1", "provider": "acme", "model": "m1", "context_window": 1000, "price_usd_per_mtok": PRICE}
    ],
}
PROMISED_S = 1.0
MUCH_ELSE_TO_DO_S = 4.0
"""What a machine may add that does other things, too. Without looking every moment it would take half a minute."""
TIMES = 5


def ask(gateway: GatewayProcess, method: str, path: str, token: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.origin}{path}", data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)


def seconds_until(gateway: GatewayProcess, token: str, status: int) -> float:
    """How long after now this gateway begins to answer a key so; given up after a minute."""
    begun = time.monotonic()
    while ask(gateway, "GET", "/v1/models", token)[0] != status:
        assert time.monotonic() - begun < 60.0
        time.sleep(0.01)
    return time.monotonic() - begun


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    with ExitStack() as stack:
        store = f"sqlite:///{tmp_path}/state.db"
        if request.param == "redis":
            store = stack.enter_context(running()).url
        environment = {"MOE_ADMIN_KEYS": ADMIN}
        made = [
            stack.enter_context(GatewayProcess(tmp_path / name, MODELS, store=store, environment=environment))
            for name in ("a", "b")
        ]
        yield made[0], made[1]


def test_a_revoked_key_ends_at_the_other_gateway_within_a_second(pair):
    here, there = pair
    opened, changed, ended = [], [], []
    for _ in range(TIMES):
        status, key = ask(here, "POST", "/admin/keys", ADMIN, {"name": "team"})
        assert status in {200, 201}, key
        token, name = key["token"], key["id"]
        opened.append(seconds_until(there, token, 200))
        assert ask(here, "POST", f"/admin/keys/{name}/rotate", ADMIN, {})[0] == 200
        changed.append(seconds_until(there, token, 401))
        status, key = ask(there, "POST", f"/admin/keys/{name}/rotate", ADMIN, {})
        seconds_until(here, key["token"], 200)
        assert ask(there, "DELETE", f"/admin/keys/{name}", ADMIN)[0] == 200
        assert ask(there, "GET", "/v1/models", key["token"])[0] == 401  # where it was revoked it ends at once
        ended.append(seconds_until(here, key["token"], 401))
    for spans in (opened, changed, ended):
        assert statistics.median(spans) < PROMISED_S + MUCH_ELSE_TO_DO_S, spans


@pytest.mark.redis
def test_a_revocation_arrives_although_nobody_is_told(tmp_path):
    """Events are lost, only the store's own record is there: looking now and then is the safety net."""
    with running() as server, ExitStack() as stack:
        environment = {"MOE_ADMIN_KEYS": ADMIN}
        here, there = (
            stack.enter_context(GatewayProcess(tmp_path / n, MODELS, store=server.url, environment=environment))
            for n in "ab"
        )
        _, key = ask(here, "POST", "/admin/keys", ADMIN, {})
        seconds_until(there, key["token"], 200)
        deafen(server)
        spans = []
        for _ in range(TIMES):
            _, key = ask(here, "POST", "/admin/keys", ADMIN, {})
            seconds_until(there, key["token"], 200)
            name = key["id"]
            assert ask(here, "DELETE", f"/admin/keys/{name}", ADMIN)[0] == 200
            spans.append(seconds_until(there, key["token"], 401))
        assert statistics.median(spans) < PROMISED_S + MUCH_ELSE_TO_DO_S, spans


def deafen(server: RedisServer) -> None:
    """Let every wake-up go nowhere and every logged event vanish."""
    assert server.command("ACL", "SETUSER", "default", "-publish", "-xadd", "-xrange").startswith(b"+OK")
