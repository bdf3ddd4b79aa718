"""What one request makes of what is known of a candidate."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core import breaker
from router_core.decision import Facts
from router_core.facts import context, gather
from router_core.known import Able
from router_core.outcome import Reward, Usage
from router_core.policy import LearningPolicy, Policy
from router_core.pricing import expected_usd, worst_usd
from router_core.quality import shifted
from router_core.request import RoutingRequest
from router_core.snapshot import Snapshot
from router_core.task import TaskType
from tests.unit.router_core.builders import NOW, after, answers, features, registry, request

POLICY = Policy()
EMPTY = Snapshot.empty()
SETUP = registry("acme/m1", {"id": "acme/short", "max_output_tokens": 100})


def look(asked: RoutingRequest, snapshot: Snapshot = EMPTY, name: str = "acme/m1", policy: Policy = POLICY) -> Facts:
    (found,) = gather(Able([SETUP.deployments[name]]), context(asked, snapshot, SETUP, policy, NOW))
    return found


def test_an_unknown_deployment_is_reckoned_with_the_policy_s_lengths():
    found = look(request(input_tokens=1000))
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (1000, 400, 0)
    assert found.expected_cost_usd == pytest.approx(1000e-6 + 400 * 2e-6)
    assert found.worst_cost_usd == pytest.approx(1250e-6 + 4096 * 2e-6)
    assert (found.breaker, found.ready_in_s, found.ramp) == ("closed", 0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "asked", "written", "worst"),
    [
        ("acme/m1", {"max_output_tokens": 50}, 50, 50),
        ("acme/m1", {"max_output_tokens": 1000}, 400, 1000),
        ("acme/short", {"max_output_tokens": 1000}, 100, 100),
        ("acme/short", {}, 100, 100),
        ("acme/m1", {"max_output_tokens": 50, "n": 3}, 150, 150),
    ],
)
def test_output_is_bounded_by_the_client_s_limit_and_the_deployment_s(
    name: str, asked: dict[str, Any], written: int, worst: int
):
    found = look(request(input_tokens=0, **asked), name=name)
    assert found.output_tokens == written
    assert found.worst_cost_usd == pytest.approx(worst * 2e-6, abs=2e-6)


@given(
    tokens=st.integers(1, 10**6),
    limit=st.none() | st.integers(1, 10**5),
    n=st.integers(1, 8),
    ratio=st.floats(0.3, 3.0),
)
def test_the_loop_reckons_as_the_price_functions_do(tokens: int, limit: int | None, n: int, ratio: float):
    past = answers("acme/m1", 3, at=NOW - 9, usage=Usage(round(1000 * ratio), 0, 0, 70), input_estimate=1000)
    known = after(EMPTY, *past)
    for name, deployment in SETUP.deployments.items():
        found = look(request(input_tokens=tokens, max_output_tokens=limit, n=n), known, name)
        most = min(limit or POLICY.default_max_output_tokens, deployment.max_output_tokens or 10**9)
        written = (found.input_tokens, 0, found.output_tokens)
        assert found.expected_cost_usd == expected_usd(deployment.rates, *written)
        assert found.worst_cost_usd == worst_usd(deployment, found.input_tokens, most, n)


def test_our_token_estimate_is_corrected_by_what_the_provider_counted():
    counted = answers("acme/m1", 3, at=NOW - 60, usage=Usage(150, output=80), input_estimate=100)
    found = look(request(input_tokens=1000), after(EMPTY, *counted))
    assert found.input_tokens == pytest.approx(1500, abs=1)
    assert found.output_tokens == pytest.approx(80, abs=1)


def test_even_nothing_is_one_token():
    assert look(request(input_tokens=0)).input_tokens == 1


def test_a_warm_prompt_cache_makes_staying_cheaper():
    setup = registry({"id": "acme/m1", "price_usd_per_mtok": {"input": 1, "output": 2, "cached_input": 0.1}})
    (cold,), (warm,) = (
        gather(Able(setup.deployments.values()), context(asked, EMPTY, setup, POLICY, NOW))
        for asked in (request(input_tokens=1000), request(input_tokens=1000, warm_tokens={"acme/m1": 800}))
    )
    assert warm.cached_tokens == 800
    assert cold.expected_cost_usd - warm.expected_cost_usd == pytest.approx(800 * 0.9e-6)


EASY, HARD = (
    features("Say hello."),
    features("Prove that no prime except 2 is even, and never assume what is not given."),
)


def test_a_prompt_that_looks_hard_is_expected_to_be_answered_worse():
    assert HARD.difficulty > EASY.difficulty
    assert look(request(features=HARD)).quality < look(request(features=EASY)).quality


@pytest.mark.parametrize("mean", [0.1, 0.3, 0.5, 0.7, 0.99])
@pytest.mark.parametrize("difficulty", [-3.0, -0.5, 0.0, 3.0])
def test_difficulty_moves_quality_along_one_slope_and_never_out_of_its_range(mean: float, difficulty: float):
    setup = registry({"id": "acme/m1", "quality": {"default": {"mean": mean, "weight": 10}}})
    asked = request(features=dataclasses.replace(EASY, difficulty=difficulty))
    (found,) = gather(Able(setup.deployments.values()), context(asked, EMPTY, setup, POLICY, NOW))
    assert found.quality == pytest.approx(shifted(mean, difficulty))


def test_what_was_learned_of_such_prompts_moves_quality_beyond_the_task_s_mean():
    judged = [
        Reward("acme/m1", TaskType.ANALYSIS, NOW, value, features=prompt)
        for value, prompt in ((1.0, EASY), (0.0, features("3 + 4 = ? 5 + 6 = ? 7 + 8 = ?")))
        for _ in range(30)
    ]
    snapshot = after(EMPTY, *judged)
    assert look(request(features=EASY), snapshot).quality > look(request(), snapshot).quality


def test_with_learning_switched_off_the_prompt_changes_no_quality():
    off = Policy(learning=LearningPolicy(enabled=False))
    assert look(request(features=HARD), policy=off).quality == look(request()).quality


@pytest.mark.parametrize(("residual", "quality"), [(0.2, 0.7), (0.9, 1.0), (-0.9, 0.0)])
def test_what_is_known_of_such_prompts_moves_quality_within_its_range(residual: float, quality: float):
    ctx = context(request(), EMPTY, SETUP, POLICY, NOW)._replace(residuals={"acme/m1": residual})
    assert [found.quality for found in gather(Able(SETUP.deployments.values()), ctx)] == [pytest.approx(quality), 0.5]


# --- the circuit


def circuits(circuit: breaker.Circuit, until: float | None = None) -> tuple[str, float, float]:
    from dataclasses import replace

    snapshot = EMPTY.with_circuit("acme/m1", circuit)
    if until is not None:
        snapshot = replace(snapshot, provider_open={"acme": until})
    found = look(request(), snapshot)
    return found.breaker, found.ready_in_s, found.ramp


TRIPPED = breaker.trip(breaker.CLOSED, NOW - 10.0, 30.0, "credentials")
PROBED, _ = breaker.grant(TRIPPED, NOW + 25.0, POLICY.breaker)


def test_an_open_circuit_says_when_it_will_admit_again():
    assert circuits(TRIPPED) == ("open", 20.0, 1.0)


def test_an_open_circuit_whose_time_is_over_is_half_open():
    assert circuits(breaker.trip(breaker.CLOSED, NOW - 40.0, 30.0, "x")) == ("half_open", 0.0, 1.0)


def test_a_half_open_circuit_with_its_probe_under_way_is_waited_for():
    probing, _ = breaker.grant(breaker.trip(breaker.CLOSED, NOW - 40.0, 30.0, "x"), NOW - 5.0, POLICY.breaker)
    assert circuits(probing) == ("half_open", 55.0, 1.0)


def test_an_ejected_deployment_says_until_when():
    assert circuits(breaker.eject(breaker.CLOSED, NOW, 12.0)) == ("ejected", 12.0, 1.0)


def test_a_deployment_that_is_coming_back_carries_part_of_the_traffic():
    probing, _ = breaker.grant(breaker.trip(breaker.CLOSED, NOW - 90.0, 30.0, "x"), NOW - 40.0, POLICY.breaker)
    from dataclasses import replace

    closed = replace(breaker.on_success(probing, NOW - 30.0, POLICY.breaker), opens=1)
    assert circuits(closed) == ("closed", 0.0, 0.5)


def test_an_open_provider_refuses_also_those_of_its_deployments_that_are_closed():
    assert circuits(breaker.CLOSED, NOW + 40.0) == ("open", 40.0, 1.0)
    assert circuits(breaker.CLOSED, NOW - 1.0) == ("closed", 0.0, 1.0)
    assert circuits(TRIPPED, NOW + 40.0) == ("open", 20.0, 1.0)


times = st.just(0.0) | st.floats(NOW - 200.0, NOW + 200.0)
any_circuit = st.builds(
    breaker.Circuit,
    state=st.sampled_from(breaker.State),
    open_until=times,
    opens=st.integers(0, 3),
    changed_at=times,
    leases=st.lists(st.tuples(st.integers(1, 9), times), max_size=2).map(tuple),
    ejected_until=times,
)


@given(any_circuit)
def test_a_circuit_that_is_not_looked_at_would_have_said_nothing(circuit: breaker.Circuit):
    said, ready_in_s, ramp = circuits(circuit)
    admission = breaker.admits(circuit, NOW, POLICY.breaker)
    assert (said == "closed") is (circuit.state is breaker.State.CLOSED and not admission.ejected)
    assert ready_in_s == (admission.retry_after_s or 0.0)
    assert ramp == breaker.ramp(circuit, NOW, POLICY.breaker)
