"""Replaying recorded outcomes: who would have been chosen at each cost weight, what that would have cost and earned.

Every model's score and cost are known for every prompt: a policy's average is exact up to the sample. The rule of
choice is the score of ``scoring.py`` with the factors that recordings hold (quality and cost, the others equal):
``50 q + w 20 / (1 + c / scale)``. Sweeping ``w``, the policy's cost weight against a quality weight of 1, draws
the cost-quality curve. For costs well below the scale this is ``q - lambda c`` with ``lambda = 0.4 w / scale`` per USD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router_core.decision import TERM_MAXIMA

Wide = NDArray[np.float64]
Picks = NDArray[np.intp]


def cost_weights(count: int = 160) -> Wide:
    """Return the cost weights of a sweep: 0, then geometrically from 0.01 to 100,000."""
    return np.append(0.0, np.geomspace(1e-2, 1e5, count))


def choose(quality: Wide, cost: Wide, weight: float, scale_usd: float = 0.01) -> Picks:
    """Return each prompt's best model for expected ``quality`` and ``cost`` (prompts, models); ties to the cheaper."""
    score = TERM_MAXIMA.quality * quality + weight * TERM_MAXIMA.cost / (1.0 + cost / scale_usd)
    tied = score >= score.max(axis=1, keepdims=True) - 1e-12
    result: Picks = np.where(tied, cost, np.inf).argmin(axis=1)
    return result


def sweep(quality: Wide, cost: Wide, weights: Wide, scale_usd: float = 0.01) -> Picks:
    """Return (weights, prompts) choices."""
    return np.stack([choose(quality, cost, float(weight), scale_usd) for weight in weights])


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Average ``cost`` (USD per request) and ``quality`` in [0, 1] of a family of policies; points in any order."""

    cost: Wide
    quality: Wide

    @classmethod
    def of(cls, picks: Picks, scores: Wide, costs: Wide, counts: Wide | None = None) -> Curve:
        """Average what was chosen; ``counts`` weigh the prompts (a bootstrap's multiplicities)."""
        rows = np.arange(scores.shape[0])
        weigh = np.full(len(rows), 1.0 / len(rows)) if counts is None else counts / counts.sum()
        return cls(costs[rows, picks] @ weigh, scores[rows, picks] @ weigh)

    def hull(self) -> Curve:
        """Return the upper concave envelope, cheapest first: mixing two policies by chance reaches the line between."""
        order = np.lexsort((-self.quality, self.cost))
        kept: list[tuple[float, float]] = []
        for c, q in zip(self.cost[order].tolist(), self.quality[order].tolist(), strict=True):
            if kept and q <= kept[-1][1]:
                continue
            while len(kept) > 1 and _below(kept[-2], kept[-1], (c, q)):
                kept.pop()
            kept.append((c, q))
        points = np.array(kept)
        return Curve(points[:, 0], points[:, 1])

    def cost_at(self, quality: float) -> float:
        """Return the least cost at which the envelope reaches ``quality``; NaN when it never does."""
        hull = self.hull()
        if hull.quality[-1] < quality:
            return float("nan")
        return float(np.interp(quality, hull.quality, hull.cost))

    def quality_at(self, cost: float) -> float:
        """Return the best quality of the envelope within ``cost``; NaN when even the cheapest policy costs more."""
        hull = self.hull()
        if hull.cost[0] > cost:
            return float("nan")
        return float(np.interp(cost, hull.cost, hull.quality))

    def within(self, cost: float) -> float:
        """Return the best quality of a single swept policy (no mixing) within ``cost``; NaN when there is none."""
        inside = self.quality[self.cost <= cost]
        return float(inside.max()) if len(inside) else float("nan")

    def area(self, low: float, high: float) -> float:
        """Return the envelope's mean quality over log cost from ``low`` to ``high`` USD (flat beyond its ends)."""
        hull = self.hull()
        grid = np.geomspace(low, max(high, low * 1.0001), 100)
        return float(np.interp(grid, hull.cost, hull.quality).mean())


def _below(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b lies on or under the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])


def apgr(gain: Wide, strong: Wide, weak: Wide, thresholds: int = 10) -> float:
    """Return the average performance gap recovered, as RouteLLM measures it (Ong et al., arXiv 2406.18665).

    ``gain`` ranks prompts by how much the strong model should help. At each decile of it the prompts above go to the
    strong model; the area (trapezoid) under quality over the strong share, between weak (0) and strong (1) throughout.
    Random routing has 0.5. Raises ValueError when both models are equally good.
    """
    low, high = float(weak.mean()), float(strong.mean())
    if high == low:
        msg = "the two models have the same quality: there is no gap to recover"
        raise ValueError(msg)
    order = np.argsort(-gain, kind="stable")
    lift = np.append(0.0, np.cumsum((strong - weak)[order]))
    sent = np.rint(np.linspace(0, len(gain), thresholds + 1)).astype(int)
    return float(np.trapezoid(lift[sent] / (len(gain) * (high - low)), sent / len(gain)))


def interval(values: Sequence[float] | Wide) -> tuple[float, float]:
    """Return the middle 95 % of bootstrap replicates, NaN ones left out; (NaN, NaN) when none is left."""
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[~np.isnan(kept)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.quantile(kept, (0.025, 0.975))
    return float(low), float(high)
