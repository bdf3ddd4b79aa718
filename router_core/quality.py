"""Expected answer quality of a deployment for one prompt: registry prior, then task evidence, then the prompt itself.

``posterior`` joins the prior with the rewards of (deployment, task). What is known *inside* a task is added:

- with a calibrated model (``quality_model.py``): how far the prompt lies from the task's level, per deployment;
- without one: Rasch's slope on the prompt's difficulty, so that weak deployments lose more on what looks hard;
- and what rewards have shown since about prompts of the same neighbourhood.

Sums are forward-decayed (``decay.py``): adding two workers' sums gives the sums one worker would have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any, Final, NamedTuple

from router_core.deployment import QualityPrior
from router_core.features import DENSE_NAMES, Features
from router_core.outcome import Reward
from router_core.quality_model import Array, QualityModel, rasch_slope
from router_core.value import value_class

KEY: Final = "near"
"""First part of a neighbourhood's series key: ``near|deployment|task|neighbourhood``, fields w, wv and wp."""
EVERYWHERE: Final = "*"
LENGTH_RANGE: Final = (0.2, 5.0)
RENEWED_WEIGHT: Final = 10.0
"""Most pseudo-observations a prior keeps when its deployment is known to have changed since."""


def posterior(prior: QualityPrior, weight: float, value: float) -> tuple[float, float]:
    """Return the mean and standard deviation of expected quality, both in [0, 1].

    ``weight`` is the discounted number of rewards, ``value`` the discounted sum of their values (at most ``weight``).
    The mean is that of a Beta posterior with ``prior.weight`` pseudo-observations of ``prior.mean``, and the deviation
    is the Beta distribution's: sqrt(m (1 - m) / (n + 1)) with n all observations together.
    """
    n = prior.weight + weight
    mean = (prior.weight * prior.mean + value) / n
    return mean, math.sqrt(max(0.0, mean * (1.0 - mean)) / (n + 1.0))


def renewed(prior: QualityPrior) -> QualityPrior:
    """Return what a prior is still worth when its deployment has changed: the same mean, at most 10 observations."""
    return prior if prior.weight <= RENEWED_WEIGHT else QualityPrior(prior.mean, RENEWED_WEIGHT)


def shifted(mean: float, difficulty: float) -> float:
    """Return a mean quality in [0, 1] moved by how hard the prompt looks, along Rasch's slope; within [0, 1]."""
    moved: float = mean + rasch_slope(mean) * difficulty
    return moved if 0.0 < moved < 1.0 else min(1.0, max(0.0, moved))


_LENGTH: Final = DENSE_NAMES.index("length")
_OPTIONS: Final = DENSE_NAMES.index("options")
_NUMBERS: Final = DENSE_NAMES.index("numbers")
_LATEX: Final = DENSE_NAMES.index("latex")
_CODE: Final = DENSE_NAMES.index("code")


def neighbourhood(features: Features) -> str:
    """Name the coarse neighbourhood of a prompt inside its task: one of 24.

    Three lengths (200 and 800 characters part them) by: answer options or not, figures or formulas or not, code or not.
    These split one task type into examinations, mathematics, code and prose, whose difficulty differs most; they need
    no weights and mean the same for every operator.
    """
    dense = features.dense.tolist()
    length = dense[_LENGTH]
    size = "s" if length < 0.53 else "m" if length < 0.67 else "l"  # log1p(characters) / 10 at 200 and 800 characters
    options = "o" if dense[_OPTIONS] >= 0.4 else "-"
    figures = "f" if dense[_NUMBERS] >= 0.15 or dense[_LATEX] > 0.0 else "-"
    code = "c" if dense[_CODE] >= 0.2 else "-"
    return size + options + figures + code


class Cell(NamedTuple):
    """Decayed sums of one (task, deployment, neighbourhood): weight, value, and what the model had foreseen."""

    w: float = 0.0
    wv: float = 0.0
    wp: float = 0.0

    def plus(self, added: Mapping[str, float]) -> Cell:
        """Add one increment."""
        return Cell(self.w + added.get("w", 0.0), self.wv + added.get("wv", 0.0), self.wp + added.get("wp", 0.0))


_NO_CELL: Final = Cell()
Cells = Mapping[str, Mapping[str, Mapping[str, Cell]]]
"""task -> deployment -> neighbourhood (and ``EVERYWHERE``) -> sums."""


@value_class(eq=False)
class QualityState:
    """What is known of quality inside a task: the calibrated ``model`` and the ``cells`` of rewards seen since.

    ``unit`` is the decay weight of an observation made now: a sum divided by it is a number of recent observations.
    ``share`` in [0, 1] scales what a neighbourhood adds; ``prior`` is the number of observations that halves it.
    ``priors`` are the calibrated task priors the model's deviations belong to (deployment -> task -> prior).
    Bounded: at most deployments x 13 tasks x 25 cells.
    """

    model: QualityModel | None = None
    priors: Mapping[str, Mapping[str, QualityPrior]] = field(default_factory=dict)
    cells: Cells = field(default_factory=dict)
    unit: float = 1.0
    share: float = 0.5
    prior: float = 20.0
    _memo: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def empty(cls, *, share: float = 0.5, prior: float = 20.0) -> QualityState:
        """Return the state that knows nothing."""
        return cls(share=share, prior=prior)

    def increments(self, reward: Reward, weight: float = 1.0) -> Mapping[str, Mapping[str, float]]:
        """Return what one reward adds to the sums; ``weight`` is the decay weight of its time. Empty: no features."""
        features = reward.features
        if features is None:
            return {}
        gain = weight * reward.weight
        rows = tuple(dict.fromkeys((str(reward.task), str(reward.secondary or reward.task))))
        foreseen = (self._deviations(features, rows) or {}).get(reward.deployment, 0.0)
        sums = {"w": gain, "wv": gain * reward.value, "wp": gain * foreseen}
        near = neighbourhood(features)
        return {f"{KEY}|{reward.deployment}|{task}|{near}": sums for task in rows}

    def absorb(self, sums: Mapping[str, Mapping[str, float]], unit: float | None = None) -> QualityState:
        """Return the state with ``sums`` added; series of other kinds are ignored. Commutative and associative."""
        cells: dict[str, Any] = dict(self.cells)
        for key, added in sums.items():
            kind, _, rest = key.partition("|")
            if kind != KEY:
                continue
            deployment, task, near = rest.rsplit("|", 2)
            by_deployment = dict(cells.get(task, {}))
            by_near = dict(by_deployment.get(deployment, {}))
            for name in (near, EVERYWHERE):
                by_near[name] = by_near.get(name, _NO_CELL).plus(added)
            by_deployment[deployment] = by_near
            cells[task] = by_deployment
        return replace(self, cells=cells, unit=self.unit if unit is None else unit, _memo={})

    def sums(self) -> dict[str, dict[str, float]]:
        """Return everything learned as series, for a store; ``absorb`` of it rebuilds the cells."""
        return {
            f"{KEY}|{deployment}|{task}|{near}": cell._asdict()
            for task, by_deployment in self.cells.items()
            for deployment, by_near in by_deployment.items()
            for near, cell in by_near.items()
            if near != EVERYWHERE
        }

    def without(self, deployment: str) -> QualityState:
        """Return the state that has forgotten a deployment's rewards and holds its calibrated priors for old news."""
        cells = {
            task: {name: cell for name, cell in by_deployment.items() if name != deployment}
            for task, by_deployment in self.cells.items()
        }
        priors = dict(self.priors)
        if deployment in priors:
            priors[deployment] = {task: renewed(prior) for task, prior in priors[deployment].items()}
        return replace(self, cells=cells, priors=priors, _memo={})

    def _predicted(self, features: Features) -> tuple[QualityModel, Array] | None:
        """Return the model and its prediction; the last one is kept, since a decision asks twice."""
        model = self.model
        if model is None or features.embedding is None or features.hashed != model.hashed:
            return None
        if self._memo.get("of") is not features:
            self._memo["out"] = model.predict(features.embedding, features.dense, features.difficulty)
            self._memo["of"] = features
        return model, self._memo["out"]

    def _deviations(self, features: Features, rows: tuple[str, ...]) -> dict[str, float] | None:
        found = self._predicted(features)
        if found is None:
            return None
        model, predicted = found
        deviation = predicted - model.level(rows)
        return dict(zip(model.deployments, deviation.tolist(), strict=False))

    def learned(self, task: str, near: str) -> Mapping[str, float]:
        """Return what rewards say about a neighbourhood beyond the task's mean and the model, per deployment.

        A deployment's deviation is compared with how all deployments did there (a hard neighbourhood is nobody's
        fault) and shrinks by ``prior`` observations. Where rewards came from prompts the model held easy, the task's
        mean is too good by what the model had foreseen; that is taken back, as far as the mean rests on rewards.
        """
        key = f"{task}|{near}"
        found: Mapping[str, float] | None = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._learn(task, near)
        return found

    def _learn(self, task: str, near: str) -> Mapping[str, float]:
        by_deployment = self.cells.get(task, {})
        surprise: dict[str, tuple[float, float]] = {}
        weight = weighted = 0.0
        for deployment, by_near in by_deployment.items():
            cell, whole = by_near.get(near, _NO_CELL), by_near[EVERYWHERE]
            if cell.w > 0.0:
                deviation = (cell.wv - cell.wp) / cell.w - (whole.wv - whole.wp) / whole.w
                surprise[deployment] = (cell.w, deviation)
                weight += cell.w
                weighted += cell.w * deviation
        shared = weighted / weight if weight > 0.0 else 0.0
        half = self.prior * self.unit
        result: dict[str, float] = {}
        for deployment, by_near in by_deployment.items():
            whole = by_near[EVERYWHERE]
            seen, deviation = surprise.get(deployment, (0.0, 0.0))
            local = self.share * seen / (seen + half) * (deviation - shared)
            result[deployment] = local - whole.wp / (self._prior_weight(deployment, task) * self.unit + whole.w)
        return result

    def _prior_weight(self, deployment: str, task: str) -> float:
        by_task = self.priors.get(deployment, {})
        found = by_task.get(task) or by_task.get("default")
        return found.weight if found is not None else QualityPrior().weight


def residuals(state: QualityState, features: Features | None, task_rows: Iterable[str]) -> Mapping[str, float] | None:
    """Return what this prompt adds to each deployment's task mean, in [-1, 1]; None when nothing is known.

    A deployment that is missing has no residual of its own: ``shifted`` says what its difficulty alone suggests.
    """
    if features is None or (state.model is None and not state.cells):
        return None
    rows = tuple(str(row) for row in task_rows)
    total = state._deviations(features, rows) or {}  # noqa: SLF001 - the state's own reading, kept out of its interface
    if state.cells:
        near = neighbourhood(features)
        if not total and len(rows) == 1:  # most prompts: what was learned is all there is to say
            return state.learned(rows[0], near)
        for row in rows:
            for deployment, value in state.learned(row, near).items():
                total[deployment] = total.get(deployment, 0.0) + value / len(rows)
    return total


def length_factor(state: QualityState, features: Features | None, task_rows: Iterable[str]) -> float:
    """Return by what this prompt multiplies the task's mean output tokens, in [0.2, 5]; 1 when unknown."""
    found = state._predicted(features) if features is not None else None  # noqa: SLF001
    if found is None:
        return 1.0
    model, predicted = found
    level = max(0.05, float(model.level(tuple(str(row) for row in task_rows))[-1]))
    return min(LENGTH_RANGE[1], max(LENGTH_RANGE[0], float(predicted[-1]) / level))
