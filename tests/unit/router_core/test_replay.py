from __future__ import annotations

import math

import numpy as np
import pytest

from router_core import replay
from router_core.decision import Facts
from router_core.policy import ScoringPolicy, Weights
from router_core.replay import Curve, apgr, choose, cost_weights, interval, sweep
from router_core.request import RoutingRequest
from router_core.scoring import score
from router_core.task import TaskProfile, TaskType
from tests.unit.router_core.builders import known


def test_the_rule_of_choice_is_the_score_of_a_decision():
    rng = np.random.default_rng(1)
    quality, cost = rng.random((50, 4)), rng.random((50, 4)) * 0.05
    request = RoutingRequest(TaskProfile(TaskType.GENERAL))
    for weight in (0.0, 0.3, 4.0, 100.0):
        picks = choose(quality, cost, weight, 0.01)
        for row in range(50):
            candidates = [facts(q, c) for q, c in zip(quality[row], cost[row], strict=True)]
            found = score(candidates, request, Weights(cost=weight), ScoringPolicy(cost_scale_usd=0.01))
            scored = [item.score for item in found]
            assert scored[picks[row]] == pytest.approx(max(scored))


def facts(quality: float, cost: float) -> Facts:
    values = dict.fromkeys(Facts._fields, 0)
    values |= {"deployment": "acme/m1", "provider": "acme", "known": known(), "quality": quality}
    return Facts(**{**values, "expected_cost_usd": cost})


def test_a_sweep_goes_from_the_best_to_the_cheapest_and_ties_to_the_cheaper():
    quality, cost = np.array([[0.9, 0.5, 0.9]]), np.array([[0.02, 0.001, 0.01]])
    picks = sweep(quality, cost, cost_weights(50))
    assert picks[0, 0] == 2
    assert picks[-1, 0] == 1


def test_a_curve_averages_what_was_chosen():
    scores, costs = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 1.0], [3.0, 1.0]])
    curve = Curve.of(np.array([[0, 0], [0, 1]]), scores, costs)
    assert curve.quality.tolist() == [0.5, 1.0]
    assert curve.cost.tolist() == [3.0, 2.0]
    weighed = Curve.of(np.array([[0, 0]]), scores, costs, np.array([3.0, 1.0]))
    assert weighed.quality[0] == 0.75


def test_the_envelope_drops_what_mixing_beats_and_reads_costs_between():
    curve = Curve(np.array([1.0, 2.0, 3.0, 4.0, 2.5]), np.array([0.2, 0.3, 0.8, 0.7, 0.2]))
    hull = curve.hull()
    assert hull.cost.tolist() == [1.0, 3.0]
    assert curve.cost_at(0.5) == pytest.approx(2.0)
    assert curve.cost_at(0.1) == 1.0
    assert math.isnan(curve.cost_at(0.9))
    assert curve.quality_at(2.0) == pytest.approx(0.5)
    assert curve.quality_at(9.0) == 0.8
    assert math.isnan(curve.quality_at(0.5))
    assert curve.within(2.6) == 0.3
    assert math.isnan(curve.within(0.5))
    assert curve.area(1.0, 1.0) == pytest.approx(0.2, abs=1e-3)
    assert 0.2 < curve.area(1.0, 4.0) < 0.8


def test_apgr_is_one_half_for_chance_and_more_for_a_good_ranking():
    rng = np.random.default_rng(0)
    weak = (rng.random(20_000) < 0.5).astype(float)
    strong = np.where(rng.random(20_000) < 0.8, 1.0, 0.0)
    assert apgr(rng.random(20_000), strong, weak) == pytest.approx(0.5, abs=0.02)
    assert apgr(strong - weak, strong, weak) > 0.9
    assert apgr(weak - strong, strong, weak) < 0.1


def test_apgr_agrees_with_the_published_procedure():
    """Thresholds at the deciles of the win rate; the share above each goes to the strong model; trapezoid."""
    rng = np.random.default_rng(2)
    gain, strong, weak = rng.random(1000), (rng.random(1000) < 0.8) * 1.0, (rng.random(1000) < 0.6) * 1.0
    points = []
    for threshold in np.quantile(gain, np.linspace(0, 1, 11)):
        up = gain >= threshold if threshold < gain.max() else gain > threshold
        points.append((up.mean(), np.where(up, strong, weak).mean()))
    share, accuracy = np.array(sorted(points)).T
    area = np.trapezoid(accuracy, share)
    published = (area - weak.mean()) / (strong.mean() - weak.mean())
    assert apgr(gain, strong, weak) == pytest.approx(published, abs=2e-3)


def test_two_equal_models_have_no_gap():
    with pytest.raises(ValueError, match="no gap"):
        apgr(np.arange(3.0), np.ones(3), np.ones(3))


def test_intervals_leave_out_what_could_not_be_computed():
    low, high = interval([*np.linspace(0, 1, 101), float("nan")])
    assert (low, high) == pytest.approx((0.025, 0.975))
    assert all(math.isnan(end) for end in interval([float("nan")]))


def test_the_scale_of_terms_is_the_decision_s():
    assert (replay.TERM_MAXIMA.quality, replay.TERM_MAXIMA.cost) == (50.0, 20.0)
