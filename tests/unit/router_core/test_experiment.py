from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from router_core.errors import ConfigError
from router_core.experiment import (
    MOVES,
    Arm,
    ArmSums,
    Experiment,
    ExperimentState,
    Guardrails,
    Metric,
    analyse,
    assign,
)
from router_core.sequential import Moments

CONTROL, NEW = Arm("control", deployment="acme/a"), Arm("new", deployment="acme/b")


def experiment(**changes: Any) -> Experiment:
    values = {"id": "e1", "name": "a test", "arms": (CONTROL, NEW), "min_samples": 20, **changes}
    return Experiment(**values)


def running(**changes: Any) -> Experiment:
    return experiment(**{"state": ExperimentState.RUNNING, **changes})


def share(ones: int, of: int) -> Moments:
    return Moments(of, ones, ones)


def spread(mean: float, n: int) -> Moments:
    """n values, half of them a tenth above the mean, half below."""
    low, high = 0.9 * mean, 1.1 * mean
    return Moments(n, n * mean, n / 2 * (low * low + high * high))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "x"}, "a deployment or a policy"),
        ({"name": "x", "deployment": "a/b", "policy": "cost"}, "not both"),
        ({"name": "", "policy": "cost"}, "1 to 64 characters"),
        ({"name": "x" * 65, "policy": "cost"}, "1 to 64 characters"),
        ({"name": "x", "policy": "cost", "share": 0.0}, "share"),
        ({"name": "x", "policy": "cost", "share": float("inf")}, "share"),
        ({"name": "x", "policy": "cost", "share": float("nan")}, "share"),
    ],
)
def test_an_arm_that_cannot_be(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Arm(**values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": (CONTROL,)}, "2 to 8 arms"),
        ({"arms": tuple(Arm(str(n), policy="cost") for n in range(9))}, "2 to 8 arms"),
        ({"arms": (CONTROL, CONTROL)}, "different names"),
        ({"min_samples": 19}, "at least 20"),
        ({"name": ""}, "name must have"),
    ],
)
def test_an_experiment_that_cannot_be(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        experiment(**changes)


@pytest.mark.parametrize(
    "values", [{"success_drop": -0.1}, {"success_drop": 1.0}, {"latency_factor": 0.5}, {"cost_factor": float("inf")}]
)
def test_a_guardrail_that_cannot_be(values: dict[str, float]):
    with pytest.raises(ConfigError, match=next(iter(values))):
        Guardrails(**values)


def test_states_move_by_the_table_alone():
    for state in ExperimentState:
        for wanted in ExperimentState:
            found = experiment(state=state)
            if wanted in MOVES[state]:
                moved = found.moved(wanted, "because")
                assert (moved.state, moved.reason) == (wanted, "because")
            else:
                with pytest.raises(ConfigError, match=f"is {state} cannot become {wanted}"):
                    found.moved(wanted)


@pytest.mark.parametrize(
    ("changes", "task", "tags", "now", "expected"),
    [
        ({}, "planning", (), 5.0, True),
        ({"state": ExperimentState.STOPPED}, "planning", (), 5.0, False),
        ({"ends_at": 5.0}, "planning", (), 5.0, False),
        ({"ends_at": 5.1}, "planning", (), 5.0, True),
        ({"task": "planning"}, "planning", (), 5.0, True),
        ({"task": "testing"}, "planning", (), 5.0, False),
        ({"tag": "a"}, "planning", ("a", "b"), 5.0, True),
        ({"tag": "c"}, "planning", ("a", "b"), 5.0, False),
    ],
)
def test_who_takes_part(changes: dict[str, Any], task: str, tags: tuple[str, ...], now: float, expected: bool):
    assert running(**changes).applies(task, tags, now) is expected


def test_assignment_is_sticky_and_in_proportion():
    found = experiment(arms=(Arm("a", policy="cost", share=1.0), Arm("b", policy="speed", share=3.0)))
    units = [f"unit-{n}" for n in range(4000)]
    counts = Counter(assign(found, unit).name for unit in units)
    assert counts == Counter(assign(found, unit).name for unit in units)
    assert 0.72 < counts["b"] / 4000 < 0.78


def test_two_experiments_deal_the_same_units_differently():
    one, other = experiment(), experiment(id="e2")
    same = sum(assign(one, str(n)).name == assign(other, str(n)).name for n in range(1000))
    assert 400 < same < 600


def test_the_last_arm_takes_what_rounding_leaves(monkeypatch: pytest.MonkeyPatch):
    class Digest:
        @staticmethod
        def digest() -> bytes:
            return b"\xff" * 32

    monkeypatch.setattr("router_core.experiment.hashlib.sha256", lambda _: Digest)
    # the mark is the sum of the shares itself, up to rounding
    assert assign(experiment(), "anybody").name == "new"


def test_too_few_samples_name_no_winner():
    sums = {"control": ArmSums(success=share(1, 19)), "new": ArmSums(success=share(19, 19))}
    report = analyse(running(metric=Metric.SUCCESS), sums)
    assert (report.winner, report.enough) == (None, False)


def test_an_arm_nobody_measured_has_too_few():
    assert analyse(running(), {}).enough is False


@pytest.mark.parametrize(
    ("metric", "control", "new", "winner"),
    [
        (Metric.REWARD, share(50, 200), share(150, 200), "new"),
        (Metric.REWARD, share(150, 200), share(50, 200), "control"),
        (Metric.SUCCESS, share(120, 200), share(199, 200), "new"),
        (Metric.COST, spread(0.02, 200), spread(0.01, 200), "new"),
        (Metric.COST, spread(0.01, 200), spread(0.02, 200), "control"),
        (Metric.LATENCY, spread(3.0, 200), spread(1.0, 200), "new"),
        (Metric.LATENCY, spread(1.0, 200), spread(1.001, 200), None),
        (Metric.REWARD, share(100, 200), share(104, 200), None),
    ],
)
def test_the_better_arm_wins_in_its_metric(metric: Metric, control: Moments, new: Moments, winner: str | None):
    sums = {"control": ArmSums(**{metric.value: control}), "new": ArmSums(**{metric.value: new})}
    report = analyse(running(metric=metric), sums)
    assert report.enough
    assert report.winner == winner


def test_only_the_metric_that_was_fixed_decides():
    sums = {
        "control": ArmSums(success=share(10, 400), reward=share(200, 400)),
        "new": ArmSums(success=share(390, 400), reward=share(200, 400)),
    }
    assert analyse(running(metric=Metric.REWARD), sums).winner is None


def test_the_best_of_several_wins_and_the_control_only_against_all():
    arms = (CONTROL, NEW, Arm("other", policy="cost"))
    sums = {"control": ArmSums(reward=share(50, 400)), "new": ArmSums(reward=share(200, 400))}
    best = analyse(running(arms=arms), {**sums, "other": ArmSums(reward=share(300, 400))})
    assert best.winner == "other"
    middling = {"control": sums["new"], "new": sums["control"], "other": ArmSums(reward=share(205, 400))}
    assert analyse(running(arms=arms), middling).winner is None
    lost = {"control": sums["new"], "new": sums["control"], "other": sums["control"]}
    assert analyse(running(arms=arms), lost).winner == "control"


def test_more_arms_share_the_error_rate():
    sums = {"control": ArmSums(reward=share(100, 200)), "new": ArmSums(reward=share(120, 200))}
    two = analyse(running(), sums).comparisons[0]
    arms = (CONTROL, NEW, Arm("other", policy="cost"))
    three = analyse(running(arms=arms), {**sums, "other": sums["new"]}).comparisons[0]
    assert three.high - three.low > two.high - two.low


RAILS = Guardrails(success_drop=0.1, latency_factor=1.5, cost_factor=2.0)


@pytest.mark.parametrize(
    ("control", "new", "breach"),
    [
        ({"success": share(195, 200)}, {"success": share(100, 200)}, "new: success fell by 0.475"),
        ({"success": share(195, 200)}, {"success": share(190, 200)}, None),
        ({"success": share(19, 19)}, {"success": share(0, 19)}, None),
        ({"latency": spread(1.0, 200)}, {"latency": spread(2.0, 200)}, "new: latency is 2.00 times the control's"),
        ({"latency": spread(1.0, 200)}, {"latency": spread(1.4, 200)}, None),
        ({"latency": spread(1.0, 19)}, {"latency": spread(9.0, 19)}, None),
        ({"cost": spread(0.001, 200)}, {"cost": spread(0.004, 200)}, "new: cost is 4.00 times the control's"),
        ({"cost": Moments(200, 0.0, 0.0)}, {"cost": spread(0.004, 200)}, None),
        ({"cost": Moments(30, 0.03, 0.9)}, {"cost": Moments(30, 0.09, 2.7)}, None),
    ],
    ids=str,
)
def test_guardrails_stop_what_surely_does_harm(
    control: dict[str, Moments], new: dict[str, Moments], breach: str | None
):
    sums = {"control": ArmSums(**control), "new": ArmSums(**new)}
    assert analyse(running(guardrails=RAILS), sums).breach == breach


def test_what_is_not_watched_is_not_judged():
    sums = {"control": ArmSums(success=share(200, 200)), "new": ArmSums(success=share(0, 200))}
    found = Guardrails(success_drop=None)
    assert found.watched == 0
    assert analyse(running(guardrails=found), sums).breach is None
    assert RAILS.watched == 3
