from __future__ import annotations

import pytest

from router_core.decision import TERM_MAXIMA
from router_core.policy import ExplorationPolicy, Policy
from router_core.router import decide
from router_core.snapshot import Snapshot
from tests.unit.router_core.builders import NOW, Draws, candidate, registry, request, without_exploration


def test_the_seven_factors_sum_to_105_points():
    assert sum(TERM_MAXIMA) == 105.0


@pytest.mark.parametrize(("score", "shown"), [(-3.0, 0.0), (42.5, 42.5), (180.0, 100.0)])
def test_the_shown_score_stays_between_0_and_100(score: float, shown: float):
    assert candidate(score=score).shown_score == shown


def test_a_decision_names_its_fallbacks_and_the_candidate_it_chose():
    setup = registry("acme/m1", "beta/m1", "gamma/m1")
    decision = decide(request(), Snapshot.empty(), setup, without_exploration(), NOW, Draws())
    assert decision.chosen == "acme/m1"
    assert decision.fallbacks == ("beta/m1", "gamma/m1")
    assert decision.top is decision.ranking[0]


def test_the_candidate_that_was_chosen_need_not_lead_the_ranking():
    trying = Policy(exploration=ExplorationPolicy(share=1.0, probe_share=0.0))
    decision = decide(request(), Snapshot.empty(), registry("acme/m1", "beta/m1"), trying, NOW, Draws(0.0, 0.0))
    assert decision.chosen == "beta/m1"
    assert decision.top is decision.ranking[1]


def test_a_decision_without_candidates_chose_none():
    setup = registry({"id": "acme/m1", "enabled": False})
    decision = decide(request(), Snapshot.empty(), setup, without_exploration(), NOW, Draws())
    assert (decision.chosen, decision.top, decision.fallbacks) == (None, None, ())
