"""Anything at all that JSON can say: an answer or a refusal, never a failure of ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.http.fields import FIELDS
from gateway.http.headers import HINTS
from tests.fakes.edge import CHAT, Edge, assert_refused

pytestmark = pytest.mark.anyio


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "function", "developer", "x"])
MESSAGE = st.fixed_dictionaries(
    {"role": ROLES | JSON, "content": st.text(max_size=20) | JSON},
    optional={"tool_calls": JSON, "name": JSON, "tool_call_id": JSON, "function_call": JSON, "refusal": JSON},
)
NAMES = st.sampled_from(
    [*FIELDS, "tools", "functions", "router", "provider", "models", "fallbacks", "session_id", "thinking", "x-unknown"]
)
BODY = st.builds(
    lambda base, more: {**base, **more},
    st.fixed_dictionaries({"model": st.just("main") | JSON, "messages": st.lists(MESSAGE, max_size=3) | JSON}),
    st.dictionaries(NAMES, JSON, max_size=4),
)


@given(body=BODY)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_nothing_a_client_can_say_is_our_failure(open_edge: Edge, body: dict[str, Any]):
    seen = await open_edge.request("POST", CHAT, json=body)
    assert seen.status < 500, (body, seen.body)
    if seen.status != 200:
        assert_refused(seen, seen.status)


ROUTER = st.dictionaries(st.sampled_from([*HINTS, "x"]), JSON, max_size=4)
PROVIDER = st.dictionaries(
    st.sampled_from(["order", "only", "ignore", "allow_fallbacks", "require_parameters", "sort", "max_price"]),
    JSON,
    max_size=3,
)


@given(router=ROUTER, provider=PROVIDER, models=JSON, session=JSON)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_no_hint_is_our_failure(
    open_edge: Edge, router: dict[str, Any], provider: dict[str, Any], models: Any, session: Any
):
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}], "router": router, "provider": provider}
    seen = await open_edge.request("POST", "/v1/route", json={**body, "models": models, "session_id": session})
    assert seen.status < 500, (body, seen.body)
    if seen.status != 200:
        assert_refused(seen, seen.status)
