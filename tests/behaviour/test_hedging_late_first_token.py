"""Hedging: off out of the box; on, a late first token is answered by a second call, within a budget, and all is booked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.panel import Panel, booked, explained, running_panel

pytestmark = pytest.mark.anyio
WHOLE_OR_STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
# Late is what takes longer than usual and longer than min_wait_s: no call that is in time does, on a busy machine either.
ON = {
    "hedging": {"enabled": True, "min_wait_s": 1.0, "max_share": 1.0, "max_cost_share": 1.0, "quantile": 0.5},
    "retry": {"max_attempts": 3},
}


@pytest.fixture(scope="module")
async def running(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Panel]:
    async with running_panel(tmp_path_factory.mktemp("hedging"), ON) as panel:
        for _ in range(30):  # so that the deployment's own quantile is known, and the budget has requests to share
            assert (await panel.ask(None)).status == 200
            assert (await panel.ask(None, stream=True)).status == 200
        yield panel


@pytest.fixture
def panel(running: Panel) -> Panel:
    running.reset()
    return running


@WHOLE_OR_STREAM
async def test_a_first_call_that_is_in_time_is_the_only_one(panel: Panel, stream: bool):
    reply = await panel.ask(None, stream=stream)
    assert reply.text == "alpha says so"
    assert booked(reply) == [("alpha/small", "primary", True)]
    assert panel.called == ["alpha"]


@WHOLE_OR_STREAM
async def test_a_late_one_loses_to_the_hedge_and_is_cancelled(panel: Panel, stream: bool):
    panel.providers["alpha"].fail("hang", 1)
    reply = await panel.ask(None, stream=stream)
    second = reply.headers["x-router-deployment"]
    assert reply.status == 200
    assert not second.startswith("alpha/small")
    assert booked(reply) == sorted([("alpha/small", "primary", False), (second, "hedge", True)])
    lost = next(each for each in explained(reply)["calls"] if not each["ok"])
    assert lost["failure"] == "cancelled"
    call = panel.calls("alpha")[0]
    await panel.until(lambda: call.closed_at is not None)
    assert call.client_closed
    assert reply.finish == "stop"


async def test_a_late_one_that_still_comes_first_wins(panel: Panel):
    panel.providers["alpha"].answer("alpha says so", first_delay_s=2.0)
    for name in ("beta", "gamma", "delta"):
        panel.providers[name].fail("hang", None)
    panel.providers["judge"].fail("hang", None)
    reply = await panel.ask(None, router={"exclude": ["alpha/twin"]})
    assert reply.text == "alpha says so"
    calls = booked(reply)
    assert ("alpha/small", "primary", True) in calls
    assert [role for _, role, ok in calls if not ok] == ["hedge"]


async def test_a_hedge_that_fails_leaves_the_first_alone(panel: Panel):
    panel.providers["alpha"].answer("alpha says so", first_delay_s=2.0)
    for name in ("beta", "gamma", "delta", "judge"):
        panel.providers[name].fail("status", None, status=500)
    reply = await panel.ask(None, router={"exclude": ["alpha/twin"]})
    assert reply.text == "alpha says so"
    assert ("alpha/small", "primary", True) in booked(reply)


async def test_a_first_call_that_fails_falls_back_as_always(panel: Panel):
    panel.providers["alpha"].fail("status", None, status=500)
    reply = await panel.ask(None)
    assert reply.status == 200
    roles = {role for _, role, _ in booked(reply)}
    assert roles == {"primary", "retry", "fallback"}


async def test_both_must_fit_into_the_cost_limit(panel: Panel):
    panel.providers["alpha"].answer("alpha says so", first_delay_s=2.0)
    reply = await panel.ask(None, router={"max_cost_usd": 0.006})
    assert reply.text == "alpha says so"
    assert booked(reply) == [("alpha/small", "primary", True)]


@WHOLE_OR_STREAM
async def test_it_is_off_out_of_the_box(tmp_path_factory: pytest.TempPathFactory, stream: bool):
    async with running_panel(tmp_path_factory.mktemp("off")) as panel:
        panel.providers["alpha"].answer("alpha says so", first_delay_s=2.5)
        reply = await panel.ask(None, stream=stream)
        assert reply.text == "alpha says so"
        assert panel.called == ["alpha"]


async def test_the_share_of_requests_bounds_how_often(tmp_path_factory: pytest.TempPathFactory):
    policy = {**ON, "hedging": {**ON["hedging"], "max_share": 0.05, "min_wait_s": 0.2}}
    async with running_panel(tmp_path_factory.mktemp("share"), policy) as panel:
        panel.providers["alpha"].answer("alpha says so")
        for _ in range(10):  # so that the deployment's own quantile is known, and stays what it is
            assert (await panel.ask(None)).status == 200
        panel.providers["alpha"].answer("alpha says so", first_delay_s=0.6)
        hedged = 0
        for _ in range(8):
            hedged += any(role == "hedge" for _, role, _ in booked(await panel.ask(None)))
        assert hedged == 1, "5 % of few requests is one"
