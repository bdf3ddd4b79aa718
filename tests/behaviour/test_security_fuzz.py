"""Every browsed route, fed by its own OpenAPI document and by chance: refusals at most, never a failure of ours."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case

from gateway.http.asgi import browsed
from tests.fakes.edge import ADMIN, Edge, bearer

ENDLESS = ("/dashboard/events",)
DOCUMENT = browsed(SimpleNamespace()).openapi()  # type: ignore[arg-type]
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=list(ENDLESS))
ROUTES = sorted(
    (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods if path not in ENDLESS
)


@SCHEMA.parametrize()
@settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
def test_what_the_document_allows_and_forbids_is_answered(keyed_edge: Edge, case: Case):
    answer = case.call(base_url=keyed_edge.gateway.origin, headers=bearer(ADMIN), timeout=20)
    assert answer.status_code < 500, answer.text
    assert answer.headers["x-request-id"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
VOTE = ("decision_id", "score", "rating", "outcome", "source", "label")
KEY = ("name", "models", "tasks", "budgets", "limits", "hints", "policy", "tags", "expires_at", "capture", "grace_s")
TRIAL = ("arms", "share", "metric", "reason", "min_samples")
NAMES = st.sampled_from([*VOTE, *KEY, *TRIAL, "model", "messages", "router"])
BODIES = st.dictionaries(NAMES, JSON, max_size=5).map(lambda body: json.dumps(body).encode()) | st.binary(max_size=60)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30)
QUERY = st.lists(st.tuples(st.sampled_from(["window", "format", "task", "provider", "x"]), WORDS), max_size=3)


@pytest.mark.anyio
@given(
    route=st.sampled_from(ROUTES),
    word=WORDS,
    query=QUERY,
    body=BODIES,
    range_=st.text("0123456789-=bytes,", max_size=12),
)
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_anything_else_is_answered_too(
    keyed_edge: Edge, route: tuple[str, str], word: str, query: list[tuple[str, str]], body: bytes, range_: str
):
    method, path = route
    for name in ("{name:path}", "{path:path}", "{name}", "{path}", "{key_id}", "{action}"):
        path = path.replace(name, quote(word, safe=""))
    asked = "&".join(f"{quote(name)}={quote(value)}" for name, value in query)
    headers: dict[str, Any] = {"Content-Type": "application/json", "Range": range_, "If-None-Match": range_}
    seen = await keyed_edge.request(
        method, f"{path}?{asked}", {**headers, **bearer(ADMIN)}, data=body if method != "GET" else None
    )
    assert seen.status < 500, (method, path, asked, body, seen.body)
    assert seen.headers["x-request-id"]


@pytest.mark.anyio
async def test_after_all_this_the_gateway_is_well(keyed: Edge):
    await keyed.heal()
    await keyed.assert_well()
    assert "Traceback" not in keyed.gateway.log.read_text()
