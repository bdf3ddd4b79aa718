"""decide(): the whole decision, by example and for anything that may come."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from router_core import breaker
from router_core.decision import Decision
from router_core.eligibility import longest_output
from router_core.errors import RequestError, UnknownModel
from router_core.outcome import Reward
from router_core.policy import BreakerPolicy, ExplorationPolicy, ParallelPolicy, Policy, RetryPolicy
from router_core.pricing import worst_usd
from router_core.registry import Registry
from router_core.request import Mode, RoutingRequest
from router_core.router import decide
from router_core.snapshot import Snapshot
from router_core.task import TaskType
from tests.fakes.outcomes import attempt
from tests.unit.router_core.builders import NOW, Draws, after, answers, registry, request, without_exploration
from tests.unit.router_core.strategies import (
    ROUTES,
    Recipe,
    draws,
    learned,
    policies,
    recipes,
    registry_of,
    requests,
    seeds,
)

PLAIN = without_exploration()
EMPTY = Snapshot.empty()


def quality(mean: float) -> dict[str, Any]:
    return {"default": {"mean": mean, "weight": 10}}


SETUP = registry(
    {"id": "acme/m1", "quality": quality(0.9), "fallbacks": ["beta/m2#eu"]},
    {"id": "acme/m2", "quality": quality(0.8)},
    {"id": "beta/m1", "quality": quality(0.7), "weight": 3},
    {"id": "beta/m2#eu", "quality": quality(0.6)},
    {"id": "gamma/m3", "quality": quality(0.5)},
    routes=ROUTES,
)


def ask(
    asked: RoutingRequest,
    snapshot: Snapshot = EMPTY,
    setup: Registry = SETUP,
    policy: Policy = PLAIN,
    two: tuple[float, float] = (0.999, 0.0),
) -> Decision:
    return decide(asked, snapshot, setup, policy, NOW, Draws(*two))


def ranked(decision: Decision) -> list[str]:
    return [item.deployment for item in decision.ranking]


# --- by example


def test_the_best_score_is_chosen_and_fallbacks_begin_with_the_operator_s():
    decision = ask(request())
    assert ranked(decision) == ["acme/m1", "acme/m2", "beta/m1", "beta/m2#eu", "gamma/m3"]
    assert (decision.chosen, decision.propensity, decision.explored) == ("acme/m1", 1.0, False)
    assert decision.fallbacks == ("beta/m2#eu", "gamma/m3", "acme/m2")
    assert decision.rationale.startswith("analysis (1.00): acme/m1 scored")
    assert (decision.at, decision.draws, decision.policy) == (NOW, (0.999, 0.0), "balanced")


def test_any_random_source_will_do():
    rng = Random(1)
    assert decide(request(), EMPTY, SETUP, Policy(), NOW, Random(1)).draws == (rng.random(), rng.random())


def test_an_outcome_changes_the_next_decision():
    bad = [Reward("acme/m1", TaskType.ANALYSIS, NOW, 0.0) for _ in range(30)]
    assert ask(request(), after(EMPTY, *bad)).chosen == "acme/m2"
    assert ask(request(task=TaskType.PLANNING), after(EMPTY, *bad)).chosen == "acme/m1"


def test_a_broken_deployment_is_refused_with_its_rule_and_when_to_come_back():
    decision = ask(request(), after(EMPTY, *[attempt("acme/m1", NOW, failure="server")] * 5))
    assert decision.chosen == "acme/m2"
    (refusal,) = decision.rejections
    assert (refusal.deployment, refusal.rule) == ("acme/m1", "breaker")
    assert refusal.retry_after_s == pytest.approx(60.0, abs=13.0)


@pytest.mark.parametrize(
    ("name", "hint", "policy"),
    [("auto", None, "balanced"), ("auto:cost", None, "cost"), ("auto:cost", "speed", "speed")],
)
def test_a_hint_wins_over_the_alias_s_policy(name: str, hint: str | None, policy: str):
    assert ask(request(name, policy=hint)).policy == policy


def test_what_nobody_knows_is_the_client_s_fault():
    with pytest.raises(UnknownModel):
        ask(request("gpt-99"))
    with pytest.raises(UnknownModel):
        ask(request(fallbacks=("gpt-99",)))
    with pytest.raises(RequestError, match="unknown policy 'lavish'; known: balanced, cost, quality, speed") as caught:
        ask(request(policy="lavish"))
    assert caught.value.param == "policy"


# --- one by name


def test_a_pinned_deployment_is_chosen_though_its_fallbacks_score_higher():
    setup = registry(
        {"id": "acme/m1", "quality": quality(0.1), "fallbacks": ["beta/m1"]}, {"id": "beta/m1", "quality": quality(0.9)}
    )
    decision = ask(request("acme/m1"), setup=setup)
    assert (decision.chosen, decision.fallbacks) == ("acme/m1", ("beta/m1",))
    assert decision.confidence == 1.0
    assert decision.rationale.endswith("acme/m1 is the only eligible one of what was asked for.")


def test_a_pinned_deployment_is_never_explored_away_from():
    always = Policy(exploration=ExplorationPolicy(share=1.0, probe_share=0.0))
    assert ask(request("acme/m1"), policy=always, two=(0.0, 0.0)).chosen == "acme/m1"
    assert ask(request("auto"), policy=always, two=(0.0, 0.0)).explored


def test_the_fallbacks_stand_in_when_what_was_named_is_refused():
    broken = after(EMPTY, attempt("acme/m1", NOW, failure="not_found"))
    assert ask(request("acme/m1"), broken).chosen == "beta/m2#eu"


@pytest.mark.parametrize(
    ("fallbacks", "expected"),
    [(None, ("beta/m2#eu",)), ((), ()), (("gamma/m3", "acme/m2"), ("gamma/m3", "acme/m2"))],
)
def test_the_request_may_name_its_own_fallbacks_or_none(fallbacks: Any, expected: tuple[str, ...]):
    assert ask(request("acme/m1", fallbacks=fallbacks)).fallbacks == expected


def test_the_number_of_fallbacks_is_the_operator_s():
    assert len(ask(request(), policy=PLAIN.replace(retry=RetryPolicy(fallbacks=1))).attempts) == 2


# --- by order


def test_a_listed_route_goes_in_its_order_whatever_the_scores():
    decision = ask(request("in-turn"))
    assert [item.deployment for item in decision.attempts] == ["gamma/m3", "acme/m1", "beta/m1"]
    assert decision.order == "listed"
    assert decision.confidence == 0.0
    assert decision.rationale.endswith("gamma/m3 comes first by the route's listed order.")


def test_a_weighted_route_is_drawn_in_proportion():
    first, last = (ask(request("by-weight"), two=(draw, 0.0)) for draw in (0.1, 0.9))
    assert {first.chosen, last.chosen} <= {"acme/m2", "beta/m1", "gamma/m3"}
    assert first.chosen != last.chosen
    assert last.rationale.endswith("by the route's weighted order.")


def test_the_request_s_own_order_comes_before_scores():
    decision = ask(request(order=("gamma/m3", "beta")))
    assert ranked(decision) == ["gamma/m3", "beta/m1", "beta/m2#eu", "acme/m1", "acme/m2"]
    assert (decision.chosen, decision.propensity) == ("gamma/m3", 1.0)
    assert decision.rationale.endswith("gamma/m3 comes first by the request's order.")


def test_a_lead_of_minus_five_points_is_no_division_by_zero():
    """A list may begin with one that scores exactly five points less than the next."""
    setup = registry(
        {"id": "acme/m1", "quality": quality(0.5)},
        {"id": "beta/m1", "quality": quality(0.6)},
        routes={"in-turn": {"order": "listed", "deployments": ["acme/m1", "beta/m1"]}},
    )
    decision = ask(request("in-turn"), setup=setup)
    assert decision.ranking[0].score - decision.ranking[1].score == pytest.approx(-5.0)
    assert decision.confidence == 0.0


# --- several at once


def test_a_fan_out_has_diverse_legs_fallbacks_behind_them_and_a_judge():
    decision = ask(request(mode=Mode.JUDGE))
    legs = [item.deployment for item in decision.attempts[: decision.legs]]
    assert legs == ["acme/m1", "beta/m1", "gamma/m3"]
    assert decision.judge == "acme/m2"
    assert not set(decision.fallbacks[decision.legs - 1 :]) & set(legs)


def test_legs_share_the_cost_limit():
    decision = ask(request(mode=Mode.FIRST_SUCCESS, max_cost_usd=0.06))
    legs = decision.attempts[: decision.legs]
    assert len(legs) == 3
    assert sum(leg.worst_cost_usd for leg in legs) == pytest.approx(0.06)
    assert all(leg.max_output_tokens for leg in legs)


def test_a_race_needs_no_judge():
    decision = ask(request(mode=Mode.FIRST_SUCCESS))
    assert (decision.legs, decision.judge) == (3, None)


def test_the_policy_s_judges_come_before_the_registry_s():
    policy = PLAIN.replace(parallel=ParallelPolicy(judges=("beta/m2#eu",)))
    assert ask(request(mode=Mode.JUDGE), policy=policy).judge == "beta/m2#eu"


# --- when nobody is left


def test_everybody_refused_is_a_decision_too():
    decision = ask(request(only=("beta",), exclude=("beta",)))
    assert (decision.chosen, decision.attempts, decision.propensity, decision.confidence) == (None, (), 0.0, 0.0)
    assert {item.rule for item in decision.rejections} == {"excluded", "not_listed"}
    assert len(decision.rejections) == 5


LAST = PLAIN.replace(breaker=BreakerPolicy(last_resort=True))


def opened(**seconds: float) -> Snapshot:
    snapshot = EMPTY
    for name, open_s in seconds.items():
        identity = name.replace("_", "/")
        snapshot = snapshot.with_circuit(identity, breaker.trip(breaker.CLOSED, NOW, open_s, "down"))
    return snapshot


TWO = registry("acme/m1", "beta/m1")


def test_as_a_last_resort_the_one_that_opens_soonest_is_tried():
    decision = ask(request(), opened(acme_m1=60.0, beta_m1=30.0), TWO, LAST)
    assert (decision.chosen, decision.last_resort) == ("beta/m1", True)
    assert {item.deployment for item in decision.rejections} == {"acme/m1", "beta/m1"}


def test_without_the_operator_s_leave_there_is_no_last_resort():
    without = PLAIN.replace(breaker=BreakerPolicy(last_resort=False))
    decision = ask(request(), opened(acme_m1=60.0, beta_m1=30.0), TWO, without)
    assert (decision.chosen, decision.last_resort) == (None, False)


def test_who_is_rate_limited_is_waited_for_not_resorted_to():
    limited = opened(acme_m1=60.0).with_circuit("beta/m1", breaker.eject(breaker.CLOSED, NOW, 5.0))
    decision = ask(request(), limited, TWO, LAST)
    assert (decision.chosen, decision.last_resort) == ("acme/m1", True)
    everybody = limited.with_circuit("acme/m1", breaker.eject(breaker.CLOSED, NOW, 5.0))
    decision = ask(request(), everybody, TWO, LAST)
    assert (decision.chosen, decision.last_resort) == (None, False)


def test_the_last_resort_breaks_no_other_rule():
    decision = ask(request(exclude=("acme", "beta")), opened(acme_m1=60.0), TWO, LAST)
    assert decision.chosen is None


def test_nobody_open_needs_no_last_resort():
    assert not ask(request(), EMPTY, TWO, LAST).last_resort


def test_traffic_comes_back_gradually():
    from dataclasses import replace

    half_open, _ = breaker.grant(breaker.trip(breaker.CLOSED, NOW - 90, 30.0, "x"), NOW - 40.0, PLAIN.breaker)
    back = replace(breaker.on_success(half_open, NOW - 30.0, PLAIN.breaker), opens=1)
    snapshot = EMPTY.with_circuit("acme/m1", back)
    one, other = (ask(request(), snapshot, two=(0.999, draw)) for draw in (0.49, 0.51))
    assert (one.chosen, other.chosen) == ("acme/m1", "acme/m2")
    assert one.propensity + other.propensity == 1.0
    assert other.rationale.endswith("behind acme/m1, which is coming back gradually.")


# --- for anything that may come


@settings(max_examples=100)
@given(requests, recipes, seeds, policies, draws)
def test_whatever_comes_the_decision_keeps_the_rules(
    asked: RoutingRequest, recipe: Recipe, seed: int, policy: Policy, two: tuple[float, float]
):
    snapshot, setup = learned(recipe), registry_of(seed)
    decision = decide(asked, snapshot, setup, policy, NOW, Draws(*two))
    refused = {item.deployment for item in decision.rejections}
    planned = [item.deployment for item in decision.attempts]
    known = [item.deployment for item in decision.ranking]

    # Nobody refused is called, but for the one last resort.
    assert decision.last_resort or not refused & set(planned)
    assert not decision.last_resort or len(known) == 1
    assert len(known) == len(set(known))
    assert len(planned) == len(set(planned)) <= decision.legs + policy.retry.fallbacks
    assert set(planned) <= set(known)

    # Who was chosen leads the plan, and is drawn with a true probability.
    assert (decision.chosen is None) == (not known)
    if decision.chosen is not None:
        assert planned[0] == decision.chosen
        assert 0.0 < decision.propensity <= 1.0
        assert decision.top is not None
    assert 0.0 <= decision.confidence <= 1.0
    assert decision.judge is None or (decision.judge in known and decision.judge not in planned[: decision.legs])

    # Best first, unless a list says otherwise.
    if decision.order != "listed" and not asked.hints.order:
        keys = [(-item.score, item.facts.expected_cost_usd, item.deployment) for item in decision.ranking]
        assert keys == sorted(keys)

    # The cost limit is hard: no call may cost more, the legs not even together.
    limit = asked.hints.max_cost_usd
    if limit is not None:
        assert all(item.worst_cost_usd <= limit for item in decision.attempts)
        assert sum(item.worst_cost_usd for item in decision.attempts[: decision.legs]) <= limit * (1 + 1e-9)
        for item in decision.attempts:
            judged = next(each.facts for each in decision.ranking if each.deployment == item.deployment)
            owner = setup.deployments[item.deployment]
            written = item.max_output_tokens or longest_output(owner, judged, asked)
            assert worst_usd(owner, judged.input_tokens, written, asked.n) <= item.worst_cost_usd * (1 + 1e-9)


@settings(max_examples=20)
@given(requests, recipes, seeds, policies)
def test_a_decision_leaves_what_it_read_as_it_was(asked: RoutingRequest, recipe: Recipe, seed: int, policy: Policy):
    snapshot, setup = learned(recipe), registry_of(seed)
    before = repr((asked, snapshot.version, snapshot.provider_open, policy))
    pictures = {name: (state.tasks, state.recent, state.circuit) for name, state in snapshot.states.items()}
    first = decide(asked, snapshot, setup, policy, NOW, Draws(0.3, 0.6))
    assert decide(asked, snapshot, setup, policy, NOW, Draws(0.3, 0.6)) == first
    assert repr((asked, snapshot.version, snapshot.provider_open, policy)) == before
    assert pictures == {name: (state.tasks, state.recent, state.circuit) for name, state in snapshot.states.items()}


@settings(max_examples=30)
@given(requests, requests, recipes, recipes, seeds, policies)
def test_what_earlier_decisions_left_behind_changes_none(
    asked: RoutingRequest, other: RoutingRequest, recipe: Recipe, next_recipe: Recipe, seed: int, policy: Policy
):
    used = registry_of.__wrapped__(seed)
    before, moved = learned(recipe), learned(next_recipe)
    for snapshot, at in ((before, NOW), (moved, NOW), (moved, NOW + 100.0), (before, NOW)):
        for each in (asked, other, asked):
            fresh = decide(each, snapshot, registry_of.__wrapped__(seed), policy, at, Draws(0.3, 0.6))
            assert decide(each, snapshot, used, policy, at, Draws(0.3, 0.6)) == fresh


@settings(max_examples=15)
@given(requests, recipes, seeds, policies)
def test_propensities_of_all_possible_choices_sum_to_one(
    asked: RoutingRequest, recipe: Recipe, seed: int, policy: Policy
):
    snapshot, setup = learned(recipe), registry_of(seed)
    marks = [(number + 0.5) / 16 for number in range(16)]
    share, probe = policy.exploration.share, policy.exploration.probe_share
    # One first draw in each part that exploration divides [0, 1) into, and enough for draws by weight.
    firsts = [*marks, share / 2, share + probe / 2, (1.0 + share + probe) / 2]
    # And the beginning of each part that probing divides [0, 1) into: a dear one is kept only there.
    many = len(setup.deployments)
    starts = sorted({part / parts + 1e-9 for parts in range(1, many + 1) for part in range(parts)})
    stated: dict[str, float] = {}
    for first in firsts:
        for second in (*marks, 0.999, *starts):
            decision = decide(asked, snapshot, setup, policy, NOW, Draws(min(first, 0.999999), second))
            if decision.chosen is not None:
                assert stated.setdefault(decision.chosen, decision.propensity) == decision.propensity
    if stated:
        # A draw by weight may miss one that comes back with a share below the grid's.
        assert sum(stated.values()) == pytest.approx(1.0, abs=0.07 if asked.model == "by-weight" else 1e-9)


def test_a_warm_cache_keeps_a_conversation_where_it_is_when_moving_costs_more():
    cached = {"input": 10, "output": 10, "cached_input": 0.1}
    setup = registry(
        {"id": "acme/m1", "price_usd_per_mtok": cached, "quality": quality(0.60)},
        {"id": "beta/m1", "price_usd_per_mtok": cached, "quality": quality(0.62)},
    )
    long_talk = {"input_tokens": 5000}
    assert ask(request(**long_talk), setup=setup).chosen == "beta/m1"
    assert ask(request(warm_tokens={"acme/m1": 4900}, **long_talk), setup=setup).chosen == "acme/m1"


def test_a_good_record_counts_once_it_is_trusted():
    twins = registry("acme/m1", "beta/m1")
    assert ask(request(), setup=twins).chosen == "acme/m1"
    seen = after(EMPTY, *answers("beta/m1", 100, at=NOW - 200, duration_s=0.5))
    assert ask(request(), seen, twins).chosen == "beta/m1"
