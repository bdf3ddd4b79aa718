"""Ranking, and who is called first: the best, an explored rival, one drawn by weight; each with its true probability."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.choosing import Choice, choose_scored, choose_weighted, confidence, rank
from router_core.decision import ScoredCandidate
from router_core.policy import ExplorationPolicy
from tests.unit.router_core.builders import candidate, deployment
from tests.unit.router_core.strategies import NAMES, draws, shares

TRY = ExplorationPolicy(share=0.1, probe_share=0.05)


def names(ranking: tuple[ScoredCandidate, ...]) -> list[str]:
    return [item.deployment for item in ranking]


# --- ranking


def test_the_best_score_leads_and_ties_go_to_the_cheaper_then_to_the_id():
    cheap, dear = {"expected_cost_usd": 0.001}, {"expected_cost_usd": 0.002}
    ranking = rank(
        [
            candidate("beta/m1", 50.0, **dear),
            candidate("acme/m2", 50.0, **cheap),
            candidate("acme/m1", 50.0, **cheap),
            candidate("gamma/m3", 50.1, **dear),
        ]
    )
    assert names(ranking) == ["gamma/m3", "acme/m1", "acme/m2", "beta/m1"]


def test_scores_above_what_is_shown_still_rank():
    assert names(rank([candidate("acme/m1", 120.0), candidate("beta/m1", 130.0)])) == ["beta/m1", "acme/m1"]


scored = st.tuples(st.integers(0, 4).map(float), st.sampled_from([0.001, 0.002]), st.sampled_from([1.0, 1.0, 0.25]))
candidates = st.lists(scored, min_size=1, max_size=5).map(
    lambda rows: [
        candidate(name, points, expected_cost_usd=cost, ramp=ramp)
        for name, (points, cost, ramp) in zip(NAMES, rows, strict=False)
    ]
)


@given(candidates)
def test_the_order_does_not_depend_on_who_was_asked_first(items: list[ScoredCandidate]):
    ranking = rank(items)
    assert rank(items[::-1]) == ranking
    for better, worse in pairwise(ranking):
        keys = [(-one.score, one.facts.expected_cost_usd, one.deployment) for one in (better, worse)]
        assert keys == sorted(keys)


# --- confidence


def test_confidence_grows_with_the_lead():
    first, second = candidate("acme/m1", 55.0), candidate("beta/m1", 50.0)
    assert confidence(first, [first, second]) == 0.5
    assert confidence(first, [first]) == 1.0
    assert confidence(candidate("acme/m1", 145.0), [second]) == pytest.approx(0.95)


def test_who_trails_is_chosen_without_confidence():
    first, second, third = candidate("acme/m1", 55.0), candidate("beta/m1", 50.0), candidate("gamma/m3", 20.0)
    assert confidence(second, [first, second, third]) == 0.0
    assert confidence(first, [candidate("acme/m1", 55.0), candidate("beta/m1", 55.0)]) == 0.0


@given(candidates)
def test_confidence_is_always_a_share(items: list[ScoredCandidate]):
    for item in items:
        assert 0.0 <= confidence(item, items) <= 1.0


# --- propensities: what is recorded is the probability with which it happens

GRID = 200


def frequencies(choose: Callable[[tuple[float, float]], Choice]) -> dict[str, tuple[float, float]]:
    """Try all draws on a fine grid: how often each was chosen, and which probability was stated for it."""
    counted: dict[str, int] = {}
    stated: dict[str, set[float]] = {}
    marks = [(i + 0.5) / GRID for i in range(GRID)]
    for first in marks:
        for second in (marks[j] for j in range(0, GRID, 5)):
            choice = choose((first, second))
            name = choice.chosen.deployment
            counted[name] = counted.get(name, 0) + 1
            stated.setdefault(name, set()).add(choice.propensity)
    assert all(len(values) == 1 for values in stated.values()), stated
    total = sum(counted.values())
    return {name: (count / total, next(iter(stated[name]))) for name, count in counted.items()}


NEAR_AND_FAR = [
    candidate("acme/m1", 60.0),
    candidate("acme/m2", 55.0),
    candidate("beta/m1", 50.0),
    candidate("gamma/m3", 10.0),
    candidate("beta/m2#eu", 59.0, expected_cost_usd=0.012),
]
COMING_BACK = [candidate("acme/m1", 60.0, ramp=0.25), *NEAR_AND_FAR[1:]]


@pytest.mark.parametrize(
    ("ranking", "policy", "expected"),
    [
        (
            NEAR_AND_FAR,
            TRY,
            {"acme/m1": 0.86875, "acme/m2": 0.05, "beta/m1": 0.05, "gamma/m3": 0.025, "beta/m2#eu": 0.00625},
        ),
        (NEAR_AND_FAR[:3], TRY, {"acme/m1": 0.9, "acme/m2": 0.05, "beta/m1": 0.05}),
        ([NEAR_AND_FAR[0], NEAR_AND_FAR[3]], TRY, {"acme/m1": 0.95, "gamma/m3": 0.05}),
        ([NEAR_AND_FAR[0], NEAR_AND_FAR[4]], TRY, {"acme/m1": 0.9875, "beta/m2#eu": 0.0125}),
        (NEAR_AND_FAR[:1], TRY, {"acme/m1": 1.0}),
        (NEAR_AND_FAR, ExplorationPolicy(share=0.0, probe_share=0.0), {"acme/m1": 1.0}),
        (NEAR_AND_FAR[:2], ExplorationPolicy(share=1.0, probe_share=0.0), {"acme/m2": 1.0}),
        (COMING_BACK, TRY, {"acme/m1": 0.25, "acme/m2": 0.75}),
        (COMING_BACK[:1], TRY, {"acme/m1": 1.0}),
    ],
    ids=["near and far", "near", "far", "dear", "alone", "off", "always", "coming back", "coming back alone"],
)
def test_everyone_is_drawn_as_often_as_the_propensity_says(
    ranking: list[ScoredCandidate], policy: ExplorationPolicy, expected: dict[str, float]
):
    found = frequencies(lambda two: choose_scored(ranking, policy, two, explore=True))
    assert {name: stated for name, (_, stated) in found.items()} == pytest.approx(expected)
    assert {name: often for name, (often, _) in found.items()} == pytest.approx(expected, abs=0.01)
    assert sum(stated for _, stated in found.values()) == pytest.approx(1.0)


@given(candidates, shares, st.sampled_from([0.5, 3.0]))
def test_probes_add_no_more_to_the_bill_than_their_share_times_the_cost_ratio(
    items: list[ScoredCandidate], probe: float, ratio: float
):
    policy = ExplorationPolicy(share=0.0, probe_share=probe * 0.5, max_cost_ratio=ratio, max_score_gap=1e-9)
    ranking = rank(items)
    top = ranking[0]
    spent: dict[str, float] = {}
    for index in range(12):  # every rival's place begins with one of these, whether one to four are probed
        choice = choose_scored(ranking, policy, (0.0, (index + 1e-9) / 12), explore=True)
        if choice.explored:
            spent[choice.chosen.deployment] = choice.propensity * choice.chosen.facts.expected_cost_usd
    assert sum(spent.values()) <= policy.probe_share * ratio * top.facts.expected_cost_usd + 1e-12


def test_exploration_is_marked_and_can_be_switched_off_for_a_request():
    assert choose_scored(NEAR_AND_FAR, TRY, (0.0, 0.0), explore=True).explored
    assert not choose_scored(NEAR_AND_FAR, TRY, (0.5, 0.0), explore=True).explored
    assert choose_scored(NEAR_AND_FAR, TRY, (0.0, 0.0), explore=False) == Choice(NEAR_AND_FAR[0], 1.0)


@given(candidates, shares, shares, draws)
def test_nobody_is_chosen_with_an_impossible_probability(
    items: list[ScoredCandidate], share: float, probe: float, two: tuple[float, float]
):
    policy = ExplorationPolicy(share=share * 0.5, probe_share=probe * 0.5)
    choice = choose_scored(rank(items), policy, two, explore=True)
    assert choice.chosen in items
    assert 0.0 < choice.propensity <= 1.0


# --- by weight


def by_weight(weights: list[float], ramps: list[float] | None = None) -> Callable[[float], Choice]:
    pool = {name: deployment(name, weight=weight) for name, weight in zip(NAMES, weights, strict=False)}
    ranking = [candidate(name, 50.0, ramp=ramp) for name, ramp in zip(pool, ramps or [1.0] * len(pool), strict=True)]
    return lambda draw: choose_weighted(ranking, pool, draw)


@pytest.mark.parametrize(
    ("weights", "ramps", "expected"),
    [
        ([3.0, 1.0], [1.0, 1.0], {"acme/m1": 0.75, "acme/m2": 0.25}),
        ([0.0, 2.0, 0.0], [1.0, 1.0, 1.0], {"acme/m2": 1.0}),
        ([1.0, 1.0], [0.25, 1.0], {"acme/m1": 0.2, "acme/m2": 0.8}),
        ([0.0, 0.0], [1.0, 1.0], {"acme/m1": 0.5, "acme/m2": 0.5}),
    ],
    ids=["in proportion", "never without weight", "coming back", "all without weight"],
)
def test_a_weighted_draw_follows_weights_and_ramps(
    weights: list[float], ramps: list[float], expected: dict[str, float]
):
    choose = by_weight(weights, ramps)
    found = frequencies(lambda two: choose(two[0]))
    assert {name: stated for name, (_, stated) in found.items()} == pytest.approx(expected)
    assert {name: often for name, (often, _) in found.items()} == pytest.approx(expected, abs=0.01)


@given(st.lists(st.sampled_from([0.0, 0.1, 0.3, 1.0, 7.7]), min_size=1, max_size=5), draws)
def test_a_weighted_draw_never_lands_on_one_without_weight(weights: list[float], two: tuple[float, float]):
    choice = by_weight(weights)(two[0])
    assert 0.0 < choice.propensity <= 1.0
    if any(weights):
        assert weights[NAMES.index(choice.chosen.deployment)] > 0.0


def test_the_first_and_the_last_draw_there_are_land_on_some_with_weight():
    last = 1.0 - 2**-53
    assert by_weight([0.0, 1.0])(0.0).chosen.deployment == NAMES[1]
    assert by_weight([0.1] * 4 + [0.0])(last).chosen.deployment == NAMES[3]
    assert by_weight([5e-324])(last).chosen.deployment == NAMES[0]
