from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from gateway.clock import ManualClock
from gateway.http import metrics, stats
from gateway.http.live import Live, LiveDeployment
from gateway.http.tables import to_csv
from gateway.observe.observer import Observer
from tests.fakes.outcomes import attempt, request

NOW = 1_760_000_123.0


class Key:
    def __init__(self, key_id: str, *, admin: bool) -> None:
        self.key_id = key_id
        self.admin = admin


def principal(request: Request) -> Key:
    name = request.headers.get("authorization", "")
    return Key(name, admin=name == "boss")


@pytest.fixture
def client() -> TestClient:
    watcher = Observer(clock=ManualClock(time=NOW))
    for number, (deployment, key) in enumerate([("acme/m1", "k1"), ("acme/m1", "k2"), ("beta/m2", "k2")]):
        outcome = request(attempt(deployment, NOW), number=number, key_id=key, tags=("=1+1",))
        watcher.attempt(outcome.attempts[0])
        watcher.request(outcome, {})
    live = Live((LiveDeployment("acme/m1", "acme", "m1", state="open"), LiveDeployment("acme/m9", "acme", "m9")))
    app = FastAPI()
    app.include_router(stats.routes(principal, lambda _: watcher, lambda _: live))
    app.include_router(metrics.routes(principal, lambda _: b"up 1\n"))
    return TestClient(app)


def get(client: TestClient, path: str, key: str = "boss") -> Any:
    answer = client.get(path, headers={"authorization": key})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_admin_sees_everybodys_traffic_and_a_client_its_own(client: TestClient):
    assert [row["requests"] for row in get(client, "/v1/stats/providers")["data"]] == [2, 1]
    assert [row["requests"] for row in get(client, "/v1/stats/providers", "k1")["data"]] == [1]
    assert [row["name"] for row in get(client, "/v1/stats/costs", "k1")["data"] if row["group"] == "key"] == ["k1"]
    assert get(client, "/v1/stats/providers", "stranger")["data"] == []


def test_breakers_stand_beside_providers_and_deployments(client: TestClient):
    acme, beta = get(client, "/v1/stats/providers")["data"]
    assert acme["breaker"] == {"state": "open", "open": 1, "deployments": 2}
    assert beta["breaker"] is None
    assert get(client, "/v1/stats/deployments")["data"][0]["breaker"]["state"] == "open"


@pytest.mark.parametrize("report", stats.REPORTS)
@pytest.mark.parametrize("window", stats.WINDOWS)
def test_every_report_answers_in_every_window_and_format(client: TestClient, report: str, window: str):
    found = get(client, f"/v1/stats/{report}?window={window}")
    assert found["object"] == "list"
    assert found["window"] == window
    answer = client.get(f"/v1/stats/{report}?window={window}&format=csv", headers={"authorization": "boss"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert f"{report}-{window}.csv" in answer.headers["content-disposition"]
    assert len(list(csv.reader(io.StringIO(answer.text)))) == 1 + len(found["data"]) or not found["data"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("window=fortnight", "window"),
        ("window=", "window"),
        ("format=xml", "format"),
        ("task=cooking", "task"),
        ("provider=a b", "provider"),
        ("provider=" + "a" * 300, "provider"),
        ("windows=day", "query"),
        ("window=day&window=hour", "window"),
    ],
)
def test_a_bad_parameter_is_a_400_that_names_it_and_echoes_nothing(client: TestClient, query: str, param: str):
    answer = client.get(f"/v1/stats/providers?{query}", headers={"authorization": "boss"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert "fortnight" not in error["message"]
    assert "cooking" not in error["message"]


def test_a_spreadsheet_runs_no_formula(client: TestClient):
    text = client.get("/v1/stats/costs?format=csv", headers={"authorization": "boss"}).text
    assert "'=1+1" in text
    for value in ("=cmd", "+1", "-1", "@SUM(A1)", "\tx", "\rx"):
        cell = next(csv.reader(io.StringIO(to_csv([{"a": value}]).split("\r\n", 1)[1], newline="")))[0]
        assert cell == "'" + value
    assert to_csv([{"a": -1.5, "b": True, "c": None}]) == "a,b,c\r\n-1.5,true,\r\n"


def test_nested_rows_become_columns_and_missing_ones_stay_empty():
    rows = [{"a": {"x": 1, "y": None}, "l": ["p", "q"]}, {"a": {"z": 2}}]
    assert to_csv(rows) == "a.x,a.y,l,a.z\r\n1,,p q,\r\n,,,2\r\n"


def test_metrics_are_given_as_text_that_no_cache_keeps(client: TestClient):
    answer = client.get("/metrics")
    assert answer.text == "up 1\n"
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["cache-control"] == "no-store"
