"""``docs/api.md`` names what the code has: addresses, hints, headers, codes, fields of a vote."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.routing import APIRoute

from gateway.http.asgi import CHAT, browsed
from gateway.http.headers import HINTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
SOURCES = [path for path in (ROOT / "gateway").rglob("*.py") if "demo" not in path.parts and "cli" not in path.parts]
OPERATORS = ("/admin", "/dashboard", "/v1/experiments")
"""Addresses that have pages of their own."""


def test_every_hint_is_there_as_header_and_in_the_body():
    table = PAGE.partition("## Hints")[2].partition("## Answers")[0]
    assert {name for name in HINTS if f"`x-router-{name.replace('_', '-')}`" not in table} == set()
    assert {name for name in HINTS if f"`{name}`" not in table} == set()
    known = {f"x-router-{name.replace('_', '-')}" for name in HINTS}
    assert set(re.findall(r"`(x-router-[a-z-]+)`", table)) == known


def test_every_header_of_an_answer_is_there_and_no_other():
    table = PAGE.partition("## Answers")[2].partition("## Errors")[0]
    sent = {
        found
        for name in ("reply.py", "pipeline.py", "http/chat.py", "http/asgi.py")
        for found in re.findall(r'b?"(x-router-[a-z-]+)"', (ROOT / "gateway" / name).read_text(encoding="utf-8"))
    }
    assert len(sent) > 10
    assert set(re.findall(r"`(x-router-[a-z-]+)`", table)) == sent


def test_every_client_address_is_there():
    table = PAGE.partition("## Addresses")[2].partition("## Hints")[0]
    waiting = list(browsed(SimpleNamespace()).routes)  # type: ignore[arg-type]
    paths = {CHAT}
    while waiting:
        route = waiting.pop()
        included = getattr(route, "original_router", None)
        if included is not None:
            waiting += included.routes
        elif isinstance(route, APIRoute) and not route.path.startswith(OPERATORS):
            paths.add(route.path.replace("{name:path}", "{name}"))
    assert len(paths) > 12
    shown = table.replace("`/", "`/v1/stats/")
    assert {path for path in paths if path not in table and f"`{path}`" not in shown} == set()


def test_every_code_of_a_client_s_error_is_there():
    sent: set[str] = set()
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        sent |= set(re.findall(r'ApiError\(\s*\d{3},\s*(?:f?"[^"\n]*"|\w+),\s*"([a-z_]+)"', text))
        sent |= set(re.findall(r'Refusal\(\d{3}, "([a-z_]+)"', text))
        sent |= set(re.findall(r'invalid\([^()]*"((?:invalid|forbidden)_[a-z_]+)"', text))
    of_operators = {"deployment_not_found", "invalid_config", "invalid_state", "store_unavailable", "too_many_watchers"}
    of_operators |= {code for code in sent if code.startswith(("experiment_", "key_"))}
    assert len(sent) > 25
    errors = PAGE.partition("## Errors")[2]
    assert {
        code for code in sent - of_operators if f"`{code}`" not in errors and not code.startswith("provider_")
    } == set()


@pytest.mark.parametrize(
    "name", ["decision_id", "score", "rating", "outcome", "pr_merged", "pr_reverted", "label", "correction", "source"]
)
def test_every_field_of_a_vote_is_there(name: str):
    assert f"`{name}`" in PAGE.partition("## Feedback")[2]
