"""The sentence that says why; read by people, so tested as people read it."""

from __future__ import annotations

from typing import Any

import pytest

from router_core.choosing import Choice
from router_core.decision import Rejection, Rule, ScoredCandidate, Terms
from router_core.rationale import sentence
from router_core.task import TaskProfile, TaskType
from tests.unit.router_core.builders import candidate

PROFILE = TaskProfile(TaskType.TESTING, 0.875)
BEST = candidate("acme/m1", 60.0, Terms(40, 10, 7, 3, 0, 0, 0))
NEXT = candidate("beta/m1", 52.5, Terms(30, 12, 7, 2, 1.5, 0, 0))


def said(ranking: list[ScoredCandidate], choice: Choice | None, rejections: Any = (), order: str = "scored") -> str:
    text = sentence(PROFILE, ranking, choice, rejections, order)
    assert text.startswith("testing (0.88): ")
    return text.removeprefix("testing (0.88): ")


@pytest.mark.parametrize(
    ("ranking", "choice", "order", "text"),
    [
        (
            [BEST, NEXT],
            Choice(BEST, 1.0),
            "scored",
            "acme/m1 scored 60.0, 7.5 ahead of beta/m1, mainly by quality +10.0 and feedback +1.0.",
        ),
        ([BEST], Choice(BEST, 1.0), "scored", "acme/m1 is the only eligible one of what was asked for."),
        (
            [BEST, NEXT],
            Choice(NEXT, 0.75),
            "scored",
            "beta/m1 scored 52.5, behind acme/m1, which is coming back gradually.",
        ),
        (
            [BEST, NEXT],
            Choice(NEXT, 0.0125, explored=True),
            "scored",
            "beta/m1 was explored with probability 0.0125 to keep its evidence fresh.",
        ),
        ([BEST, NEXT], Choice(BEST, 1.0), "route's listed", "acme/m1 comes first by the route's listed order."),
        ([BEST, NEXT], Choice(NEXT, 1.0), "request's", "beta/m1 comes first by the request's order."),
        (
            [BEST, BEST._replace(deployment="beta/m1", score=50.0, adjustment=0.8)],
            Choice(BEST, 1.0),
            "scored",
            "acme/m1 scored 60.0, ahead of beta/m1 by its recent form.",
        ),
        (
            [BEST, BEST._replace(deployment="beta/m1")],
            Choice(BEST, 1.0),
            "scored",
            "acme/m1 scored 60.0, level with beta/m1.",
        ),
    ],
)
def test_who_was_chosen_and_what_spoke_for_it(ranking: list[ScoredCandidate], choice: Choice, order: str, text: str):
    assert said(ranking, choice, order=order) == text


def test_nobody_is_eligible():
    refused = [
        Rejection("acme/m1", Rule.BREAKER, "open"),
        Rejection("acme/m2", Rule.BREAKER, "open"),
        Rejection("beta/m1", Rule.COST, "too dear"),
    ]
    assert said([], None, refused) == "no deployment is eligible; refused by breaker 2, cost 1."
    assert said([], None) == "no deployment is eligible; refused by nobody is registered."
