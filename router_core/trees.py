"""Bagged symmetric decision trees with many outputs: every node of a level asks the same question.

A tree of depth D is then D comparisons that make one D-bit number, and a table of 2^D rows: a whole forest is three
array operations for one prompt or for thousands. Symmetric trees after Kohavi and Li, "Oblivious Decision Trees,
Graphs, and Top-Down Pruning" (1995); random subsets of rows and features after Breiman, "Random Forests" (2001).
Leaves shrink towards 0 (the caller centres the targets) by ``leaf_prior`` pseudo-observations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

BINS: Final = 32
"""Quantiles of a feature between which thresholds are tried."""


class Growth(NamedTuple):
    """How a forest is grown: its size, and the shares of features (per level) and rows (per tree) that are looked at.

    Questions are chosen by the ``rank`` strongest common directions of the targets: noise of single outputs is not
    worth a question.
    """

    trees: int = 60
    depth: int = 8
    features: float = 0.1
    rows: float = 0.7
    leaf_prior: float = 3.0
    rank: int = 5


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """``columns`` and ``thresholds`` are (trees, depth), ``leaves`` (trees, 2^depth, outputs), divided by trees."""

    columns: NDArray[np.intp]
    thresholds: Array
    leaves: Array

    def predict(self, values: Array) -> Array:
        """Return (…, outputs) for ``values`` (…, features)."""
        trees, depth = self.columns.shape
        bits = values[..., self.columns] > self.thresholds
        leaf = bits @ (1 << np.arange(depth - 1, -1, -1))
        result: Array = self.leaves[np.arange(trees), leaf].sum(axis=-2)
        return result


def grow(values: Array, targets: Array, seed: int, growth: Growth) -> Forest:
    """Fit a forest to centred ``targets`` (n, outputs) given ``values`` (n, features); deterministic for a seed."""
    rng = np.random.default_rng(seed)
    count, width = values.shape
    # A level that would leave fewer than about eight rows in a node asks for noise.
    depth = max(1, min(growth.depth, int(np.log2(max(2.0, count / 8.0)))))
    cuts = [_cuts(values[:, j]) for j in range(width)]
    bins = np.stack([np.searchsorted(cuts[j], values[:, j], side="left") for j in range(width)], axis=1)
    taken, per_level = max(1, int(growth.rows * count)), max(1, int(growth.features * width))
    columns = np.zeros((growth.trees, depth), dtype=np.intp)
    thresholds = np.zeros((growth.trees, depth), dtype=np.float32)
    leaves = np.zeros((growth.trees, 1 << depth, targets.shape[1]), dtype=np.float32)
    for tree in range(growth.trees):
        rows = rng.choice(count, taken, replace=False)
        main = _main_directions(targets[rows], growth.rank)
        node = np.zeros(taken, dtype=np.intp)
        for level in range(depth):
            asked = rng.choice(width, per_level, replace=False)
            column, cut = _best_question(bins[rows], main, node, 1 << level, asked, growth.leaf_prior)
            columns[tree, level] = column
            thresholds[tree, level] = cuts[column][min(cut, len(cuts[column]) - 1)]
            node = node * 2 + (values[rows, column] > thresholds[tree, level])
        leaves[tree] = _means(node, targets[rows], 1 << depth, growth.leaf_prior) / growth.trees
    return Forest(columns, thresholds, leaves)


def _cuts(column: Array) -> NDArray[np.float64]:
    """Return thresholds halfway between quantiles that differ, so that rounding in another order changes no answer.

    A column without a difference gets one beyond its value: everybody answers no.
    """
    edges = np.unique(np.round(np.quantile(column, np.linspace(0, 1, BINS)), 4))
    return np.asarray((edges[:-1] + edges[1:]) / 2.0 if len(edges) > 1 else edges + 1.0, dtype=np.float64)


def _main_directions(targets: Array, rank: int) -> NDArray[np.float64]:
    wide = targets.astype(np.float64)
    vectors = np.linalg.eigh(wide.T @ wide)[1][:, -rank:]
    result: NDArray[np.float64] = wide @ vectors
    return result


def _best_question(
    bins: NDArray[np.intp],
    targets: NDArray[np.float64],
    node: NDArray[np.intp],
    nodes: int,
    asked: NDArray[np.intp],
    prior: float,
) -> tuple[int, int]:
    """Return (feature, bin): the question that explains most, all nodes of the level together."""
    best = (-1.0, int(asked[0]), 0)
    for column in asked:
        index = node * BINS + bins[:, column]
        below = np.bincount(index, minlength=nodes * BINS).reshape(nodes, BINS).cumsum(axis=1)
        sums = np.stack(
            [
                np.bincount(index, weights=t, minlength=nodes * BINS).reshape(nodes, BINS).cumsum(axis=1)
                for t in targets.T
            ]
        )
        rest, above = sums[:, :, -1:] - sums, below[:, -1:] - below
        gain = ((sums**2).sum(axis=0) / (below + prior) + (rest**2).sum(axis=0) / (above + prior)).sum(axis=0)
        cut = int(gain.argmax())
        if gain[cut] > best[0]:
            best = (float(gain[cut]), int(column), cut)
    return best[1], best[2]


def _means(node: NDArray[np.intp], targets: Array, nodes: int, prior: float) -> Array:
    counts = np.bincount(node, minlength=nodes)
    sums = np.stack([np.bincount(node, weights=t, minlength=nodes) for t in targets.T], axis=1)
    result: Array = (sums / (counts[:, None] + prior)).astype(np.float32)
    return result
