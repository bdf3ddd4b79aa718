"""From training recordings to what the gateway would know: prices, token habits, priors and the quality model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.backtest.corpus import Corpus
from router_core.quality import LENGTH_RANGE, shifted
from router_core.quality_fit import TASK_PRIOR, fit_model
from router_core.quality_model import DEFAULT, QualityModel
from router_core.replay import Wide

UNLABELLED_MEAN: Final = 0.6
UNLABELLED_STEP: Final = 0.1
"""Without labels a deployment of the median price is given quality 0.6, and 0.1 more for a price ten times as high."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """Expected quality and cost of every model for any prompt.

    ``rates`` (models, 3) are USD per input token, output token and request. ``reading`` (models, 2) turns the input
    estimate into a model's input tokens: offset and slope. ``writing`` holds mean output tokens per task row and model.
    ``prior`` is the quality assumed without labels (``model`` None).
    """

    models: tuple[str, ...]
    rates: Wide
    reading: Wide
    writing: dict[str, Wide]
    prior: Wide
    model: QualityModel | None = None

    def predict(self, corpus: Corpus) -> tuple[Wide, Wide]:
        """Return (prompts, models) expected quality in [0, 1] and expected cost in USD."""
        if self.model is None:
            quality = np.array([[shifted(m, f.difficulty) for m in self.prior.tolist()] for f in corpus.features])
            return quality, self._cost(corpus, np.ones(len(corpus.ids)))
        level = np.array([self.model.level(rows) for rows in corpus.tasks], dtype=np.float64)
        predicted = self.model.predict(corpus.embeddings, corpus.dense, corpus.difficulty).astype(np.float64)
        length = np.clip(predicted[:, -1] / np.maximum(level[:, -1], 0.05), *LENGTH_RANGE)
        return np.clip(predicted[:, :-1], 0.0, 1.0), self._cost(corpus, length)

    def _cost(self, corpus: Corpus, length: Wide) -> Wide:
        default = self.writing[DEFAULT]
        of_rows = [[self.writing.get(row, default) for row in rows] for rows in corpus.tasks]
        written = np.stack([np.mean(found, axis=0) for found in of_rows])
        read = np.maximum(self.reading[:, 0] + corpus.estimates[:, None] * self.reading[:, 1], 1.0)
        cost: Wide = read * self.rates[:, 0] + written * length[:, None] * self.rates[:, 1] + self.rates[:, 2]
        return cost


def fit(train: Corpus, labels: int | None = None, seed: int = 0) -> Predictor:
    """Fit to recordings. ``labels`` bounds the prompts whose scores may be used (None: all, 0: none), drawn by seed.

    Prices and token habits use all training rows: a gateway knows them from bills, not from labels.
    """
    rates = np.stack([_rates(train, j) for j in range(len(train.models))])
    reading = np.stack([_reading(train, j) for j in range(len(train.models))])
    log_cost = np.log10(np.maximum(train.costs.mean(axis=0), 1e-9))
    prior = np.clip(UNLABELLED_MEAN + UNLABELLED_STEP * (log_cost - np.median(log_cost)), 0.3, 0.9)
    model = None
    scored = train
    if labels is not None and labels < len(train.ids):
        scored = train.take(np.random.default_rng(seed).permutation(len(train.ids))[:labels])
    if len(scored.ids):
        model = fit_model(
            train.models,
            scored.embeddings,
            scored.dense,
            scored.difficulty,
            scored.scores,
            scored.outputs,
            scored.tasks,
            seed=seed,
            hashed=scored.features[0].hashed,
        )
    return Predictor(train.models, rates, reading, _writing(train), prior, model)


def _rates(train: Corpus, model: int) -> Wide:
    """Return USD per input token, output token and request: least squares, not negative, true to the mean cost."""
    tokens = np.column_stack((train.inputs[:, model], train.outputs[:, model]))
    cost = train.costs[:, model]
    found = np.maximum(np.linalg.lstsq(tokens, cost, rcond=None)[0], 0.0)
    told = float((tokens @ found).mean())
    if told <= 0.0:  # tokens were not recorded: all we know is what a request costs
        return np.array([0.0, 0.0, cost.mean()])
    return np.append(found * (cost.mean() / told), 0.0)


def _reading(train: Corpus, model: int) -> Wide:
    """Return offset and slope of a model's input tokens over the estimate (examples in front are the offset)."""
    design = np.column_stack((np.ones(len(train.ids)), train.estimates))
    return np.asarray(np.linalg.lstsq(design, train.inputs[:, model], rcond=None)[0], dtype=np.float64)


def _writing(train: Corpus) -> dict[str, Wide]:
    overall: Wide = np.asarray(train.outputs.mean(axis=0), dtype=np.float64)
    found: dict[str, Wide] = {DEFAULT: overall}
    for task in {row for rows in train.tasks for row in rows}:
        member = np.array([task in rows for rows in train.tasks])
        found[task] = (train.outputs[member].sum(axis=0) + TASK_PRIOR * overall) / (member.sum() + TASK_PRIOR)
    return found
