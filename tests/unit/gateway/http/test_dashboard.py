from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from gateway.dashboard.assets import load
from gateway.http.dashboard import _events, status_of
from gateway.keys import KeyRing
from gateway.observe.feed import MAX_WATCHERS
from tests.fakes.outcomes import attempt
from tests.fakes.watched import World, make_app

NOW = 1_760_000_123.0
ADMIN, CLIENT = "admin-key-0123456789", "client-key-0123456789"
STATIC = Path(__file__).parents[4] / "gateway" / "dashboard" / "static"
OWN = [path for path in STATIC.rglob("*") if path.is_file() and "vendor" not in path.parts]


@pytest.fixture(scope="module")
def world() -> World:
    made = World(keys=KeyRing(api_keys=[CLIENT], admin_keys=[ADMIN]), now=NOW)
    made.run(count=200)
    return made


@pytest.fixture(scope="module")
def client(world: World) -> TestClient:
    return TestClient(make_app(world), base_url="http://127.0.0.1")


def get(client: TestClient, path: str, key: str = ADMIN) -> Any:
    return client.get(path, headers={"authorization": f"Bearer {key}"})


@pytest.mark.parametrize("path", ["", "/", *(f"/{name}" for name in load())])
def test_every_file_of_the_page_is_served_with_a_strict_policy(client: TestClient, path: str):
    answer = client.get(f"/dashboard{path}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = client.get(f"/dashboard{path}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["x.js", "../assets.py", "%2e%2e/assets.py", "js/../../assets.py", "js//main.js", "..%2fassets.py", "js"]
)
def test_no_other_file_is_served(client: TestClient, path: str):
    answer = client.get(f"/dashboard/{path}")
    assert answer.status_code == 404
    assert b"load()" not in answer.content


@pytest.mark.parametrize("path", ["data/status", "data/decisions", "data/learning", "events"])
def test_data_is_for_admins(client: TestClient, path: str):
    assert client.get(f"/dashboard/{path}").status_code == 401
    assert get(client, f"/dashboard/{path}", CLIENT).status_code == 403


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_is_inline_and_no_text_becomes_markup(path: Path):
    text = path.read_text()
    assert not re.search(r"\bon\w+\s*=\s*[\"']|\sstyle=|<style|javascript:", text) or path.suffix in {".js", ".css"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    assert "<script>" not in text


def test_the_vendored_library_keeps_its_licence():
    assert "MIT" in (STATIC / "vendor" / "uplot" / "LICENSE").read_text()


def test_the_status_names_policies_tasks_and_every_deployment(client: TestClient, world: World):
    found = get(client, "/dashboard/data/status").json()
    assert found["policies"]["balanced"]["quality"] == 1.0
    assert "code_generation" in found["tasks"]
    assert {each["id"] for each in found["deployments"]} == set(world.registry.deployments)


def test_the_status_shows_open_circuits_and_when_they_are_tried_again():
    other = World(now=NOW)
    for _ in range(6):
        failed = attempt("groq/llama-fast", NOW, failure="server")
        other.learner.attempt(failed, other.registry, other.policy)
    found = {each["id"]: each for each in status_of(other.services)["deployments"]}
    assert found["groq/llama-fast"]["state"] == "open"
    assert 0 < found["groq/llama-fast"]["retry_in_s"] <= 60
    assert found["openai/gpt-mini"]["retry_in_s"] is None


def test_a_decision_is_explained_whole(client: TestClient):
    rows = get(client, "/dashboard/data/decisions").json()["data"]
    assert len(rows) == 100
    newest = rows[0]
    assert newest["at"] == max(row["at"] for row in rows)
    assert set(newest["ranking"][0]["terms"]) >= {"quality", "cost", "performance", "learning", "task_preference"}
    assert newest["attempts"][0]["deployment"]
    assert newest["rationale"]


def test_learning_shows_priors_and_what_became_of_them(client: TestClient):
    found = get(client, "/dashboard/data/learning").json()
    rows = {(row["deployment"], row["task"]): row for row in found["data"]}
    assert all(row["low"] <= row["quality"] <= row["high"] for row in rows.values())
    assert any(row["rewards"] > 0 and row["quality"] != row["prior"] for row in rows.values())
    assert all(row["low"] <= row["mean"] <= row["high"] for row in found["calibration"])
    assert found["calibration"]


@pytest.mark.anyio
async def test_the_feed_begins_with_the_moment_and_goes_on_with_decisions():
    world = World(now=NOW)
    feed = _events(world.services)
    first = await anext(feed)
    assert first.startswith(b"event: status\ndata: {")
    assert b"groq/llama-fast" in first
    task = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    world.one()
    told = await task
    assert told.startswith((b"event: decision\n", b"event: status\n"))
    await feed.aclose()
    assert not world.observer.feed.watched


@pytest.mark.anyio
async def test_the_feed_says_when_a_circuit_opens_and_ends_when_the_gateway_drains(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.http.dashboard._IDLE_S", 0.01)
    world = World(now=NOW)
    feed = _events(world.services)
    await anext(feed)
    for _ in range(6):
        world.learner.attempt(attempt("groq/llama-fast", NOW, failure="server"), world.registry, world.policy)
    assert b'"state":"open"' in await anext(feed)
    world.services.admission.draining = True
    async with asyncio.timeout(60):
        rest = [event async for event in feed]
    assert len(rest) <= 2


def test_only_so_many_dashboards_are_fed(client: TestClient, world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(world.observer.feed, "_watchers", set(range(MAX_WATCHERS)))
    answer = get(client, "/dashboard/events")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "too_many_watchers"


def test_the_moment_holds_no_secret_and_no_prompt(world: World):
    text = str(status_of(world.services))
    assert ADMIN not in text
    assert "127.0.0.1:9" not in text
