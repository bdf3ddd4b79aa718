"""Hints out of range, hints of neighbouring gateways that cannot be, and parameters that would steer the call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.http.headers import HINTS
from gateway.http.wire import STEERING
from tests.fakes.edge import CHAT, HELLO, Edge, assert_refused

pytestmark = pytest.mark.anyio


BAD_HINTS: dict[str, list[Any]] = {
    "task": ["nonsense", "", 5, [], True, "CODE_GENERATION"],
    "policy": ["no such policy", "nobody", "", 5, "x" * 257],
    "min_quality": [-0.1, 1.1, "much", "nan", "inf", True, [], "1e400", "0x1", "1_0", " 0.5", "٠"],
    "max_cost_usd": [0, -1, "free", "nan", "-inf", {}, "9" * 100],
    "max_latency_ms": [0, -5, "soon", "nan", "infinity", False],
    "prefer": ["a b", "", 5, ["alpha"], "é", "x" * 300, "a\tb"],
    "only": ["a b", 5, {"a": 1}, ["alpha", 5], ["x"] * 33, "nobody", ["../etc"], ",".join(["alpha"] * 33)],
    "exclude": ["nobody", [None], "a;b"],
    "diversity": ["yes", 1, "maybe", []],
    "fallbacks": ["nobody/none", 5, {}, [[]], "alpha"],
    "mode": ["parallel", "", 5, ["single"]],
    "critical": ["very", 1, []],
    "stream_recovery": ["retry", 5, True],
    "session": ["two words", 5, "", "x" * 257, "<script>"],
    "explain": ["please", 1],
    "tags": ["a b", 5, ["x"] * 33, "x" * 3000, ["<b>"]],
}


def test_every_hint_is_in_the_table():
    assert set(BAD_HINTS) == set(HINTS)


@pytest.mark.parametrize("hint", BAD_HINTS)
async def test_a_hint_that_cannot_be_is_refused_in_body_and_header(edge: Edge, hint: str):
    for value in BAD_HINTS[hint]:
        error = assert_refused(await edge.chat(router={hint: value}), 400, "invalid_hint")
        assert error["param"] == f"router.{hint}", (value, error)
        if isinstance(value, str) and value.isascii() and value.isprintable() and value == value.strip():
            name = f"x-router-{hint.replace('_', '-')}"
            error = assert_refused(await edge.chat({name: value}), 400, "invalid_hint")
            assert error["param"] == f"router.{hint}", (value, error)
    assert edge.calls == []


@pytest.mark.parametrize("hint", HINTS)
async def test_a_hint_with_control_characters_never_comes_back(edge: Edge, hint: str):
    for value in ("a\r\nset-cookie: x=1", "a\nb", "a\x00b", "a\x1b[31m"):
        seen = await edge.chat(router={hint: value})
        assert_refused(seen, 400, "invalid_hint")
        assert "set-cookie" not in seen.headers
    assert edge.calls == []


async def test_an_unknown_hint_is_named_with_those_there_are(edge: Edge):
    for seen in (
        await edge.chat(router={"prio": 1}),
        await edge.chat({"x-router-prio": "1"}),
        await edge.chat(router={"max_cost": 1}),
    ):
        error = assert_refused(seen, 400, "invalid_hint")
        assert "max_cost_usd" in error["message"]
    for router in ("cost", 5, ["cost"], True):
        assert_refused(await edge.chat(router=router), 400, "invalid_hint", "router")
    assert_refused(await edge.chat(router={"\r\n\x00" * 50: 1}), 400, "invalid_hint")
    assert edge.calls == []


NEIGHBOURS = [
    {"models": 5},
    {"models": ["nobody"]},
    {"models": [{"a": 1}]},
    {"fallbacks": [{"main": ["alpha/small"]}]},
    {"provider": "alpha"},
    {"provider": {"nonsense": 1}},
    {"provider": {"order": 5}},
    {"provider": {"only": ["nobody"]}},
    {"provider": {"ignore": [5]}},
    {"provider": {"allow_fallbacks": "no"}},
    {"provider": {"require_parameters": "perhaps"}},
    {"provider": {"sort": "beauty"}},
    {"provider": {"sort": ["price"]}},
    {"provider": {"max_price": 5}},
    {"provider": {"max_price": {"prompt": -1}}},
    {"provider": {"max_price": {"completion": "cheap"}}},
    {"session_id": 5},
    {"session_id": ["a"]},
]


@pytest.mark.parametrize("fields", NEIGHBOURS, ids=json.dumps)
async def test_a_neighbours_hint_that_cannot_be_is_refused(edge: Edge, fields: dict[str, Any]):
    assert_refused(await edge.chat(**fields), 400, "invalid_hint")
    assert edge.calls == []


# --- steering

MORE_STEERING = (
    "litellm_params",
    "litellm_metadata",
    "aws_access_key_id",
    "aws_bedrock_runtime_endpoint",
    "azure_endpoint",
    "vertex_project",
    "vertex_credentials",
    "s3_endpoint_url",
    "watsonx_api_base",
    "_skip_mcp_handler",
    "__class__",
)


@pytest.mark.parametrize("value", ["http://127.0.0.1:1/", {"a": "b"}, None, 5])
async def test_a_client_cannot_steer_the_call(edge: Edge, value: Any):
    for name in (*sorted(STEERING), *MORE_STEERING):
        assert_refused(await edge.chat(**{name: value}), 400, "forbidden_parameter", name)
    assert edge.calls == []
    await edge.assert_well()


async def test_no_header_or_query_chooses_where_a_call_goes(edge: Edge):
    headers = {
        "x-api-base": "http://127.0.0.1:1",
        "api-base": "http://127.0.0.1:1",
        "x-forwarded-host": "evil.example",
        "x-forwarded-for": "1.2.3.4",
        "forwarded": "host=evil.example",
        "x-original-url": "/admin/reload",
        "x-rewrite-url": "/admin/reload",
        "x-http-method-override": "DELETE",
        "x-litellm-api-base": "http://127.0.0.1:1",
        "openai-organization": "org-evil",
        "helicone-auth": "Bearer evil",
        "anthropic-beta": "evil",
        "cookie": "session=evil",
        "referer": "http://evil.example/",
        "user-agent": "evil/1.0",
    }
    seen = await edge.request(
        "POST",
        f"{CHAT}?api_base=http://127.0.0.1:1&api_key=x&model=beta/small",
        headers,
        json={"model": "main", "messages": HELLO},
    )
    assert seen.status == 200
    (call,) = edge.calls
    assert call is edge.providers["alpha"].requests[0]
    assert call.headers["authorization"] == "Bearer sk-not-a-real-key-of-alpha"
    assert not set(call.headers) & (set(headers) - {"user-agent"})
    assert "evil" not in json.dumps(call.row(), default=str)


async def test_what_is_ours_is_never_forwarded(edge: Edge):
    seen = await edge.chat(
        {"x-router-task": "code_generation", "x-session-id": "s"},
        router={"tags": ["team:a"], "session": "abc"},
        models=["beta/small"],
        provider={"sort": "price"},
        session_id="abc",
        user="somebody",
    )
    assert seen.status == 200, seen.body
    (call,) = edge.calls
    assert set(call.body) == {"model", "messages", "user"}
    assert not [name for name in call.headers if name.startswith("x-")]
