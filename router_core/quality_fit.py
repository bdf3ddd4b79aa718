"""Fitting a ``QualityModel`` to scored answers: closed forms and counting, numpy only, deterministic for a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from router_core.quality_model import DEFAULT, Array, Kernel, QualityModel, Standard, rasch_slope
from router_core.trees import Forest, Growth, grow

Wide = NDArray[np.float64]

DENSE_WEIGHT: Final = 0.3
"""One standard deviation of a measure counts as 0.3 of an embedding's length."""
SHARPNESS: Final = 4.0
"""exp(-4) is the similarity of two prompts at the median distance."""
LANDMARKS: Final = 256
RIDGES: Final = (3.0, 6.0, 12.0, 24.0, 48.0, 96.0)
"""Noise to signal ratios tried; cross-validation takes the best for the differences between deployments."""
FOLDS: Final = 4
AXES: Final = 32
"""Main axes of the embedding that the trees may ask about."""
LENGTH_SCALE: Final = 1.0
"""What a unit of length ratio counts among the deployments' quality when questions are chosen."""
SLOPE_PRIOR: Final = 100.0
"""Pseudo-observations behind Rasch's slope of quality on difficulty."""
TASK_PRIOR: Final = 10.0
"""Pseudo-count that pulls a task's level to the overall one."""


def fit_model(  # noqa: PLR0913 - one call holds the whole table of scored answers
    deployments: Sequence[str],
    embeddings: Array,
    dense: Array,
    difficulty: Array,
    scores: Wide,
    lengths: Wide,
    tasks: Sequence[tuple[str, ...]],
    *,
    seed: int = 0,
    hashed: bool = False,
    version: str = "",
) -> QualityModel:
    """Fit to ``scores`` (prompts, deployments) in [0, 1] and output ``lengths`` in tokens; NaN marks what was not run.

    ``tasks`` are each prompt's task rows. Raises ValueError for fewer than two prompts or a deployment without a score.
    """
    if len(scores) < 2 or np.isnan(scores).all(axis=0).any():
        msg = "a quality model needs at least two prompts and a score of every deployment"
        raise ValueError(msg)
    ratios = np.minimum(lengths / np.maximum(np.nanmean(lengths, axis=0), 1.0), 8.0)
    targets = np.column_stack((_filled(scores), _filled(ratios).mean(axis=1)))
    levels = _task_levels(targets, tasks)
    inside = targets - levels[DEFAULT]
    usual = float(difficulty.mean())
    hard = difficulty.astype(np.float64) - usual
    slope = _slopes(hard, inside, targets[:, : len(deployments)].mean(axis=0))
    residual = inside - np.outer(hard, slope)
    standard = _standard(embeddings, dense)
    smooth, sharp = standard.views(embeddings, dense)
    count = len(deployments)
    kernel = _fit_kernel(smooth, residual, count, seed)
    scale = np.append(np.ones(count), LENGTH_SCALE).astype(np.float32)
    grown = grow(sharp, residual.astype(np.float32) * scale, seed, Growth())
    forest = Forest(grown.columns, grown.thresholds, grown.leaves / scale)
    return QualityModel(
        tuple(deployments),
        standard,
        kernel,
        forest,
        levels[DEFAULT].astype(np.float32),
        slope.astype(np.float32),
        usual,
        {task: level.astype(np.float32) for task, level in levels.items()},
        hashed=hashed,
        version=version,
    )


def _filled(table: Wide) -> Wide:
    """Fill what was not run with the deployment's mean plus how the prompt did elsewhere."""
    missing = np.isnan(table)
    if not missing.any():
        return table
    means = np.nanmean(table, axis=0)
    deviation = np.where(missing, 0.0, table - means)
    shared = deviation.sum(axis=1) / np.maximum((~missing).sum(axis=1), 1)
    return np.where(missing, means + shared[:, None], table)


def _slopes(difficulty: Wide, inside: Wide, quality: Wide) -> Wide:
    """Return what one unit of difficulty adds to each output: least squares, pulled to Rasch's slope for quality."""
    prior = np.append(rasch_slope(quality), 0.0)
    result: Wide = (difficulty @ inside + SLOPE_PRIOR * prior) / (float((difficulty**2).sum()) + SLOPE_PRIOR)
    return result


def _standard(embeddings: Array, dense: Array) -> Standard:
    wide = embeddings.astype(np.float64)
    axes = np.linalg.eigh(wide.T @ wide)[1][:, ::-1][:, :AXES]
    scale = 1.0 / (dense.std(axis=0) + 0.01)
    return Standard(
        dense.mean(axis=0).astype(np.float32), scale.astype(np.float32), axes.astype(np.float32), DENSE_WEIGHT
    )


def _fit_kernel(points: Array, residual: Wide, deployments: int, seed: int) -> Kernel:
    """Nystroem features of landmarks, then ridge regression with a cross-validated ridge."""
    rng = np.random.default_rng(seed)
    count = len(points)
    landmarks = _centres(points, min(LANDMARKS, max(2, count // 2)), rng)
    sample = points[rng.choice(count, min(count, 500), replace=False)]
    gamma = SHARPNESS / max(1e-6, float(np.median(_distances(sample, sample)[np.triu_indices(len(sample), 1)])))
    bare = Kernel(landmarks, gamma, np.zeros((len(landmarks), 1), np.float32), np.zeros(1, np.float32))
    values, vectors = np.linalg.eigh(bare.similarities(landmarks).astype(np.float64))
    keep = values > 1e-4 * values[-1]
    whiten = vectors[:, keep] / np.sqrt(values[keep])
    design = bare.similarities(points).astype(np.float64) @ whiten
    centre = design.mean(axis=0)
    design -= centre
    fold = rng.permutation(count) % FOLDS
    ridge = min(RIDGES, key=lambda r: _error(design, residual[:, :deployments], fold, r))
    inner = _ridge(design, residual, ridge)
    weights = whiten @ inner
    return Kernel(landmarks, gamma, weights.astype(np.float32), (-centre @ inner).astype(np.float32))


def _ridge(design: Wide, targets: Wide, ridge: float) -> Wide:
    gram = design.T @ design
    gram[np.diag_indices(len(gram))] += ridge
    return np.asarray(np.linalg.solve(gram, design.T @ targets))


def _error(design: Wide, quality: Wide, fold: NDArray[np.intp], ridge: float) -> float:
    """Cross-validated squared error of the differences between deployments: only those decide."""
    error = 0.0
    for held in range(FOLDS):
        out = fold == held
        left = design[out] @ _ridge(design[~out], quality[~out], ridge) - quality[out]
        if left.shape[1] > 1:
            left = left - left.mean(axis=1, keepdims=True)
        error += float((left**2).sum())
    return error


def _centres(points: Array, count: int, rng: np.random.Generator) -> Array:
    """Return k-means centres after eight rounds."""
    centres = points[rng.choice(len(points), count, replace=False)].copy()
    for _ in range(8):
        nearest = _distances(points, centres).argmin(axis=1)
        sizes = np.bincount(nearest, minlength=count)
        order = np.argsort(nearest, kind="stable")
        full = sizes > 0
        starts = (np.cumsum(sizes) - sizes)[full]
        centres[full] = np.add.reduceat(points[order], starts, axis=0) / sizes[full, None]
    return centres


def _distances(left: Array, right: Array) -> Array:
    squares = (left * left).sum(axis=1)[:, None] + (right * right).sum(axis=1)[None]
    result: Array = np.maximum(squares - 2.0 * (left @ right.T), 0.0)
    return result


def _task_levels(targets: Wide, tasks: Sequence[tuple[str, ...]]) -> dict[str, Wide]:
    overall: Wide = targets.mean(axis=0)
    levels = {DEFAULT: overall}
    for task in sorted({row for rows in tasks for row in rows}):
        member = np.array([task in rows for rows in tasks])
        levels[task] = (targets[member].sum(axis=0) + TASK_PRIOR * overall) / (member.sum() + TASK_PRIOR)
    return levels
