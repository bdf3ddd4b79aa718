"""A/B tests through a running gateway: made, started, measured, stopped; and nothing of it without an admin key."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.edge import ADMIN, CLIENT, OTHER_CLIENT, POLICY, Edge, assert_refused, bearer, running_edge

pytestmark = pytest.mark.anyio
PATH = "/v1/experiments"
TWO_ARMS = [{"name": "now", "deployment": "alpha/small"}, {"name": "new", "deployment": "beta/small"}]


@pytest.fixture(scope="module")
async def running(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    environment = {"MOE_API_KEYS": f"{CLIENT},{OTHER_CLIENT}", "MOE_ADMIN_KEYS": ADMIN}
    policy = {**POLICY, "exploration": {"share": 0, "probe_share": 0}}
    async with running_edge(
        tmp_path_factory.mktemp("experiments"),
        policy=policy,
        environment=environment,
        keys=bearer(CLIENT),
        admin=bearer(ADMIN),
    ) as edge:
        yield edge


@pytest.fixture
async def edge(running: Edge) -> AsyncIterator[Edge]:
    """The gateway with nothing wrong, and no experiment running after the test."""
    running.reset()
    yield running
    for each in (await operate(running, "GET")).json["data"]:
        if each["state"] == "running":
            await operate(running, "POST", f"/{each['id']}/conclude")


async def operate(edge: Edge, method: str, path: str = "", **body: Any) -> Any:
    more = {"json": body} if body else {}
    return await edge.request(method, PATH + path, edge.admin, **more)


async def started(edge: Edge, **wishes: Any) -> str:
    made = await operate(edge, "POST", **{"name": "a test", "arms": TWO_ARMS, "min_samples": 20, **wishes})
    assert made.status == 201, made.body
    assert made.json["state"] == "draft"
    begun = await operate(edge, "POST", f"/{made.json['id']}/start")
    assert begun.json["state"] == "running", begun.body
    return str(made.json["id"])


async def sessions(edge: Edge, count: int, *, model: str = "auto", **more: Any) -> list[Any]:
    return [await edge.chat({"x-router-session": f"s{number}"}, model=model, **more) for number in range(count)]


async def sessions_in_both_arms(edge: Edge, least: int) -> list[Any]:
    """Ask until each arm has been given so many sessions: chance gives one of them more than the other."""
    answers: list[Any] = []
    while min(Counter(each.headers["x-router-arm"] for each in answers)[arm] for arm in ("now", "new")) < least:
        assert len(answers) < 20 * least, "one of the arms is given next to nobody"
        answers.append(await edge.chat({"x-router-session": f"s{len(answers)}"}, model="auto"))
    return answers


async def test_units_are_spread_over_the_arms_and_stay_where_they_are(edge: Edge):
    name = await started(edge)
    first, second = await sessions(edge, 24), await sessions(edge, 24)
    arms = [answer.headers["x-router-arm"] for answer in first]
    assert arms == [answer.headers["x-router-arm"] for answer in second]
    assert set(arms) == {"now", "new"}
    for answer in first:
        assert answer.headers["x-router-experiment"] == name
        wanted = {"now": "alpha/small", "new": "beta/small"}[answer.headers["x-router-arm"]]
        assert answer.headers["x-router-deployment"] == wanted
    report = (await operate(edge, "GET", f"/{name}")).json
    booked = {arm["name"]: arm for arm in report["arms"]}
    assert {arm: row["n"] for arm, row in booked.items()} == {arm: 2 * n for arm, n in Counter(arms).items()}
    for row in booked.values():
        assert row["success"]["mean"] == 1.0
        assert row["cost_usd"]["mean"] > 0.0
        assert row["latency_ms"]["mean"] > 0.0
        assert row["reward"] is None


async def test_streams_count_like_whole_answers(edge: Edge):
    name = await started(edge)
    await sessions(edge, 6, stream=True)
    report = (await operate(edge, "GET", f"/{name}")).json
    assert sum(arm["n"] for arm in report["arms"]) == 6


async def test_the_decision_tells_the_arm_and_what_was_asked_for(edge: Edge):
    name = await started(edge)
    answer = await edge.chat({"x-router-explain": "true"}, model="auto", user="somebody")
    told = {"id": name, "arm": answer.headers["x-router-arm"], "model": "auto"}
    assert answer.json["router"]["experiment"] == told
    path = f"/v1/decisions/{answer.headers['x-router-decision-id']}"
    assert (await edge.request("GET", path)).json["experiment"] == told


async def test_the_users_name_sticks_where_there_is_no_session(edge: Edge):
    await started(edge)
    arms = {}
    for _ in range(2):
        for number in range(40):
            answer = await edge.chat(model="auto", user=f"user-{number}")
            assert arms.setdefault(number, answer.headers["x-router-arm"]) == answer.headers["x-router-arm"]
    assert set(arms.values()) == {"now", "new"}


@pytest.mark.parametrize(
    "request_",
    [
        {"model": "main"},
        {"model": "alpha/small"},
        {"model": "auto", "router": {"mode": "first_success"}},
        {"model": "auto", "router": {"exclude": ["beta"]}},
        {"model": "auto", "router": {"only": ["alpha"]}},
    ],
    ids=str,
)
async def test_who_named_something_else_takes_no_part(edge: Edge, request_: dict[str, Any]):
    await started(edge)
    answer = await edge.chat(**request_)
    assert answer.status == 200, answer.body
    assert "x-router-experiment" not in answer.headers


async def test_an_experiment_on_a_route_is_for_that_route(edge: Edge):
    name = await started(edge, route="main")
    assert (await edge.chat()).headers["x-router-experiment"] == name
    assert "x-router-experiment" not in (await edge.chat(model="auto")).headers


async def test_an_experiment_on_a_task_is_for_that_task(edge: Edge):
    name = await started(edge, task="planning")
    told = await edge.chat(model="auto", router={"task": "planning"})
    assert told.headers["x-router-experiment"] == name
    assert "x-router-experiment" not in (await edge.chat(model="auto", router={"task": "testing"})).headers


async def test_a_policy_arm_sets_the_policy_and_the_clients_own_wins(edge: Edge):
    arms = [{"name": "cheap", "policy": "cost"}, {"name": "good", "policy": "quality"}]
    await started(edge, arms=arms)
    for answer in await sessions(edge, 8):
        assert answer.headers["x-router-policy"] == {"cheap": "cost", "good": "quality"}[answer.headers["x-router-arm"]]
    for headers, model in (({"x-router-policy": "speed"}, "auto"), ({}, "auto:speed")):
        answer = await edge.chat(headers, model=model)
        assert answer.headers["x-router-policy"] == "speed"
        assert "x-router-arm" not in answer.headers


async def test_feedback_is_the_reward_of_the_decisions_arm(edge: Edge):
    name = await started(edge)
    values = {"now": 0.2, "new": 0.9}
    for answer in await sessions(edge, 6):
        vote = {
            "decision_id": answer.headers["x-router-decision-id"],
            "score": values[answer.headers["x-router-arm"]],
        }
        assert (await edge.request("POST", "/v1/feedback", json=vote)).status == 200
        assert (await edge.request("POST", "/v1/feedback", json=vote)).json["status"] == "duplicate"
    report = (await operate(edge, "GET", f"/{name}")).json
    for arm in report["arms"]:
        if arm["n"]:
            assert arm["reward"]["mean"] == pytest.approx(values[arm["name"]])
            assert arm["reward"]["n"] == arm["n"]


async def test_a_failing_arm_is_stopped_by_its_guardrail(edge: Edge):
    name = await started(edge, route="main", guardrails={"success_drop": 0.1})
    edge.providers["beta"].fail("status", None, status=500)
    # The pinned arm's model has no fallback of its own, so its failures are seen until the guardrail stops it.
    number, report = 0, {"state": "running"}
    async with asyncio.timeout(60):  # it is looked at every two seconds
        while report["state"] != "stopped":
            await edge.chat({"x-router-session": f"g{number}"})
            number += 1
            report = (await operate(edge, "GET", f"/{name}")).json
            await asyncio.sleep(0.01)
    assert report["reason"].startswith("guardrail: new: success fell by")
    after = await edge.chat()
    assert after.status == 200
    assert "x-router-experiment" not in after.headers


async def test_what_it_says_of_two_equal_arms_is_nothing(edge: Edge):
    name = await started(edge, metric="success")
    await sessions_in_both_arms(edge, 25)
    result = (await operate(edge, "GET", f"/{name}")).json["result"]
    assert result["enough"] is True
    assert result["winner"] is None
    assert result["comparisons"][0]["low"] < 0.0 < result["comparisons"][0]["high"]


async def test_a_clear_difference_has_a_winner(edge: Edge):
    name = await started(edge, metric="reward")
    for answer in await sessions_in_both_arms(edge, 25):
        score = {"now": 0.1, "new": 0.9}[answer.headers["x-router-arm"]]
        vote = {"decision_id": answer.headers["x-router-decision-id"], "score": score}
        await edge.request("POST", "/v1/feedback", json=vote)
    result = (await operate(edge, "GET", f"/{name}")).json["result"]
    assert result["winner"] == "new"
    assert result["verdict"] == "new is better in reward"


async def test_a_stopped_one_assigns_nobody_and_may_start_again_but_a_concluded_one_not(edge: Edge):
    name = await started(edge)
    assert (await operate(edge, "POST", f"/{name}/stop", reason="lunch")).json["reason"] == "lunch"
    assert "x-router-experiment" not in (await edge.chat(model="auto")).headers
    assert (await operate(edge, "POST", f"/{name}/start")).json["state"] == "running"
    assert (await operate(edge, "POST", f"/{name}/conclude")).json["state"] == "concluded"
    assert_refused(await operate(edge, "POST", f"/{name}/start"), 409, "invalid_state")


@pytest.mark.parametrize(
    ("wishes", "param"),
    [
        ({}, "name"),
        ({"name": "x"}, "arms"),
        ({"name": "x", "arms": TWO_ARMS[:1]}, "arms"),
        ({"name": "x", "arms": [TWO_ARMS[0], TWO_ARMS[0]]}, "arms"),
        ({"name": "x", "arms": [TWO_ARMS[0], {"name": "b"}]}, "arms[1]"),
        ({"name": "x", "arms": [TWO_ARMS[0], {"name": "b", "deployment": "beta/nobody"}]}, "arms[1].deployment"),
        ({"name": "x", "arms": [TWO_ARMS[0], {"name": "b", "policy": "wild"}]}, "arms[1].policy"),
        ({"name": "x", "arms": [TWO_ARMS[0], {**TWO_ARMS[1], "share": 0}]}, "arms[1].share"),
        ({"name": "x", "arms": TWO_ARMS, "task": "cooking"}, "task"),
        ({"name": "x", "arms": TWO_ARMS, "route": "nowhere"}, "route"),
        ({"name": "x", "arms": TWO_ARMS, "metric": "beauty"}, "metric"),
        ({"name": "x", "arms": TWO_ARMS, "min_samples": 3}, "min_samples"),
        ({"name": "x", "arms": TWO_ARMS, "ends_at": 5}, "ends_at"),
        ({"name": "x", "arms": TWO_ARMS, "guardrails": {"success_drop": 2}}, "guardrails"),
        ({"name": "x", "arms": TWO_ARMS, "guardrails": {"beauty": 2}}, "guardrails.beauty"),
        ({"name": "x", "arms": TWO_ARMS, "speed": 9}, "speed"),
    ],
    ids=str,
)
async def test_a_wish_that_cannot_be_names_its_field(edge: Edge, wishes: dict[str, Any], param: str):
    answer = await edge.request("POST", PATH, edge.admin, json=wishes)
    assert_refused(answer, 400, "invalid_value", param)


async def test_only_an_operator_may(edge: Edge):
    name = await started(edge)
    for method, path in (("GET", ""), ("POST", ""), ("GET", f"/{name}"), ("POST", f"/{name}/stop")):
        assert_refused(await edge.request(method, PATH + path), 403)
    assert (await operate(edge, "GET", f"/{name}")).json["state"] == "running"


async def test_there_is_none_of_that_name(edge: Edge):
    assert_refused(await operate(edge, "GET", "/exp_nobody"), 404, "experiment_not_found")
    assert_refused(await operate(edge, "POST", "/exp_nobody/start"), 404, "experiment_not_found")
    assert_refused(await operate(edge, "POST", "/exp_nobody/dance"), 404, "not_found")


async def test_a_unit_belongs_to_its_key(edge: Edge):
    await started(edge)
    own, other = [], []
    for number in range(24):
        headers = {"x-router-session": f"shared-{number}"}
        own.append((await edge.chat(headers, model="auto")).headers["x-router-arm"])
        other.append((await edge.chat({**headers, **bearer(OTHER_CLIENT)}, model="auto")).headers["x-router-arm"])
    assert own != other
