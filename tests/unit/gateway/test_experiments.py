from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.enrol import enrol, unit_of
from gateway.experiment_record import from_json, shown, to_json
from gateway.experiments import KIND, Experiments, UnknownExperiment
from gateway.keys import Principal
from gateway.state import open_store
from gateway.store_errors import StoreError
from router_core.errors import ConfigError
from router_core.experiment import Arm, Assignment, Experiment, ExperimentState, Metric
from router_core.registry import Registry
from router_core.request import Hints, RoutingRequest
from tests.fakes.outcomes import attempt, request

pytestmark = pytest.mark.anyio
ARMS = [{"name": "now", "deployment": "acme/m1"}, {"name": "new", "deployment": "beta/m2"}]
REGISTRY = Registry.from_mapping(
    {
        "providers": {name: {"wire": "openai", "base_url": "http://127.0.0.1:9/v1"} for name in ("acme", "beta")},
        "deployments": [
            {
                "id": name,
                "provider": name.partition("/")[0],
                "model": name.partition("/")[2],
                "context_window": 1000,
                "price_usd_per_mtok": {"input": 1, "output": 2},
            }
            for name in ("acme/m1", "beta/m2")
        ],
        "routes": {"main": {"order": "listed", "deployments": ["acme/m1", "beta/m2"]}},
    }
)


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    """Two workers of one store."""

    def __init__(self) -> None:
        self.store = open_store("memory://")
        self.time = Time()
        self.here, self.there = Experiments(self.store, self.time), Experiments(self.store, self.time)

    async def running(self, **wishes: Any) -> Experiment:
        body = {"name": "a test", "arms": ARMS, "min_samples": 20, **wishes}
        made = await self.here.create(body, REGISTRY.deployments, {"cost": 1}, REGISTRY.routes)
        return await self.here.move(made.id, ExperimentState.RUNNING)

    def finish(self, experiment: Experiment, arm: str, *attempts: Any, **changes: Any) -> None:
        found = next(each for each in experiment.arms if each.name == arm)
        ctx: Any = SimpleNamespace(experiment=Assignment(experiment.id, found))
        self.here.finished(ctx, request(*attempts, **changes), None, None)


@pytest.fixture
async def world() -> World:
    found = World()
    await found.store.open()
    return found


async def test_what_one_worker_makes_the_other_runs(world: World):
    made = await world.running()
    assert not world.there.any_running
    await world.there.reload()
    assert world.there.any_running
    for unit in map(str, range(20)):
        args = ("general", (), unit, world.time.now)
        assert world.here.arm_for(*args) == world.there.arm_for(*args) != None  # noqa: E711
    assert world.there.list() == [made]


async def test_without_a_running_one_there_is_no_arm(world: World):
    made = await world.running(task="planning")
    assert world.here.arm_for("general", (), "u", 1000.0) is None
    assert world.here.arm_for("planning", (), "u", 1000.0, route="main") is None
    assert world.here.arm_for("planning", (), "u", 1000.0) is not None
    await world.here.move(made.id, ExperimentState.STOPPED)
    assert world.here.arm_for("planning", (), "u", 1000.0) is None


async def test_of_two_the_oldest_has_the_request(world: World):
    first = await world.running()
    world.time.now += 1.0
    await world.running()
    found = world.here.arm_for("general", (), "u", world.time.now)
    assert found is not None
    assert found.experiment == first.id


async def test_sums_of_two_workers_add_up_and_nothing_counts_twice(world: World):
    made = await world.running()
    await world.there.reload()
    for where, count in ((world.here, 3), (world.there, 5)):
        for _ in range(count):
            where.book(made.id, "now", Metric.REWARD, 0.5)
    total: dict[str, dict[str, float]] = {}
    for where in (world.here, world.there):
        for key, fields in where.collect().items():
            row = total.setdefault(key, {})
            for name, value in fields.items():
                row[name] = row.get(name, 0.0) + value
    assert world.here.sums(made)["now"].reward.n == 3, "until the others' news arrive, its own"
    world.here.book(made.id, "now", Metric.REWARD, 1.0)
    for where, expected in ((world.here, 9), (world.there, 8)):
        where.apply(total)
        assert where.sums(made)["now"].reward.n == expected
    assert world.here.sums(made)["now"].reward.mean == pytest.approx(5.0 / 9)
    assert world.here.collect() == {f"{made.id}|now": {"reward.n": 1.0, "reward.t": 1.0, "reward.s": 1.0}}
    assert world.here.collect() == {}


async def test_a_good_answer_books_success_cost_and_latency(world: World):
    made = await world.running()
    world.finish(made, "now", attempt("acme/m1", duration_s=2.0, cost_usd=0.25))
    found = world.here.sums(made)["now"]
    assert (found.success.mean, found.cost.mean, found.latency.mean) == (1.0, 0.25, 2.0)
    assert found.reward.n == 0


async def test_a_fallback_that_stood_in_is_the_arms_failure(world: World):
    made = await world.running()
    world.finish(made, "now", attempt("acme/m1", failure="server"), attempt("beta/m2"))
    found = world.here.sums(made)["now"]
    assert (found.success.n, found.success.mean) == (1, 0.0)
    assert found.cost.n == found.latency.n == 0


@pytest.mark.parametrize(
    ("failure", "status", "counts"),
    [
        ("server", 502, True),
        ("rate_limited", 429, True),
        ("invalid_request", 400, False),
        ("context_overflow", 400, False),
        ("cancelled", 499, False),
    ],
)
async def test_only_what_the_arm_can_help_counts_against_it(world: World, failure: str, status: int, counts: bool):
    made = await world.running()
    world.finish(made, "new", attempt("beta/m2", failure=failure), status=status, served_by=None)
    assert world.here.sums(made)["new"].success.n == int(counts)


async def test_a_request_of_nobodys_is_not_booked(world: World):
    await world.running()
    ctx: Any = SimpleNamespace(experiment=None)
    world.here.finished(ctx, request(attempt("acme/m1")), None, None)
    world.here.rewarded(None, 1.0)
    assert world.here.collect() == {}


async def test_a_breach_stops_it_and_a_date_concludes_it(world: World):
    harmful = await world.running(guardrails={"success_drop": 0.1})
    dated = await world.running(ends_at=2000.0)
    for _ in range(60):
        world.here.book(harmful.id, "now", Metric.SUCCESS, 1.0)
        world.here.book(harmful.id, "new", Metric.SUCCESS, 0.0)
    await world.here.check()
    assert world.here.get(harmful.id).state is ExperimentState.STOPPED
    assert world.here.get(harmful.id).reason == "guardrail: new: success fell by 1.000"
    assert world.here.get(dated.id).state is ExperimentState.RUNNING
    world.time.now = 2000.0
    await world.here.check()
    assert world.here.get(dated.id).state is ExperimentState.CONCLUDED
    await world.there.reload()
    assert {each.state for each in world.there.list()} == {ExperimentState.STOPPED, ExperimentState.CONCLUDED}


async def test_following_hears_of_changes_at_once(world: World):
    task = asyncio.create_task(world.there.follow())
    try:
        await asyncio.sleep(0.05)
        made = await world.running()
        world.there.poke()
        async with asyncio.timeout(60):
            while not world.there.any_running:  # noqa: ASYNC110 - it is told to nobody
                await asyncio.sleep(0.01)
        assert world.there.get(made.id).state is ExperimentState.RUNNING
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_started_while_the_store_is_read_stays_started(world: World, monkeypatch: pytest.MonkeyPatch):
    made = await world.running()
    await world.here.move(made.id, ExperimentState.STOPPED)
    really, read, go_on = world.store.list, asyncio.Event(), asyncio.Event()

    async def slowly(*args: Any, **more: Any) -> Any:
        found = await really(*args, **more)
        read.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(world.store, "list", slowly)
    reading = asyncio.create_task(world.here.reload())
    await read.wait()
    await world.here.move(made.id, ExperimentState.RUNNING)
    go_on.set()
    await reading
    assert world.here.get(made.id).state is ExperimentState.RUNNING
    assert world.here.any_running


async def test_a_store_that_is_away_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    made = await world.running()

    async def away(*_: Any, **__: Any) -> Any:
        msg = "it is away"
        raise StoreError(msg)

    monkeypatch.setattr(world.store, "list", away)
    task = asyncio.create_task(world.here.follow())
    async with asyncio.timeout(60):
        while not world.here.last_error:  # noqa: ASYNC110 - it is told to nobody
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.here.last_error == "it is away"
    assert world.here.get(made.id).state is ExperimentState.RUNNING


async def test_a_stored_one_survives_and_a_broken_one_is_left_out(world: World):
    made = await world.running(hypothesis="m2 is better", tag="team", guardrails={"cost_factor": 2.0}, metric="cost")
    assert from_json(to_json(made)) == made
    await world.store.put(KIND, "exp_broken", b'{"id": "exp_broken"}')
    await world.store.put(KIND, "exp_text", b"nonsense")
    await world.there.reload()
    assert [each.id for each in world.there.list()] == [made.id]
    with pytest.raises(UnknownExperiment):
        world.there.get("exp_broken")


async def test_wishes_about_things_that_do_not_exist(world: World):
    for changes, field in (
        ({"arms": [ARMS[0], {"name": "x", "deployment": "acme/none"}]}, "arms[1].deployment"),
        ({"arms": [ARMS[0], {"name": "x", "policy": "wild"}]}, "arms[1].policy"),
        ({"route": "nowhere"}, "route"),
    ):
        with pytest.raises(ConfigError) as found:
            await world.running(**changes)
        assert str(found.value).startswith(f"{field}:")


async def test_what_is_shown_can_be_written_as_json(world: World):
    made = await world.running(arms=[{**ARMS[0], "share": 3}, ARMS[1]])
    world.here.book(made.id, "now", Metric.REWARD, 0.5)
    row = shown(made, world.here.sums(made), world.here.report(made))
    assert [arm["share"] for arm in row["arms"]] == [0.75, 0.25]
    assert row["arms"][0]["reward"] == {"n": 1, "mean": 0.5, "low": None, "high": None}
    assert row["arms"][1]["reward"] is None
    assert row["result"]["comparisons"][0]["low"] is None
    assert "too few samples" in row["result"]["verdict"]


# ---- who takes part ----


def asked(model: str = "auto", hints: Hints | None = None, **body: Any) -> tuple[Any, RoutingRequest]:
    routing = RoutingRequest.of(model=model)
    if hints is not None:
        from dataclasses import replace

        routing = replace(routing, hints=hints)
    return SimpleNamespace(model=model, body=body), routing


async def test_a_deployment_arm_becomes_the_model_and_a_policy_arm_the_policy(world: World):
    await world.running()
    chat, routing = asked(user="u1")
    found, assigned = enrol(world.here, chat, routing, REGISTRY, Principal("k"), 1000.0)
    assert assigned is not None
    assert found.model == assigned.arm.deployment
    other = World()
    await other.store.open()
    await other.running(arms=[{"name": "a", "policy": "cost"}, {"name": "b", "policy": "cost"}])
    found, assigned = enrol(other.here, chat, routing, REGISTRY, Principal("k"), 1000.0)
    assert assigned is not None
    assert (found.model, found.hints.policy) == ("auto", "cost")


@pytest.mark.parametrize(
    "principal",
    [Principal("k", allowed_models=frozenset({"m1"})), Principal("k", tags=("other",))],
    ids=["may not use one arm", "has another tag"],
)
async def test_a_key_for_which_an_arm_cannot_be_takes_no_part(world: World, principal: Principal):
    from dataclasses import replace

    await world.running(tag="team" if principal.tags else None)
    chat, routing = asked()
    routing = replace(routing, allowed_models=principal.allowed_models)
    assert enrol(world.here, chat, routing, REGISTRY, principal, 1000.0) == (routing, None)


async def test_a_deployment_that_is_gone_ends_its_experiment_silently(world: World):
    await world.running()
    small = Registry.from_mapping(
        {
            "providers": {"acme": {"wire": "openai", "base_url": "http://127.0.0.1:9/v1"}},
            "deployments": [
                {
                    "id": "acme/m1",
                    "provider": "acme",
                    "model": "m1",
                    "context_window": 1000,
                    "price_usd_per_mtok": {"input": 1, "output": 2},
                }
            ],
        }
    )
    chat, routing = asked()
    assert enrol(world.here, chat, routing, small, Principal("k"), 1000.0) == (routing, None)


def test_what_sticks():
    principal = Principal("k")
    chat, routing = asked(user="u1")
    assert unit_of(chat, routing, principal) == "k|user|u1"
    chat, routing = asked(hints=Hints(session="s1"), user="u1")
    assert unit_of(chat, routing, principal) == "k|session|s1"
    chat, routing = asked()
    assert unit_of(chat, routing, principal) == "k"


def test_arms_may_not_be_called_like_a_key_of_the_sums():
    from gateway.experiment_record import of_wishes

    with pytest.raises(ConfigError, match="must not contain"):
        of_wishes({"name": "x", "arms": [{"name": "a|b", "policy": "cost"}, ARMS[0]]}, "e", 0.0)
    assert Arm("a", policy="cost").share == 1.0
