"""Runs a backtest and says what came out: the curve against every baseline, with paired bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from gateway.backtest import baselines
from gateway.backtest.corpus import Corpus, Row, build
from gateway.backtest.predictor import Predictor, fit
from router_core.replay import Curve, Picks, Wide, apgr, cost_weights, interval, sweep

SHARES: Final = (1.0, 0.98, 0.95)
BUDGETS: Final = (0.1, 0.3)
CEILINGS_USD: Final = (3.0e-4, 6.6e-4, 1.9e-3)
RESAMPLES: Final = 300


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """The figures of one backtest. Costs are multiples of the best single model's; quality in [0, 1].

    ``choices`` are (weights, prompts) indices into ``models``; ``gain`` is the predicted lead of the dearer of two
    models (None: more than two). ``figures`` is ready for JSON.
    """

    figures: dict[str, Any]
    models: tuple[str, ...]
    prompt_ids: tuple[str, ...]
    weights: Wide
    choices: Picks
    test: Corpus = field(repr=False)
    gain: Wide | None = None


def backtest(
    train_rows: Iterable[Row],
    test_rows: Iterable[Row],
    *,
    labels: int | None = None,
    seed: int = 0,
    only: str = "",
    resamples: int = RESAMPLES,
) -> Report:
    """Fit on training rows, replay test rows. Raises CorpusError when nothing complete is left of either."""
    train = build(train_rows, only)
    test = build(test_rows, only, models=train.models)
    return evaluate([(train, test)], labels=labels, seed=seed, resamples=resamples)


def evaluate(
    splits: Sequence[tuple[Corpus, Corpus]],
    *,
    labels: int | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Report:
    """Backtest each (train, test) split and pool the test prompts (they must be disjoint and share the models)."""
    weights = cost_weights()
    picks: dict[str, list[Picks]] = {}
    gains: list[Wide] = []
    for train, test in splits:
        predictor = fit(train, labels, seed)
        quality, cost = predictor.predict(test)
        picks.setdefault("router", []).append(sweep(quality, cost, weights))
        scored = (
            train if labels is None else train.take(np.random.default_rng(seed).permutation(len(train.ids))[:labels])
        )
        for name, method in baselines.TRAINED.items():
            if len(scored.ids):
                picks.setdefault(name, []).append(method(scored, test, _level_cost(predictor, test), weights))
        picks.setdefault("prompt_length", []).append(baselines.prompt_length(train, test))
        picks.setdefault("oracle", []).append(baselines.oracle(test, weights))
        gains.append(_gain(train, quality))
    test = _pooled([split[1] for split in splits])
    joined = {name: np.concatenate(parts, axis=1) for name, parts in picks.items()}
    gain = np.concatenate(gains) if len(test.models) == 2 else None
    figures = _figures(test, joined, resamples, seed)
    if gain is not None:
        figures["apgr"] = _apgr(test, splits, gain)
    figures["labels"] = "all" if labels is None else labels
    figures["training_prompts"] = [len(train.ids) for train, _ in splits]
    return Report(figures, test.models, test.ids, weights, joined["router"], test, gain)


def _level_cost(predictor: Predictor, test: Corpus) -> Wide:
    """Return each model's mean expected cost for every prompt: what a table knows of cost."""
    cost = predictor.predict(test)[1]
    return np.repeat(cost.mean(axis=0, keepdims=True), len(cost), axis=0)


def _gain(train: Corpus, quality: Wide) -> Wide:
    strong = int(train.costs.mean(axis=0).argmax())
    result: Wide = quality[:, strong] - quality[:, 1 - strong] if quality.shape[1] == 2 else np.zeros(len(quality))
    return result


def _pooled(tests: Sequence[Corpus]) -> Corpus:
    first = tests[0]
    if len(tests) == 1:
        return first
    return Corpus(
        tuple(i for test in tests for i in test.ids),
        first.models,
        np.concatenate([test.labels for test in tests]),
        np.concatenate([test.scores for test in tests]),
        np.concatenate([test.costs for test in tests]),
        np.concatenate([test.inputs for test in tests]),
        np.concatenate([test.outputs for test in tests]),
        tuple(f for test in tests for f in test.features),
        tuple(t for test in tests for t in test.tasks),
        first.dropped,
    )


def _figures(test: Corpus, picks: dict[str, Picks], resamples: int, seed: int) -> dict[str, Any]:
    best = int(test.scores.mean(axis=0).argmax())
    curves = {name: Curve.of(chosen, test.scores, test.costs) for name, chosen in picks.items()}
    curves["zero_router"] = baselines.zero_router(test)
    single_q, single_c = float(test.scores[:, best].mean()), float(test.costs[:, best].mean())
    methods = {name: _summary(curve, single_q, single_c, test) for name, curve in curves.items()}
    spread = _bootstrap(test, picks, resamples, seed)
    for name, found in spread.items():
        methods[name]["interval_95"] = found
    return {
        "prompts": len(test.ids),
        "dropped_prompts": test.dropped,
        "best_single": {"model": test.models[best], "quality": single_q, "cost_usd": single_c},
        "random": {"quality": float(test.scores.mean()), "cost": float(test.costs.mean() / single_c)},
        "singles": {
            name: {"quality": float(test.scores[:, j].mean()), "cost": float(test.costs[:, j].mean() / single_c)}
            for j, name in enumerate(test.models)
        },
        "methods": methods,
    }


def _summary(curve: Curve, quality: float, cost: float, test: Corpus) -> dict[str, Any]:
    found: dict[str, Any] = {"max_quality": float(curve.quality.max())}
    for share in SHARES:
        found[f"cost_at_{share * 100:.0f}"] = _json(curve.cost_at(share * quality) / cost)
    for budget in BUDGETS:
        found[f"quality_at_{budget}x"] = _json(curve.quality_at(budget * cost))
    found["area"] = curve.area(float(test.costs.mean(axis=0).min()), cost)
    found["within_usd"] = {f"{ceiling:g}": _json(curve.within(ceiling)) for ceiling in CEILINGS_USD}
    found["mixed_within_usd"] = {f"{ceiling:g}": _json(curve.quality_at(ceiling)) for ceiling in CEILINGS_USD}
    return found


def _bootstrap(test: Corpus, picks: dict[str, Picks], resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Return 95 % intervals per method; every resample draws the same prompts for all methods and the best single."""
    rng = np.random.default_rng(seed)
    size = len(test.ids)
    samples: dict[str, dict[str, list[float]]] = {name: {} for name in (*picks, "zero_router")}
    for _ in range(resamples):
        counts = np.bincount(rng.integers(size, size=size), minlength=size).astype(np.float64)
        share = counts / size
        means, prices = share @ test.scores, share @ test.costs
        best = int(means.argmax())
        curves = {name: Curve.of(chosen, test.scores, test.costs, counts) for name, chosen in picks.items()}
        curves["zero_router"] = Curve(prices, means)
        for name, curve in curves.items():
            into = samples[name]
            into.setdefault("max_quality_gain", []).append(float(curve.quality.max() - means[best]))
            for part in SHARES:
                value = curve.cost_at(part * means[best]) / prices[best]
                into.setdefault(f"cost_at_{part * 100:.0f}", []).append(value)
    return {
        name: {key: [_json(v) for v in interval(vs)] for key, vs in found.items()} for name, found in samples.items()
    }


def _apgr(test: Corpus, splits: Sequence[tuple[Corpus, Corpus]], gain: Wide) -> dict[str, Any]:
    """Return APGR pooled, per benchmark (the label before a colon), and as the mean over the test folds."""
    strong = int(test.costs.mean(axis=0).argmax())
    benchmarks = np.array([label.split(":")[0] for label in test.labels])
    starts = np.cumsum([0, *(len(split[1].ids) for split in splits)])
    folds = np.repeat(np.arange(len(splits)), np.diff(starts))

    def of(mask: Any) -> float | None:
        try:
            return apgr(gain[mask], test.scores[mask, strong], test.scores[mask, 1 - strong])
        except ValueError:
            return None

    found: dict[str, Any] = {"all": of(np.ones(len(gain), bool))}
    names = sorted(set(benchmarks.tolist()))
    for name in names:
        member = benchmarks == name
        parts = [of(member & (folds == fold)) for fold in range(len(splits))]
        known = [part for part in parts if part is not None]
        found[name] = {"pooled": of(member), "folds": parts, "mean": sum(known) / len(known) if known else None}
    length = test.dense[:, 0].astype(np.float64)
    gain = length
    found["by_length"] = {name: of(benchmarks == name) for name in names}
    return found


def _json(value: float) -> float | None:
    return None if math.isnan(value) else value
