"""One caller's decisions, votes and statistics are kept from another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.edge import ADMIN, CLIENT, OTHER_CLIENT, Edge, assert_refused, bearer

pytestmark = pytest.mark.anyio


async def asked(edge: Edge, token: str) -> str:
    """Ask once with a key; return the decision's id."""
    seen = await edge.chat(bearer(token))
    assert seen.status == 200, seen.body
    return seen.headers["x-router-decision-id"]


async def test_a_decision_is_its_own_keys_and_the_operators(keyed: Edge):
    name = await asked(keyed, CLIENT)
    assert (await keyed.request("GET", f"/v1/decisions/{name}", bearer(CLIENT))).status == 200
    assert (await keyed.request("GET", f"/v1/decisions/{name}", bearer(ADMIN))).status == 200
    foreign = await keyed.request("GET", f"/v1/decisions/{name}", bearer(OTHER_CLIENT))
    assert_refused(foreign, 404, "decision_not_found")
    nobodys = await keyed.request("GET", f"/v1/decisions/{name[:-1]}x", bearer(OTHER_CLIENT))
    assert foreign.body == nobodys.body  # nothing tells a foreign decision from none


@pytest.mark.parametrize(
    "name", ["x", "dec_", "dec_x", "dec_" + "a" * 60, "dec_" + "a" * 5000, "dec_%00", "%F0%9F%92%A9", "dec_'--"]
)
async def test_a_forged_decision_does_not_exist(keyed: Edge, name: str):
    assert_refused(await keyed.request("GET", f"/v1/decisions/{name}"), 404, "decision_not_found")
    assert_refused(await keyed.request("POST", "/v1/feedback", json={"decision_id": name, "score": 1}), 404)


async def test_feedback_needs_the_key_of_the_decision_and_counts_once(keyed: Edge):
    name = await asked(keyed, CLIENT)
    vote = {"decision_id": name, "score": 0.0, "source": "test"}
    assert_refused(
        await keyed.request("POST", "/v1/feedback", bearer(OTHER_CLIENT), json=vote), 404, "decision_not_found"
    )
    first = await keyed.request("POST", "/v1/feedback", json=vote)
    assert first.json["status"] == "accepted"
    again = await keyed.request("POST", "/v1/feedback", json={**vote, "score": 1.0})
    assert (again.json["status"], again.json["score"]) == ("duplicate", first.json["score"])


BAD_VOTES: list[Any] = [
    {},
    {"decision_id": 5},
    {"decision_id": None, "score": 1},
    {"score": "good"},
    {"score": 2},
    {"score": -0.1},
    {"score": True},
    {"rating": 9},
    {"rating": 4.5},
    {"outcome": "wonderful"},
    {"pr_merged": "yes"},
    {"label": ""},
    {"label": "x" * 5000},
    {"source": "x" * 65},
    {"source": 5},
    {"correction": ["x"]},
    {"nonsense": 1, "score": 1},
    {"key_id": "admin", "score": 1},
    {"score": 1, "\r\nset-cookie": 1},
]


async def test_feedback_that_cannot_be_is_refused(keyed: Edge):
    name = await asked(keyed, CLIENT)
    for fields in BAD_VOTES:
        body = fields if not fields or "decision_id" in fields else {"decision_id": name, **fields}
        assert_refused(await keyed.request("POST", "/v1/feedback", json=body), 400)


async def test_a_client_sees_its_own_traffic_only(keyed: Edge):
    before = await spent(keyed, OTHER_CLIENT)
    mine = await spent(keyed, CLIENT)
    for _ in range(3):
        await asked(keyed, CLIENT)
    async with asyncio.timeout(60):
        while await spent(keyed, CLIENT) < mine + 3:  # noqa: ASYNC110 - statistics follow in their own time
            await asyncio.sleep(0.05)
    assert await spent(keyed, OTHER_CLIENT) == before
    assert await spent(keyed, ADMIN) >= mine + 3


async def spent(edge: Edge, token: str) -> int:
    """How many calls the statistics count for a caller."""
    seen = await edge.request("GET", "/v1/stats/deployments?window=all", bearer(token))
    assert seen.status == 200, seen.body
    return sum(int(row["requests"]) for row in seen.json["data"])


async def test_a_clients_statistics_do_not_show_circuits(keyed: Edge):
    await asked(keyed, CLIENT)
    rows = (await keyed.request("GET", "/v1/stats/providers?window=all")).json["data"]
    assert not [row for row in rows if "breaker" in row]


@pytest.mark.parametrize(
    "query",
    [
        "window=year",
        "window=",
        "format=xml",
        "task=nonsense",
        "provider=a%20b",
        "provider=" + "x" * 300,
        "window=hour&window=day",
        "nonsense=1",
        "scope=everybody",
        "key_id=admin",
    ],
)
async def test_no_query_widens_what_is_seen(keyed: Edge, query: str):
    for report in ("providers", "costs", "timeline"):
        assert_refused(await keyed.request("GET", f"/v1/stats/{report}?{query}"), 400, "invalid_value")
