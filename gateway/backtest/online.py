"""Learning while serving, replayed: prompts arrive in a shuffled order and only the chosen model's score is shown.

The path is the product's: prior and rewards make a posterior per (model, task), ``quality.residuals`` adds what the
prompt says, the score of ``scoring.py`` chooses, and rewards flow back through ``QualityState.increments``. The cost
scale is set so large that the score is linear in cost: utility = quality - per_usd x cost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from gateway.backtest.corpus import Corpus
from gateway.backtest.predictor import Predictor, fit
from gateway.backtest.worlds import VARIANTS, Variant, World, account, best_cost, newcomer_of
from router_core import decay, pacing
from router_core.change import RECENT, Change
from router_core.decision import TERM_MAXIMA
from router_core.deployment import QualityPrior
from router_core.outcome import Reward
from router_core.quality import QualityState, posterior, renewed, residuals, shifted
from router_core.replay import Wide, interval
from router_core.task import TaskType

HALF_LIFE: Final = 1500.0
"""Prompts after which an outcome counts half: 720 hours, the default half-life, at 50 judged answers a day."""
PRIOR_WEIGHT: Final = 300.0
COLD_WEIGHT: Final = 10.0
SCALE_USD: Final = 1.0
PERIOD: Final = 1000.0
"""Prompts in a period of a spend ceiling."""


@dataclass(slots=True)
class Learner:
    """The gateway's learned state in small: posteriors per (model, task row), the quality state, mean costs."""

    predictor: Predictor
    state: QualityState
    priors: Mapping[str, Mapping[str, QualityPrior]]
    sums: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    streams: dict[str, Change] = field(default_factory=dict)
    last: dict[str, deque[tuple[Reward, float]]] = field(default_factory=dict)
    resets: int = 0

    def quality(self, corpus: Corpus, prompt: int, unit: float) -> Wide:
        """Return every model's expected quality for a prompt."""
        features, rows = corpus.features[prompt], corpus.tasks[prompt]
        extra = residuals(self.state, features, rows) or {}
        found = np.empty(len(corpus.models))
        for j, name in enumerate(corpus.models):
            total = 0.0
            for row in rows:
                weight, value = self.sums.get((name, row), (0.0, 0.0))
                prior = self.priors[name].get(row) or self.priors[name]["default"]
                total += posterior(prior, weight / unit, value / unit)[0]
            mean = total / len(rows)
            if self.state.model is None:
                mean = shifted(mean, features.difficulty)
            found[j] = mean + extra.get(name, 0.0)
        return found

    def watch(self, reward: Reward, expected: float, weight: float) -> None:
        """Book a reward; when its stream has left what was expected, start the model over from its last rewards."""
        name = reward.deployment
        last = self.last.setdefault(name, deque(maxlen=RECENT))
        last.append((reward, weight))
        self.hear(reward, weight)
        stream = self.streams.get(name, Change()).plus(reward.value, min(1.0, max(0.0, expected)))
        if stream.alarm:
            self.resets += 1
            self.sums = {key: held for key, held in self.sums.items() if key[0] != name}
            self.priors = {**self.priors, name: {row: renewed(prior) for row, prior in self.priors[name].items()}}
            self.state = self.state.without(name)
            for each, then in last:
                self.hear(each, then)
            stream = Change()
        self.streams[name] = stream

    def hear(self, reward: Reward, weight: float) -> None:
        """Book a reward: task sums and the quality state."""
        for row in dict.fromkeys((str(reward.task), str(reward.secondary or reward.task))):
            w, v = self.sums.get((reward.deployment, row), (0.0, 0.0))
            self.sums[reward.deployment, row] = (w + weight, v + weight * reward.value)
        self.state = self.state.absorb(self.state.increments(reward, weight), weight)


def learner(corpus: Corpus, warm: Corpus | None) -> Learner:
    """Return a learner that has seen the ``warm`` prompts on every model, or nothing but prices."""
    if warm is None:
        predictor = fit(corpus, 0)
        priors = {
            name: {"default": QualityPrior(mean, COLD_WEIGHT)}
            for name, mean in zip(corpus.models, predictor.prior.tolist(), strict=True)
        }
        return Learner(predictor, QualityState.empty(), priors)
    predictor = fit(warm)
    model = predictor.model
    if model is None:  # pragma: no cover - fit() of labelled prompts always has one
        raise AssertionError
    priors = {
        name: {
            row: QualityPrior(min(1.0, max(0.0, float(level[j]))), PRIOR_WEIGHT) for row, level in model.levels.items()
        }
        for j, name in enumerate(corpus.models)
    }
    return Learner(predictor, replace(QualityState.empty(), model=model, priors=priors), priors)


def replay_online(
    corpora: Sequence[Corpus],
    *,
    shuffles: int = 20,
    warm: int = 300,
    per_usd: float = 20.0,
    seed: int = 0,
    variants: Mapping[str, Variant] = VARIANTS,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Replay every variant; the first in ``shuffles`` orders, the others in a quarter of them (at least 3)."""
    corpus = _distinct(corpora)
    found: dict[str, Any] = {}
    references = _references(corpus, per_usd)
    for number, (name, variant) in enumerate(variants.items()):
        orders = shuffles if number == 0 else max(3, shuffles // 4)
        given = replace(variant, warm=min(variant.warm, warm))
        runs = [_run(corpus, given, per_usd, seed + order) for order in range(orders)]
        utilities = [run["utility"] for run in runs]
        found[name] = {
            "utility": float(np.mean(utilities)),
            "quality": float(np.mean([run["quality"] for run in runs])),
            "cost_usd": float(np.mean([run["cost_usd"] for run in runs])),
            "range_95": list(interval(utilities)),
            "shuffles": orders,
            "notes": {key: float(np.mean([run["notes"][key] for run in runs])) for key in runs[0]["notes"]},
        }
        if progress is not None:
            progress(number + 1, len(variants))
    return {
        "prompts": len(corpus.ids),
        "shuffles": shuffles,
        "warm": warm,
        "per_usd": per_usd,
        "references": references,
        "variants": found,
    }


def _distinct(corpora: Sequence[Corpus]) -> Corpus:
    """Put train and test of the first split together again: online, nobody is held out."""
    first, second = corpora[0], corpora[1]
    scores, costs, inputs, outputs = (
        np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("scores", "costs", "inputs", "outputs")
    )
    labels = np.concatenate([first.labels, second.labels])
    ids, features = first.ids + second.ids, first.features + second.features
    return Corpus(ids, first.models, labels, scores, costs, inputs, outputs, features, first.tasks + second.tasks)


def _references(corpus: Corpus, per_usd: float) -> dict[str, float]:
    """Return utilities nobody can have beforehand: the best fixed model, the best per gateway type, the oracle."""
    utility = corpus.scores - per_usd * corpus.costs
    per_type = 0.0
    for rows in set(corpus.tasks):
        member = np.array([found == rows for found in corpus.tasks])
        per_type += float(utility[member].sum(axis=0).max())
    return {
        "random": float(utility.mean()),
        "best fixed in hindsight": float(utility.mean(axis=0).max()),
        "best per type in hindsight": per_type / len(utility),
        "oracle": float(utility.max(axis=1).mean()),
    }


def _run(corpus: Corpus, variant: Variant, per_usd: float, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(corpus.ids))
    warm_rows, rest = order[: variant.warm], order[variant.warm :]
    warm = corpus.take(warm_rows) if variant.warm else None
    utility = corpus.scores - per_usd * corpus.costs
    ranking = np.argsort(-(utility[warm_rows] if warm else utility).mean(axis=0))
    worst = int(corpus.scores.mean(axis=0).argmin())
    world = World(corpus, variant, int(ranking[0]), newcomer_of(corpus, variant, ranking), worst)
    kept = set(ranking[: variant.keep].tolist()) if variant.keep else set(range(len(corpus.models)))
    if variant.arrival or variant.price_cut:
        kept.add(world.newcomer)
    if variant.swapped:
        kept.add(world.worst)
    mind = learner(corpus, warm)
    pace = None
    if variant.ceiling is not None:
        each = variant.ceiling * best_cost(corpus)
        pace = pacing.Pace(pacing.Ceiling(each * PERIOD, PERIOD))
    return _serve(world, mind, rest, kept, per_usd, rng, pace)


def _serve(
    world: World,
    mind: Learner,
    rest: Any,
    kept: set[int],
    per_usd: float,
    rng: np.random.Generator,
    pace: pacing.Pace | None,
) -> dict[str, Any]:
    corpus, variant = world.corpus, world.variant
    weight = per_usd * SCALE_USD * TERM_MAXIMA.quality / TERM_MAXIMA.cost
    cost = mind.predictor.predict(corpus)[1]
    pending: deque[tuple[int, Reward, float]] = deque()
    earned = np.zeros(len(rest))
    spent = np.zeros(len(rest))
    chosen = np.zeros(len(rest), dtype=np.intp)
    for step, prompt in enumerate(rest.tolist()):
        unit = decay.weight(decay.LANDMARK_S + step, HALF_LIFE)
        while pending and pending[0][0] <= step:
            _, told, foreseen = pending.popleft()
            if variant.renews:
                mind.watch(told, foreseen, unit)
            else:
                mind.hear(told, unit)
        scores, prices = world.row(prompt, step)
        pool = [j for j in world.present(step) if j in kept]
        factor = pace.factor(float(step)) if pace is not None else 1.0
        expected = mind.quality(corpus, prompt, unit)[pool]
        points = TERM_MAXIMA.quality * expected
        points = points + weight * factor * TERM_MAXIMA.cost / (1.0 + cost[prompt, pool] * prices[pool] / SCALE_USD)
        pick = pool[int(points.argmax())] if rng.random() >= variant.explore else pool[int(rng.integers(len(pool)))]
        earned[step], spent[step], chosen[step] = scores[pick], corpus.costs[prompt, pick] * prices[pick], pick
        if pace is not None:
            pace.spend(float(step), float(spent[step]))
        if rng.random() < variant.told:
            value = 1.0 - scores[pick] if rng.random() < variant.flipped else scores[pick]
            foreseen = float(expected[pool.index(pick)])
            pending.append((step + 1 + variant.delay, _reward(corpus, prompt, pick, float(value)), foreseen))
    found = account(world, earned, spent, chosen, per_usd)
    found["notes"]["resets"] = float(mind.resets)
    return found


def _reward(corpus: Corpus, prompt: int, model: int, value: float) -> Reward:
    rows = corpus.tasks[prompt]
    return Reward(
        corpus.models[model],
        TaskType(rows[0]),
        0.0,
        value,
        secondary=TaskType(rows[-1]),
        features=corpus.features[prompt],
    )
