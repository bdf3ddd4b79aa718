"""The seven factors: each within its range, and more of what is good never lowers a score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core import scoring
from router_core.decision import TERM_MAXIMA, Facts, ScoredCandidate, Terms
from router_core.known import performance
from router_core.latency import bin_of
from router_core.policy import ScoringPolicy, Weights
from router_core.request import RoutingRequest
from router_core.series import Series
from tests.unit.router_core.builders import facts, request
from tests.unit.router_core.strategies import any_facts, scorings, shares, weights

SCORING = ScoringPolicy()
BALANCED = Weights()
WISHES = request(prefer="acme", diversity=True)


def score(judged: Facts, asked: RoutingRequest, chosen: Weights, policy: ScoringPolicy) -> ScoredCandidate:
    (found,) = scoring.score([judged], asked, chosen, policy)
    return found


def terms(judged: Facts, **asked: Any) -> Terms:
    return score(judged, request(**asked), BALANCED, SCORING).terms


def test_the_best_there_can_be_earns_every_point():
    perfect = facts(quality=1.0, expected_cost_usd=0.0, performance=1.0, learned=1.0, preference=1.0)
    assert terms(perfect, prefer="acme", diversity=True) == TERM_MAXIMA
    assert score(perfect, WISHES, BALANCED, SCORING).score == 105.0


def test_each_factor_has_its_formula():
    judged = facts(quality=0.8, expected_cost_usd=0.01, performance=0.6, learned=0.4, preference=0.3)
    assert terms(judged) == pytest.approx((40.0, 10.0, 9.0, 4.0, 1.5, 0.0, 0.0))


@pytest.mark.parametrize(("expected_usd", "points"), [(0.0, 20.0), (0.01, 10.0), (0.03, 5.0), (1e12, 0.0)])
def test_cost_is_on_an_absolute_scale(expected_usd: float, points: float):
    assert terms(facts(expected_cost_usd=expected_usd)).cost == pytest.approx(points, abs=1e-9)


@pytest.mark.parametrize(
    ("recent", "asked", "points"),
    [((), True, 3.0), (("beta",), True, 3.0), (("beta", "acme"), True, 0.0), ((), False, 0.0)],
)
def test_diversity_counts_when_asked_for_and_not_used_lately(recent: tuple[str, ...], asked: bool, points: float):
    assert terms(facts(), diversity=asked, recent_providers=recent).vendor_diversity == points


@pytest.mark.parametrize(("prefer", "points"), [("acme", 2.0), ("acme inc", 2.0), ("beta", 0.0), (None, 0.0)])
def test_a_preferred_vendor_may_be_named_by_provider_or_vendor(prefer: str | None, points: float):
    assert terms(facts(), prefer=prefer).vendor_preference == points


@given(any_facts(), scorings)
def test_terms_stay_in_their_ranges_whatever_is_known(judged: Facts, policy: ScoringPolicy):
    found = score(judged, WISHES, BALANCED, policy).terms
    for value, most in zip(found, TERM_MAXIMA, strict=True):
        assert 0.0 <= value <= most


@given(any_facts(), weights, scorings)
def test_the_score_is_the_weighted_sum_times_the_adjustment(judged: Facts, chosen: Weights, policy: ScoringPolicy):
    found = score(judged, WISHES, chosen, policy)
    total = sum(getattr(chosen, name) * value for name, value in found.terms._asdict().items())
    assert found.adjustment == judged.known.adjustment
    assert found.score == pytest.approx(total * found.adjustment)
    assert 0.0 <= found.shown_score <= 100.0


ABOUT = {
    "quality": lambda judged, value: judged._replace(quality=value),
    "lower expected cost": lambda judged, value: judged._replace(expected_cost_usd=1.0 - value),
    "performance": lambda judged, value: judged._replace(known=replace(judged.known, performance=value)),
    "learned": lambda judged, value: judged._replace(known=replace(judged.known, learned=value)),
    "preference": lambda judged, value: judged._replace(known=replace(judged.known, preference=value)),
    "adjustment": lambda judged, value: judged._replace(known=replace(judged.known, adjustment=0.5 + value)),
    "success rate": lambda judged, value: _performing(judged, success=value),
    "lower latency": lambda judged, value: _performing(judged, seconds=101.0 - 100.0 * value),
}


def _performing(judged: Facts, success: float = 0.9, seconds: float = 2.0) -> Facts:
    summary = Series({"n": 60.0, "ok": 60.0 * success}, {bin_of(seconds): 60.0}).summary
    found = performance(60.0, summary, 1.0, SCORING)
    return judged._replace(known=replace(judged.known, performance=found))


@pytest.mark.parametrize("what", ABOUT)
@given(judged=any_facts(), chosen=weights, one=shares, other=shares)
def test_more_of_what_is_good_never_lowers_the_score(
    what: str, judged: Facts, chosen: Weights, one: float, other: float
):
    worse, better = (ABOUT[what](judged, value) for value in sorted((one, other)))
    low, high = (score(each, WISHES, chosen, SCORING).score for each in (worse, better))
    assert low <= high * (1 + 1e-12) + 1e-12


@pytest.mark.parametrize("what", ABOUT)
def test_a_lot_more_of_what_is_good_raises_the_score(what: str):
    worse, better = (ABOUT[what](facts(), value) for value in (0.1, 0.9))
    assert score(worse, WISHES, BALANCED, SCORING).score < score(better, WISHES, BALANCED, SCORING).score


@given(any_facts(), st.floats(0.0, 5.0))
def test_a_weight_scales_its_factor_alone(judged: Facts, weight: float):
    nothing = Weights(0, 0, 0, 0, 0, 0, 0)
    alone = score(judged, WISHES, replace(nothing, quality=weight), SCORING)
    assert alone.score == pytest.approx(weight * alone.terms.quality * judged.known.adjustment)
