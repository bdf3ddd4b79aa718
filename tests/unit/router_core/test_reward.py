from __future__ import annotations

import pytest

from router_core.outcome import AttemptOutcome, Failure, FailureKind, Feedback, Usage
from router_core.reward import WEIGHTS, Source, feedback_score, of_feedback, of_outcome, of_verdict
from router_core.task import TaskType


def vote(**given: object) -> Feedback:
    return Feedback("d", 1.0, **given)


def attempt(**given: object) -> AttemptOutcome:
    values: dict[str, object] = {"usage": Usage(input=10, output=20), "finish_reason": "stop"}
    return AttemptOutcome("p/m", "p", TaskType.REASONING, 5.0, 1.0, **{**values, **given})


@pytest.mark.parametrize(
    ("given", "score"),
    [
        ({"outcome": "success"}, 1.0),
        ({"outcome": "partial"}, 0.5),
        ({"outcome": "failure"}, 0.0),
        ({"score": 0.3}, 0.3),
        ({"outcome": "success", "score": 0.5}, 0.75),
        ({"rating": 1}, 0.0),
        ({"rating": 4}, 0.75),
        ({"outcome": "success", "rating": 1}, 0.5),
        ({"outcome": "partial", "pr_merged": True}, 0.7),
        ({"outcome": "success", "pr_merged": True}, 1.0),
        ({"outcome": "partial", "pr_reverted": True}, 0.0),
        ({"pr_merged": True}, 0.7),
        ({"pr_reverted": True}, 0.0),
        ({"rating": 5, "pr_reverted": True}, 0.5),
        ({"correction": "no, this"}, 0.0),
        ({"correction": "small fix", "outcome": "partial"}, 0.5),
        ({"label": "billing"}, None),
        # base (1 + .8)/2 = .9, +.2 merged = 1.1, averaged with (3-1)/4 = .5 gives .8
        ({"outcome": "success", "score": 0.8, "pr_merged": True, "rating": 3}, 0.8),
    ],
)
def test_feedback_is_scored_by_the_documented_formula(given, score):
    found = feedback_score(vote(**given))
    assert found == (None if score is None else pytest.approx(score))


def test_a_vote_becomes_a_reward_with_full_weight_and_a_label_alone_none():
    reward = of_feedback(
        vote(score=0.4, source="user"), "p/m", TaskType.TOOL_USE, secondary=TaskType.REASONING, features="f"
    )
    assert reward is not None
    assert (reward.value, reward.weight, reward.source) == (0.4, 1.0, "feedback:user")
    assert (reward.secondary, reward.features, reward.at) == (TaskType.REASONING, "f", 1.0)
    assert of_feedback(vote(label="x"), "p/m", TaskType.GENERAL) is None


def test_a_verdict_weighs_less_than_a_person_and_more_than_a_check():
    reward = of_verdict("p/m", TaskType.GENERAL, 2.0, 0.5)
    assert (reward.value, reward.weight, reward.source) == (0.5, WEIGHTS[Source.JUDGE], "judge")
    assert WEIGHTS[Source.EXPLICIT] > WEIGHTS[Source.JUDGE] > WEIGHTS[Source.VERIFIER] > WEIGHTS[Source.IMPLICIT] > 0


@pytest.mark.parametrize(
    ("given", "checks", "reasked", "value", "source"),
    [
        ({}, [True, False], False, 0.0, "verifier"),
        ({"refusal": True}, [True], False, 0.1, "implicit"),
        ({"finish_reason": "content_filter"}, [], False, 0.1, "implicit"),
        ({"usage": Usage(input=5)}, [], False, 0.0, "implicit"),
        ({"finish_reason": "length"}, [True], False, 0.4, "implicit"),
        ({}, [True], True, 0.2, "implicit"),
        ({}, [True, True], False, 0.8, "verifier"),
    ],
)
def test_an_answer_s_own_signs_the_strongest_first(given, checks, reasked, value, source):
    reward = of_outcome(attempt(**given), checks, reasked=reasked)
    assert reward is not None
    assert (reward.value, reward.source, reward.weight) == (value, source, WEIGHTS[Source(source)])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"failure": Failure(FailureKind.SERVER), "finish_reason": "length"},
        {"usage": Usage(input=5), "tool_calls": 1},
        {"usage": Usage(input=5, estimated=True)},
    ],
    ids=["nothing known", "failed", "tool call without text", "usage only estimated"],
)
def test_silence_is_no_vote(given):
    assert of_outcome(attempt(**given)) is None
