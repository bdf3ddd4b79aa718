"""Canary secrets are planted in every place that has one, providers echo theirs wherever they can, and nobody sees any."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.fakes.edge import ADMIN, CHAT, CLIENT, OTHER_CLIENT, PROVIDER_KEYS, SCRAPER, Edge, bearer

pytestmark = pytest.mark.anyio

KEY = PROVIDER_KEYS["alpha"]
CANARIES = (*PROVIDER_KEYS.values(), CLIENT, OTHER_CLIENT, ADMIN, SCRAPER)
SPOKEN = f"Incorrect API key provided: {KEY}. Authorization: Bearer {KEY}; url https://odd-host.example/?key={KEY}&a=b"
ECHOES: dict[str, dict[str, Any]] = {
    **{
        kind: {"kind": kind, "message": SPOKEN, "headers": {"x-echo": KEY, "set-cookie": f"a={KEY}"}}
        for kind in (
            "auth",
            "permission",
            "billing",
            "model_not_found",
            "bad_request",
            "unprocessable",
            "conflict",
            "too_large",
            "rate_limit",
            "insufficient_quota",
            "server_error",
            "unavailable",
            "overloaded",
            "context_length_exceeded",
            "content_filter",
            "request_timeout",
            "error_object_200",
            "error_event_first",
            "error_event_after",
        )
    },
    "rate_limit": {"kind": "rate_limit", "message": SPOKEN, "retry_after": 3600, "headers": {"x-echo": KEY}},
    "code and param": {"kind": "bad_request", "message": KEY, "code": KEY, "param": KEY},
    "plain text": {"kind": "status", "status": 400, "body": f"no such key {KEY}"},
    "a trace": {"kind": "status", "status": 500, "body": f'Traceback: File "/srv/app.py", key={KEY}'},
    "odd JSON": {"kind": "status", "status": 400, "body": json.dumps({"detail": [{"loc": [KEY], "msg": SPOKEN}]})},
    "inside of inside": {
        "kind": "status",
        "status": 422,
        "body": json.dumps({"error": {"message": SPOKEN, "innererror": {"code": KEY}, "metadata": {"raw": KEY}}}),
    },
    "no JSON with 200": {"kind": "status", "status": 200, "body": f"<html>{KEY}</html>"},
    "headers of a good answer": {"kind": "leak_headers", "headers": {"x-echo": KEY, "openai-organization": KEY}},
    "redirect": {"kind": "redirect", "location": f"http://127.0.0.1:1/?key={KEY}"},
    "HTML": {"kind": "html", "body": f"<h1>{KEY}</h1>"},
}


def assert_clean(what: str, text: str) -> None:
    for canary in CANARIES:
        for form in (canary, canary.upper(), quote(canary, safe=""), base64.b64encode(canary.encode()).decode()[:-3]):
            assert form not in text, f"{what} shows {canary!r}: …{text[max(0, text.find(form) - 200) :][:500]}"


@pytest.mark.parametrize("name", ECHOES)
async def test_what_a_provider_echoes_stays_behind(keyed: Edge, name: str):
    for stream in (False, True):
        await keyed.heal()
        for provider in keyed.providers.values():
            provider.fail(times=None, **ECHOES[name])
        seen = await keyed.chat(stream=stream, router={"explain": True})
        text = seen.body.decode()
        assert_clean(name, f"{seen.headers}\n{text}")
        for word in ("odd-host", "127.0.0.1", "Traceback", "/srv/", "x-echo"):
            assert word not in f"{text}\n{seen.headers}", text
        assert "set-cookie" not in seen.headers
        first = keyed.calls[0]
        assert KEY in first.headers["authorization"]  # it was there to be echoed
        decision = seen.headers.get("x-router-decision-id")
        assert decision is not None
        record = await keyed.request("GET", f"/v1/decisions/{decision}")
        assert record.status == 200
        assert_clean("the decision", record.body.decode())


async def test_an_address_that_cannot_be_reached_is_not_told(keyed: Edge):
    await keyed.heal()
    for provider in keyed.providers.values():
        await provider.stop()
    try:
        for stream in (False, True):
            seen = await keyed.chat(stream=stream, router={"explain": True})
            assert seen.status in {502, 503}
            for provider in keyed.providers.values():
                assert str(provider.port) not in seen.body.decode()
            assert "127.0.0.1" not in seen.body.decode()
    finally:
        for provider in keyed.providers.values():
            await provider.start()
        await keyed.heal()
    await keyed.assert_well()


async def test_what_a_client_puts_in_odd_places_is_not_shown(keyed: Edge):
    for secret in (CLIENT, ADMIN, KEY):
        for seen in (
            await keyed.chat(model=secret),
            await keyed.chat(router={secret: 1}),
            await keyed.chat(router={"only": [secret]}),
            await keyed.chat({"x-router-prefer": secret, "x-router-nonsense": secret}),
            await keyed.chat(messages=[{"role": secret, "content": ""}]),
            await keyed.chat(provider={secret: 1}),
            await keyed.chat(**{f"aws_{secret}": 1}),
            await keyed.request("GET", f"/v1/models/{secret}"),
            await keyed.request("GET", f"/v1/{secret}"),
            await keyed.request("GET", f"/v1/stats/costs?{secret}=1"),
            await keyed.request("POST", "/v1/feedback", json={secret: 1}),
            await keyed.send(b'{"' + secret.encode() + b'": 1, "' + secret.encode() + b'": 2}'),
        ):
            assert seen.status >= 400
            assert_clean("a refusal", seen.body.decode())
    assert keyed.calls == []


SURFACES = (
    *(
        f"/v1/stats/{name}?window=all"
        for name in ("providers", "deployments", "tasks", "costs", "win-rates", "anomalies")
    ),
    *(f"/v1/stats/{name}?window=all&format=csv" for name in ("providers", "deployments", "costs", "timeline")),
    "/metrics",
    "/dashboard/data/status",
    "/dashboard/data/decisions",
    "/dashboard/data/learning",
    "/admin/breakers",
    "/admin/keys",
    "/v1/models",
    "/readyz",
    "/dashboard",
)


async def test_a_healed_gateway_is_well(keyed: Edge):
    await keyed.heal()
    await keyed.assert_well()


async def test_no_surface_and_no_log_shows_a_secret_after_all_this(keyed: Edge):
    for fault in ECHOES.values():
        await keyed.heal()
        keyed.providers["alpha"].fail(**fault)
        await keyed.chat(user=CLIENT, metadata={"token": CLIENT}, router={"tags": ["team:a"]})
    await keyed.request("POST", CHAT, bearer("moe-wrong-" + "x" * 20), json={})
    await asyncio.sleep(0.3)  # statistics and log lines follow in their own time
    for path in SURFACES:
        seen = await keyed.request("GET", path, bearer(ADMIN))
        assert seen.status == 200, (path, seen.body)
        assert_clean(path, f"{seen.headers}\n{seen.body.decode()}")
    async with keyed.session.get(f"{keyed.gateway.origin}/dashboard/events", headers=bearer(ADMIN)) as feed:
        found = await feed.content.readany()  # it begins with the moment; what comes from now on is heard
        task = asyncio.create_task(keyed.chat())
        async with asyncio.timeout(60):
            while b"event: decision" not in found:
                found += await feed.content.readany()
        await task
    assert_clean("the feed", found.decode())
    log = keyed.gateway.log.read_text()
    assert "gateway.request" in log or "request" in log
    assert_clean("the log", log)


async def test_no_prompt_and_no_answer_is_kept(keyed: Edge):
    await keyed.heal()
    asked, answered = "the prompt about the purple walrus", "an answer about the golden pelican"
    keyed.providers["alpha"].answer(answered)
    tool = {"type": "function", "function": {"name": "purple_walrus_tool", "parameters": {}}}
    seen = await keyed.chat(
        messages=[{"role": "system", "content": asked}, {"role": "user", "content": asked}],
        tools=[tool],
        user="purple walrus",
        metadata={"about": "purple walrus"},
        router={"explain": True},
    )
    assert answered in seen.body.decode()
    assert "walrus" not in json.dumps(seen.json["router"])
    await asyncio.sleep(0.3)
    for path in (*SURFACES, f"/v1/decisions/{seen.headers['x-router-decision-id']}"):
        body = (await keyed.request("GET", path, bearer(ADMIN))).body.decode()
        assert "walrus" not in body, path
        assert "pelican" not in body, path
    log = keyed.gateway.log.read_text()
    assert "walrus" not in log
    assert "pelican" not in log


async def test_what_clients_say_becomes_no_label_of_a_metric(keyed: Edge):
    await keyed.heal()
    await keyed.chat(
        {"x-request-id": "label-canary"},
        user="label-canary",
        router={"tags": ["label-canary"], "session": "label-canary"},
    )
    await keyed.chat(model="label-canary")
    await keyed.request("GET", "/v1/label-canary")
    await asyncio.sleep(0.3)
    text = (await keyed.request("GET", "/metrics", bearer(SCRAPER))).body.decode()
    assert "alpha/small" in text
    assert "label-canary" not in text


async def test_a_reloaded_configuration_that_is_broken_shows_no_value(keyed: Edge):
    path = keyed.gateway.folder / "models.yaml"
    good = path.read_text()
    path.write_text(good.replace("wire: openai", f"wire: openai\n    {KEY}: {KEY}", 1))
    try:
        seen = await keyed.request("POST", "/admin/reload", bearer(ADMIN))
    finally:
        path.write_text(good)
    assert seen.status == 400
    assert_clean("a reload", seen.body.decode())
    assert (await keyed.request("POST", "/admin/reload", bearer(ADMIN))).status == 200


async def test_a_new_key_is_in_one_answer_only(keyed: Edge):
    made = await keyed.request("POST", "/admin/keys", bearer(ADMIN), json={"name": "team"})
    assert made.status == 200, made.body
    token, key_id = made.json["token"], made.json["id"]
    assert (await keyed.request("GET", "/v1/models", bearer(token))).status == 200
    assert (await keyed.chat(bearer(token))).status == 200
    await asyncio.sleep(0.2)
    for path in SURFACES:
        assert token not in (await keyed.request("GET", path, bearer(ADMIN))).body.decode(), path
    assert token not in keyed.gateway.log.read_text()
    gone = await keyed.request("DELETE", f"/admin/keys/{key_id}", bearer(ADMIN))
    assert gone.status == 200
    assert (await keyed.request("GET", "/v1/models", bearer(token))).status == 401
