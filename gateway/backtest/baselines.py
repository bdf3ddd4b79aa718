"""What a router has to beat, each as choices for every test prompt at every setting of its own knob."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from gateway.backtest.corpus import Corpus
from router_core.quality_fit import TASK_PRIOR
from router_core.replay import Curve, Picks, Wide, sweep

NEIGHBOURS: Final = 80
STEPS: Final = 21


def zero_router(test: Corpus) -> Curve:
    """The convex hull of the single models on the test prompts: chance mixtures of two of them (RouterBench)."""
    return Curve(test.costs.mean(axis=0), test.scores.mean(axis=0))


def type_table(train: Corpus, test: Corpus, cost: Wide, weights: Wide) -> Picks:
    """Mean score per task type, the gateway's own classification, no look at the prompt."""
    overall = train.scores.mean(axis=0)
    means: dict[tuple[str, ...], Wide] = {}
    for rows in set(test.tasks):
        member = np.array([found == rows for found in train.tasks])
        means[rows] = (train.scores[member].sum(axis=0) + TASK_PRIOR * overall) / (member.sum() + TASK_PRIOR)
    return sweep(np.stack([means[rows] for rows in test.tasks]), cost, weights)


def neighbours(train: Corpus, test: Corpus, cost: Wide, weights: Wide) -> Picks:
    """Mean score of the 80 training prompts with the nearest embeddings."""
    known, asked = train.embeddings, test.embeddings
    near = min(NEIGHBOURS, len(known))
    quality = np.empty_like(test.scores)
    for start in range(0, len(asked), 1000):
        similar = asked[start : start + 1000] @ known.T
        nearest = np.argpartition(-similar, near - 1, axis=1)[:, :near]
        quality[start : start + 1000] = train.scores[nearest].mean(axis=1)
    return sweep(quality, cost, weights)


def prompt_length(train: Corpus, test: Corpus) -> Picks:
    """The longest share of the prompts to the best model of the training rows, the others to the cheapest."""
    best, cheapest = int(train.scores.mean(axis=0).argmax()), int(train.costs.mean(axis=0).argmin())
    rank = (-test.dense[:, 0]).argsort(kind="stable").argsort(kind="stable") / len(test.ids)
    return np.stack([np.where(rank < share, best, cheapest) for share in np.linspace(0, 1, STEPS)])


def oracle(test: Corpus, weights: Wide) -> Picks:
    """Chosen with the true scores and costs: what no router can exceed."""
    return sweep(test.scores, test.costs, weights)


Trained = Callable[[Corpus, Corpus, Wide, Wide], Picks]
TRAINED: Final[dict[str, Trained]] = {"type_table": type_table, "knn_80": neighbours}
