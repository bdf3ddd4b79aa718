"""The worlds an online replay can put a learner into: late and sparse feedback, drift, prices, newcomers, ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.backtest.corpus import Corpus
from router_core.replay import Wide

KEEP: Final = 5
EXPLORE: Final = 0.01
CHANGE_AT: Final = 1000
CHANGE_FOR: Final = 2000
SWAPPED_AT: Final = 2000
ARRIVES_AT: Final = 2000


@dataclass(frozen=True, slots=True)
class Variant:
    """One way the world can be unkind. ``delay`` in prompts; ``told`` and ``flipped`` are shares of the feedback."""

    warm: int = 300
    keep: int | None = KEEP
    explore: float = EXPLORE
    delay: int = 0
    told: float = 1.0
    flipped: float = 0.0
    degraded: bool = False
    swapped: bool = False
    renews: bool = True
    price_cut: bool = False
    arrival: str = ""
    ceiling: float | None = None


VARIANTS: Final[Mapping[str, Variant]] = {
    "warm start, pruned": Variant(),
    "warm start, whole pool": Variant(keep=None),
    "cold start": Variant(warm=0, keep=None),
    "feedback after 200": Variant(delay=200),
    "feedback on 10 %": Variant(told=0.1),
    "10 % of votes flipped": Variant(flipped=0.1),
    "main model degraded": Variant(degraded=True),
    "main model degraded, no reset": Variant(degraded=True, renews=False),
    "models swapped": Variant(swapped=True),
    "models swapped, no reset": Variant(swapped=True, renews=False),
    "price cut to a tenth": Variant(price_cut=True),
    "new: good and cheap": Variant(arrival="good_cheap"),
    "new: good and dear": Variant(arrival="good_dear"),
    "new: bad": Variant(arrival="bad"),
    "budget 0.5x": Variant(ceiling=0.5),
    "budget 0.2x": Variant(ceiling=0.2),
    "budget 0.1x": Variant(ceiling=0.1),
}


@dataclass(slots=True)
class World:
    """What a variant makes of the recordings: tables that change with time."""

    corpus: Corpus
    variant: Variant
    target: int
    newcomer: int
    worst: int = 0

    def row(self, prompt: int, step: int) -> tuple[Wide, Wide]:
        """Return (scores, price factors) of all models for a prompt that comes at ``step``."""
        scores, prices = self.corpus.scores[prompt], np.ones(len(self.corpus.models))
        inside = CHANGE_AT <= step < CHANGE_AT + CHANGE_FOR
        if self.variant.degraded and inside:
            scores = scores.copy()
            scores[self.target] *= 0.5
        if self.variant.swapped and step >= SWAPPED_AT:
            scores = scores.copy()
            scores[[self.target, self.worst]] = scores[[self.worst, self.target]]
        if self.variant.price_cut and inside:
            prices[self.newcomer] = 0.1
        return scores, prices

    def present(self, step: int) -> list[int]:
        """Return the models that exist at ``step``."""
        late = self.newcomer if self.variant.arrival and step < ARRIVES_AT else -1
        return [j for j in range(len(self.corpus.models)) if j != late]


def best_cost(corpus: Corpus) -> float:
    """Return the mean cost of the best model: what ceilings are multiples of."""
    return float(corpus.costs.mean(axis=0)[int(corpus.scores.mean(axis=0).argmax())])


def newcomer_of(corpus: Corpus, variant: Variant, ranking: Any) -> int:
    """Return the model that arrives late or whose price moves."""
    quality, cost = corpus.scores.mean(axis=0), corpus.costs.mean(axis=0)
    if variant.arrival == "bad":
        return int(quality.argmin())
    if variant.arrival == "good_cheap":
        return int(ranking[0])
    return int(np.where(quality >= np.sort(quality)[-min(3, len(quality))], cost, -1.0).argmax())


def account(world: World, earned: Wide, spent: Wide, chosen: Any, per_usd: float) -> dict[str, Any]:
    """Return utility, quality, cost per request, and what became of the model the variant is about."""

    def share(model: int, begin: int, end: int | None = None) -> float:
        part = chosen[begin:end]
        return float((part == model).mean()) if len(part) else 0.0

    notes: dict[str, float] = {}
    variant = world.variant
    if variant.degraded:
        end = CHANGE_AT + CHANGE_FOR
        notes["share before"] = share(world.target, 0, CHANGE_AT)
        notes["share late in it"] = share(world.target, max(0, end - 500), end)
        notes["share after"] = share(world.target, end + 500)
    if variant.swapped:
        for begin, end in ((0, 500), (500, 1000), (1000, 2000)):
            rows = slice(SWAPPED_AT + begin, SWAPPED_AT + end)
            notes[f"utility {begin}-{end} after"] = float((earned - per_usd * spent)[rows].mean())
        notes["share of the swapped"] = share(world.target, SWAPPED_AT + 500)
    if variant.arrival:
        notes["share of the new"] = share(world.newcomer, ARRIVES_AT + 500)
    if variant.price_cut:
        notes["share in it"] = share(world.newcomer, CHANGE_AT, CHANGE_AT + CHANGE_FOR)
        notes["share before"] = share(world.newcomer, 0, CHANGE_AT)
    if variant.ceiling is not None:
        notes["spent of the ceiling"] = float(spent.mean() / (variant.ceiling * best_cost(world.corpus)))
    return {
        "utility": float((earned - per_usd * spent).mean()),
        "quality": float(earned.mean()),
        "cost_usd": float(spent.mean()),
        "notes": notes,
    }
