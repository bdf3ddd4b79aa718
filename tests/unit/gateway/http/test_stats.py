from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from starlette.testclient import TestClient

from gateway.http import stats
from gateway.http.tables import to_csv
from gateway.keys import KeyRing
from tests.fakes.outcomes import attempt, request
from tests.fakes.watched import World, make_app

NOW = 1_760_000_123.0
ADMIN, METRICS = "admin-key-0123456789", "metrics-key-0123456789"
ONE, TWO = "client-one-0123456789", "client-two-0123456789"


@pytest.fixture
def client() -> TestClient:
    keys = KeyRing(api_keys=[ONE, TWO], admin_keys=[ADMIN], metrics_keys=[METRICS])
    world = World(keys=keys, now=NOW)
    ids = {key: found.key_id for key in (ONE, TWO) if (found := keys.authenticate(key))}
    calls = [("openai/gpt-large", ONE), ("openai/gpt-large", TWO), ("groq/llama-fast", TWO)]
    for number, (deployment, key) in enumerate(calls):
        outcome = request(attempt(deployment, NOW), number=number, key_id=ids[key], tags=("=1+1",))
        world.observer.attempt(outcome.attempts[0])
        world.observer.request(outcome, {})
    for _ in range(8):
        failed = attempt("openai/gpt-large", NOW, failure="server")
        world.learner.attempt(failed, world.registry, world.policy)
    return TestClient(make_app(world), base_url="http://127.0.0.1")


def ask(client: TestClient, path: str, key: str = ADMIN) -> Any:
    return client.get(path, headers={"authorization": f"Bearer {key}"})


def get(client: TestClient, path: str, key: str = ADMIN) -> Any:
    answer = ask(client, path, key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_admin_sees_everybodys_traffic_and_a_client_its_own(client: TestClient):
    everybody = get(client, "/v1/stats/providers")["data"]
    assert {row["provider"]: row["requests"] for row in everybody} == {"openai": 2, "groq": 1}
    own = get(client, "/v1/stats/providers", ONE)
    assert [row["requests"] for row in own["data"]] == [1]
    assert own["summary"]["requests"] == 1
    keys = [row["name"] for row in get(client, "/v1/stats/costs", ONE)["data"] if row["group"] == "key"]
    assert len(keys) == 1
    assert len([row for row in get(client, "/v1/stats/costs")["data"] if row["group"] == "key"]) == 2


def test_a_client_learns_nothing_of_circuits_and_anomalies(client: TestClient):
    assert "breaker" not in get(client, "/v1/stats/deployments", ONE)["data"][0]
    assert get(client, "/v1/stats/anomalies", ONE)["data"] == []
    assert "pairs" not in get(client, "/v1/stats/win-rates", ONE)


@pytest.mark.parametrize("report", stats.REPORTS)
def test_nobody_reads_without_a_key_and_a_metrics_key_reads_metrics_only(client: TestClient, report: str):
    assert client.get(f"/v1/stats/{report}").status_code == 401
    assert ask(client, f"/v1/stats/{report}", "wrong").status_code == 401
    assert ask(client, f"/v1/stats/{report}", METRICS).status_code == 403


def test_breakers_stand_beside_providers_and_deployments(client: TestClient):
    rows = {row["provider"]: row for row in get(client, "/v1/stats/providers")["data"]}
    assert rows["openai"]["breaker"] == {"state": "open", "open": 1, "deployments": 2}
    assert rows["groq"]["breaker"]["state"] == "closed"
    found = {row["deployment"]: row["breaker"] for row in get(client, "/v1/stats/deployments")["data"]}
    assert found["openai/gpt-large"]["state"] == "open"
    assert found["openai/gpt-large"]["reason"] == "server"


@pytest.mark.parametrize("report", stats.REPORTS)
@pytest.mark.parametrize("window", stats.WINDOWS)
def test_every_report_answers_in_every_window_and_format(client: TestClient, report: str, window: str):
    found = get(client, f"/v1/stats/{report}?window={window}")
    assert found["object"] == "list"
    assert found["window"] == window
    answer = ask(client, f"/v1/stats/{report}?window={window}&format=csv")
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
    answer = ask(client, f"/v1/stats/providers?{query}")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert "fortnight" not in error["message"]
    assert "cooking" not in error["message"]


def test_a_spreadsheet_runs_no_formula(client: TestClient):
    text = ask(client, "/v1/stats/costs?format=csv").text
    assert "'=1+1" in text
    for value in ("=cmd", "+1", "-1", "@SUM(A1)", "\tx", "\rx"):
        cell = next(csv.reader(io.StringIO(to_csv([{"a": value}]).split("\r\n", 1)[1], newline="")))[0]
        assert cell == "'" + value
    assert to_csv([{"a": -1.5, "b": True, "c": None}]) == "a,b,c\r\n-1.5,true,\r\n"


def test_nested_rows_become_columns_and_missing_ones_stay_empty():
    rows = [{"a": {"x": 1, "y": None}, "l": ["p", "q"]}, {"a": {"z": 2}}]
    assert to_csv(rows) == "a.x,a.y,l,a.z\r\n1,,p q,\r\n,,,2\r\n"


@pytest.mark.parametrize("key", [METRICS, ADMIN])
def test_metrics_are_for_the_metrics_key_and_for_admins(client: TestClient, key: str):
    answer = ask(client, "/metrics", key)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["cache-control"] == "no-store"
    assert 'moe_gateway_breaker_state{deployment="openai/gpt-large",provider="openai",state="open"} 1.0' in answer.text


def test_metrics_are_for_nobody_else(client: TestClient):
    assert client.get("/metrics").status_code == 401
    assert ask(client, "/metrics", ONE).status_code == 403
