"""The calibrated model: from a prompt's features to every deployment's expected quality and output length.

Two learners that err differently are averaged: kernel ridge regression on landmarks (smooth, sees the embedding) and
a forest of symmetric trees (sharp, sees structure). Both predict all deployments at once from one shared
representation, so what makes a prompt hard is learnt from every deployment's answers together.

One prompt costs two products with matrices of some hundred rows, and one table look-up per tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from router_core.trees import Forest

Array = NDArray[np.float32]

DEFAULT: Final = "default"
"""The level over all tasks, in ``QualityModel.levels`` and in the registry's priors."""

SHARE: Final = np.float32(0.6)
"""What each of the two learners contributes. Both shrink, and averaging shrinks once more: at 0.5 the predictions were
measured to spread too little around the mean on every corpus."""

RASCH: Final = 0.5
"""Logits of quality that one unit of difficulty costs, set by hand: what is known before anything is measured."""


def rasch_slope(mean: Any) -> Any:
    """Return d quality / d difficulty at a mean quality: -RASCH m (1 - m), the derivative of Rasch's model.

    Source: Rasch, "Probabilistic Models for Some Intelligence and Attainment Tests" (1960): logit(quality) is ability
    minus difficulty, so a deployment near 1 loses least on a hard prompt and one near 1/2 most.
    """
    return -RASCH * mean * (1.0 - mean)


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """How features become numbers of one scale: measures are centred, scaled and clipped at ``LIMIT`` deviations."""

    mean: Array
    scale: Array
    basis: Array
    weight: float

    def views(self, embeddings: Array, dense: Array) -> tuple[Array, Array]:
        """Return what the kernel sees (embedding and weighted measures) and what the trees see (measures, axes)."""
        scaled = np.minimum(np.maximum((dense - self.mean) * self.scale, -4.0), 4.0)
        smooth = np.concatenate((embeddings, np.float32(self.weight) * scaled), axis=-1)
        sharp = np.concatenate((scaled, embeddings @ self.basis), axis=-1)
        return smooth, sharp


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """exp(-gamma |x - landmark|^2) times ``weights`` (landmarks, outputs), plus ``offset``."""

    landmarks: Array
    gamma: float
    weights: Array
    offset: Array
    _doubled: Array = field(init=False, repr=False)
    _norms: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Keep what every prediction needs: 2 gamma times the landmarks, transposed, and gamma times their squares."""
        gamma = np.float32(self.gamma)
        object.__setattr__(self, "_doubled", np.ascontiguousarray(2 * gamma * self.landmarks.T))
        object.__setattr__(self, "_norms", gamma * (self.landmarks * self.landmarks).sum(axis=1))

    def similarities(self, points: Array) -> Array:
        """Return (…, landmarks) similarities in (0, 1]."""
        own = np.float32(self.gamma) * np.einsum("...i,...i->...", points, points)
        exponent = points @ self._doubled
        exponent -= self._norms
        exponent -= own[..., None]
        np.minimum(exponent, np.float32(0.0), out=exponent)
        result: Array = np.exp(exponent, out=exponent)
        return result

    def predict(self, points: Array) -> Array:
        """Return (…, outputs)."""
        result: Array = self.similarities(points) @ self.weights + self.offset
        return result


@dataclass(frozen=True, slots=True, eq=False)
class QualityModel:
    """Expected quality in [0, 1] for each of ``deployments``, and the answer's length as a multiple of their means.

    Predictions start at ``mean`` (deployments + 1 values) and add ``slope`` times the difficulty beyond ``usual``
    (``difficulty.py``) and what the learners say. ``levels`` are the means per task, which priors and evidence own:
    only a prediction's deviation from its task's level is the prompt's. (Learning deviations from the task's level
    instead was measured to be worse: the learners then have to unlearn every wrong classification.)
    ``hashed`` tells which embedding it was fitted on. ``version`` names the fit.
    """

    deployments: tuple[str, ...]
    standard: Standard
    kernel: Kernel
    forest: Forest
    mean: Array
    slope: Array
    usual: float
    levels: Mapping[str, Array]
    hashed: bool = False
    version: str = ""

    def predict(self, embeddings: Array, dense: Array, difficulty: Array | float) -> Array:
        """Return (…, deployments + 1) for one prompt or for many: each deployment's quality, then the length ratio."""
        smooth, sharp = self.standard.views(embeddings, dense)
        learnt = SHARE * (self.kernel.predict(smooth) + self.forest.predict(sharp))
        harder = np.subtract(difficulty, self.usual, dtype=np.float32)
        result: Array = self.mean + learnt + np.multiply.outer(harder, self.slope)
        return result

    def level(self, rows: tuple[str, ...]) -> Array:
        """Return the mean of the task rows' levels; a task that was not calibrated has the overall one."""
        found = [self.levels.get(row, self.levels[DEFAULT]) for row in rows]
        result: Array = found[0] if len(found) == 1 else np.mean(found, axis=0)
        return result
