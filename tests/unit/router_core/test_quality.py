from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router_core.deployment import QualityPrior
from router_core.difficulty import difficulty
from router_core.features import DENSE_NAMES, EMBEDDING_SIZE, Features
from router_core.outcome import Reward
from router_core.quality import QualityState, length_factor, neighbourhood, posterior, residuals, shifted
from router_core.quality_fit import fit_model
from router_core.quality_model import DEFAULT
from router_core.task import TaskType
from router_core.trees import Growth, grow

NAMES = ("p/strong", "p/weak")


def features(text: int = 0, **measures: float) -> Features:
    """Features of prompt number ``text``: its embedding points into one of two directions."""
    dense = np.zeros(len(DENSE_NAMES), dtype=np.float32)
    for name, value in measures.items():
        dense[DENSE_NAMES.index(name)] = value
    embedding = np.zeros(EMBEDDING_SIZE, dtype=np.float32)
    embedding[text % 2] = 1.0
    embedding[2 + text % 50] = 0.3
    return Features(embedding / np.linalg.norm(embedding), dense, 10, 0.0, 0)


def table(count: int = 200):
    """Prompts of two kinds: on even ones both are right, on odd ones only the strong one is; odd ones are longer."""
    given = [features(i) for i in range(count)]
    scores = np.array([[1.0, 1.0 - i % 2] for i in range(count)])
    lengths = np.array([[100.0 + 200.0 * (i % 2), 50.0 + 100.0 * (i % 2)] for i in range(count)])
    tasks = [("reasoning",) if i % 4 < 2 else ("tool_use", "analysis") for i in range(count)]
    return given, scores, lengths, tasks


def model(count: int = 200, scores=None, **options):
    given, known, lengths, tasks = table(count)
    stacked = np.stack([f.embedding for f in given]), np.stack([f.dense for f in given])
    hard = np.zeros(count, dtype=np.float32)
    return fit_model(NAMES, *stacked, hard, known if scores is None else scores, lengths, tasks, **options)


def reward(value: float, deployment: str = NAMES[0], given: Features | None = None, **more) -> Reward:
    return Reward(deployment, TaskType.REASONING, 0.0, value, features=given, **more)


def test_the_posterior_starts_at_the_prior_and_goes_to_the_evidence():
    prior = QualityPrior(0.8, 20.0)
    mean, deviation = posterior(prior, 0.0, 0.0)
    assert mean == 0.8
    assert deviation == pytest.approx((0.8 * 0.2 / 21) ** 0.5)
    assert posterior(prior, 20.0, 0.0)[0] == pytest.approx(0.4)
    mean, deviation = posterior(prior, 1e6, 0.3e6)
    assert mean == pytest.approx(0.3, abs=1e-4)
    assert deviation < 1e-3


def test_hard_prompts_cost_the_middling_most():
    drop = [mean - shifted(mean, 2.0) for mean in (0.5, 0.9, 1.0)]
    assert drop[0] > drop[1] > drop[2] == 0.0
    assert shifted(0.5, -100.0) == 1.0
    assert shifted(0.5, 100.0) == 0.0


def test_length_negations_and_names_look_hard_and_figures_easy():
    plain = difficulty("what is it", 0.5, 0.0)
    assert plain == pytest.approx(0.0)
    assert difficulty("which is not true, except Rome", 0.5, 0.0) > difficulty("which is not true", 0.5, 0.0) > plain
    assert difficulty("12 + 12", 0.5, 0.3) < plain
    assert difficulty("x", 5.0, 0.0) == 3.0
    assert difficulty("x", 0.0, 1.0) == -3.0


@pytest.mark.parametrize(
    ("measures", "name"),
    [
        ({}, "s---"),
        ({"length": 0.6}, "m---"),
        ({"length": 0.8, "options": 0.8}, "lo--"),
        ({"numbers": 0.5}, "s-f-"),
        ({"latex": 0.2}, "s-f-"),
        ({"code": 0.5}, "s--c"),
    ],
)
def test_neighbourhoods_are_told_by_structure(measures, name):
    assert neighbourhood(features(**measures)) == name


def test_the_model_learns_on_which_prompts_the_weak_one_fails():
    fitted = model()
    for number, weak in ((500, 1.0), (501, 0.0)):
        given = features(number)
        predicted = fitted.predict(given.embedding, given.dense, 0.0)
        assert predicted[0] == pytest.approx(1.0, abs=0.1)
        assert predicted[1] == pytest.approx(weak, abs=0.2)


def test_one_prompt_and_many_are_predicted_alike():
    fitted = model()
    given = [features(i) for i in range(7)]
    many = fitted.predict(np.stack([f.embedding for f in given]), np.stack([f.dense for f in given]), np.zeros(7))
    one = np.stack([fitted.predict(f.embedding, f.dense, 0.0) for f in given])
    assert many == pytest.approx(one, abs=1e-5)


def test_fitting_is_deterministic_and_harder_prompts_lower_the_prediction():
    first, second = model(seed=3), model(seed=3)
    given = features(1)
    assert first.predict(given.embedding, given.dense, 0.0) == pytest.approx(
        second.predict(given.embedding, given.dense, 0.0)
    )
    assert first.predict(given.embedding, given.dense, 3.0)[1] < first.predict(given.embedding, given.dense, 0.0)[1]


def test_levels_are_per_task_and_an_unknown_task_has_the_overall_one():
    fitted = model(version="v")
    assert fitted.level(("planning",)) == pytest.approx(fitted.levels[DEFAULT])
    both = (fitted.levels["tool_use"] + fitted.levels["analysis"]) / 2
    assert fitted.level(("tool_use", "analysis")) == pytest.approx(both)
    assert fitted.version == "v"


def test_answers_that_were_not_run_are_filled_from_the_others():
    _, scores, _, _ = table()
    scores[50:100, 1] = np.nan
    fitted = model(scores=scores)
    assert fitted.predict(features(501).embedding, features(501).dense, 0.0)[1] < 0.4


def test_a_model_of_one_deployment_can_be_fitted():
    given, scores, lengths, tasks = table(40)
    stacked = np.stack([f.embedding for f in given]), np.stack([f.dense for f in given])
    fitted = fit_model(NAMES[1:], *stacked, np.zeros(40, np.float32), scores[:, 1:], lengths[:, 1:], tasks)
    assert fitted.predict(features(500).embedding, features(500).dense, 0.0)[0] > 0.6


@pytest.mark.parametrize("scores", [np.ones((1, 2)), np.column_stack((np.ones(40), np.full(40, np.nan)))])
def test_too_little_to_fit_is_refused(scores):
    given, _, lengths, tasks = table(len(scores))
    stacked = np.stack([f.embedding for f in given]), np.stack([f.dense for f in given])
    with pytest.raises(ValueError, match="at least two prompts and a score of every deployment"):
        fit_model(NAMES, *stacked, np.zeros(len(scores), np.float32), scores, lengths, tasks)


def test_trees_split_where_the_targets_differ_even_with_useless_columns_around():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 6)).astype(np.float32)
    values[:, 5] = 1.0  # nothing can be asked of it
    targets = np.where(values[:, [2]] > 0, 1.0, -1.0).astype(np.float32)
    forest = grow(values, targets, 0, Growth(trees=30, depth=4, features=1.0))
    assert forest.predict(np.array([0, 0, 2, 0, 0, 1], np.float32))[0] > 0.8
    assert forest.predict(np.array([0, 0, -2, 0, 0, 1], np.float32))[0] < -0.8
    lone = grow(values[:, 5:], targets, 0, Growth(trees=3, depth=2))
    assert abs(float(lone.predict(values[:1, 5:])[0, 0])) < 0.5


def test_a_state_that_knows_nothing_says_so():
    state = QualityState.empty(share=0.4, prior=7.0)
    assert (state.share, state.prior) == (0.4, 7.0)
    assert residuals(state, features(), ("reasoning",)) is None
    assert residuals(QualityState(model=model()), None, ("reasoning",)) is None
    assert length_factor(state, features(), ("reasoning",)) == 1.0
    assert length_factor(state, None, ("reasoning",)) == 1.0


def test_residuals_are_the_prompt_s_distance_from_its_task_s_level():
    fitted = model()
    state = QualityState(model=fitted)
    easy, hard = (residuals(state, features(i), (TaskType.REASONING,)) for i in (500, 501))
    assert easy is not None
    assert hard is not None
    assert easy["p/weak"] > 0.3
    assert hard["p/weak"] < -0.3
    assert abs(hard["p/strong"]) < 0.1
    given = features(501)
    predicted = fitted.predict(given.embedding, given.dense, given.difficulty)
    level = fitted.level(("reasoning",))
    assert level[1] + hard["p/weak"] == pytest.approx(float(predicted[1]))


def test_length_follows_the_prompt():
    state = QualityState(model=model())
    assert length_factor(state, features(500), ("reasoning",)) < 0.7
    assert length_factor(state, features(501), ("reasoning",)) > 1.3


def test_a_model_of_another_embedding_is_not_asked():
    state = QualityState(model=model(hashed=True))
    assert residuals(state, features(1), ("reasoning",)) == {}
    assert length_factor(state, features(1), ("reasoning",)) == 1.0
    assert residuals(QualityState(model=model()), replace(features(1), embedding=None), ("reasoning",)) == {}


def test_rewards_without_features_teach_nothing_about_neighbourhoods():
    assert QualityState.empty().increments(reward(1.0)) == {}


def test_neighbourhoods_where_one_deployment_does_worse_than_the_others_are_learnt():
    state = QualityState.empty(share=1.0, prior=10.0)
    code, prose = features(code=0.5), features()
    for _ in range(100):
        for deployment, value in ((NAMES[0], 1.0), (NAMES[1], 0.0)):
            state = state.absorb(state.increments(reward(value, deployment, code)))
            state = state.absorb(state.increments(reward(0.5, deployment, prose)))
    told = residuals(state, code, ("reasoning",))
    assert told is not None
    assert residuals(state, code, ("reasoning",)) == told
    assert told[NAMES[0]] > 0.15
    assert told[NAMES[1]] < -0.15
    assert residuals(state, features(length=0.9), ("reasoning",)) == {NAMES[0]: 0.0, NAMES[1]: 0.0}
    assert residuals(state, code, ("planning",)) == {}


def test_a_neighbourhood_that_is_hard_for_all_is_nobody_s_fault():
    state = QualityState.empty(share=1.0)
    for value, given in ((0.1, features(code=0.5)), (0.9, features())):
        for _ in range(50):
            for deployment in NAMES:
                state = state.absorb(state.increments(reward(value, deployment, given)))
    assert residuals(state, features(code=0.5), ("reasoning",)) == pytest.approx({NAMES[0]: 0.0, NAMES[1]: 0.0})


def test_sums_merge_in_any_order_and_survive_a_store():
    rewards = [
        reward(v, n, features(code=c)) for v, n, c in ((1.0, NAMES[0], 0.5), (0.2, NAMES[1], 0.0), (0.4, NAMES[0], 0.0))
    ]
    parts = [QualityState.empty().increments(r, 2.0) for r in rewards]
    one = QualityState.empty().absorb(parts[0]).absorb(parts[1]).absorb(parts[2])
    other = QualityState.empty().absorb(parts[2]).absorb(parts[0], 2.0).absorb(parts[1])
    assert one.sums() == other.sums()
    assert other.unit == 2.0
    again = QualityState.empty().absorb({**one.sums(), "row|p/m|reasoning": {"w": 9.0}})
    assert again.sums() == one.sums()


def test_a_structural_task_teaches_both_rows():
    given = reward(1.0, given=features(), secondary=TaskType.ANALYSIS)
    assert {key.split("|")[2] for key in QualityState.empty().increments(given)} == {"reasoning", "analysis"}


def test_what_the_model_had_foreseen_is_not_counted_twice():
    """Shown only easy prompts, a deployment's task mean rises; what the model expected of them is taken back."""
    fitted = model()
    priors = {NAMES[1]: {"default": QualityPrior(0.5, 50.0)}}
    state = QualityState(model=fitted, priors=priors)
    easy = features(500)
    before = residuals(state, easy, ("reasoning",))
    weight = value = 0.0
    for _ in range(50):
        state = state.absorb(state.increments(reward(1.0, NAMES[1], easy)))
        weight, value = weight + 1.0, value + 1.0
    after = residuals(state, easy, ("reasoning",))
    assert before is not None
    assert after is not None
    mean_before = posterior(priors[NAMES[1]]["default"], 0.0, 0.0)[0] + before[NAMES[1]]
    mean_after = posterior(priors[NAMES[1]]["default"], weight, value)[0] + after[NAMES[1]]
    assert mean_after == pytest.approx(mean_before, abs=0.08)
