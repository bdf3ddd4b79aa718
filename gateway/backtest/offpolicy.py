"""Estimating one policy from what another one logged: IPS, SNIPS and doubly robust, with bootstrap intervals.

Each logged decision has the probability with which its deployment was drawn. The new policy is evaluated by its first
choice (without its own exploration). With r the reward, p the logged propensity, m = 1 when both chose alike, and
q(a) the quality that was expected of a when the decision was made:

- direct: mean q(new)                                    no variance from rewards, all of the model's bias
- IPS:    mean m r / p                                    unbiased, wild where p is small (Horvitz and Thompson 1952)
- SNIPS:  sum(m r / p) / sum(m / p)                       a little bias, far less variance (Swaminathan, Joachims 2015)
- DR:     mean q(new) + m (r - q(new)) / p                unbiased when either p or q is right (Dudik et al. 2011)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from router_core.replay import Wide, interval

LEAST_PROPENSITY: Final = 1e-4
RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class Logged:
    """One judged decision as both policies saw it. Costs in USD: ``cost_usd`` as booked, the other as expected."""

    reward: float
    propensity: float
    agrees: bool
    quality_new: float
    cost_usd: float
    cost_new_usd: float

    def __post_init__(self) -> None:
        """Refuse probabilities and rewards that cannot be."""
        if not 0.0 < self.propensity <= 1.0 or not 0.0 <= self.reward <= 1.0:
            msg = f"propensity must be within (0, 1] and reward within [0, 1], not {self.propensity!r}, {self.reward!r}"
            raise ValueError(msg)


def estimate(logged: Sequence[Logged], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Return each estimate of quality and cost with its 95 % interval over resampled decisions.

    ``difference (DR)`` is new minus live, paired. Raises ValueError without a decision.
    """
    if not logged:
        msg = "no judged decision to estimate from"
        raise ValueError(msg)
    columns = {
        name: np.array([float(getattr(each, name)) for each in logged])
        for name in ("reward", "propensity", "agrees", "quality_new", "cost_usd", "cost_new_usd")
    }
    rng = np.random.default_rng(seed)
    point = _estimates(columns, np.arange(len(logged)))
    samples: dict[str, list[float]] = {name: [] for name in point}
    for _ in range(RESAMPLES):
        for name, value in _estimates(columns, rng.integers(len(logged), size=len(logged))).items():
            samples[name].append(value)
    return {name: {"value": value, "interval_95": list(interval(samples[name]))} for name, value in point.items()}


def _estimates(columns: Mapping[str, Wide], rows: Any) -> dict[str, float]:
    reward, agrees = columns["reward"][rows], columns["agrees"][rows]
    weight = agrees / np.maximum(columns["propensity"][rows], LEAST_PROPENSITY)
    foreseen, cost, expected = columns["quality_new"][rows], columns["cost_usd"][rows], columns["cost_new_usd"][rows]
    robust = float((foreseen + weight * (reward - foreseen)).mean())
    priced = float((expected + weight * (cost - expected)).mean())
    total = float(weight.sum())
    return {
        "quality, live": float(reward.mean()),
        "quality, new (direct)": float(foreseen.mean()),
        "quality, new (IPS)": float((weight * reward).mean()),
        "quality, new (SNIPS)": float((weight * reward).sum() / total) if total > 0.0 else float("nan"),
        "quality, new (DR)": robust,
        "quality, difference (DR)": robust - float(reward.mean()),
        "cost USD, live": float(cost.mean()),
        "cost USD, new (DR)": priced,
        "cost USD, difference (DR)": priced - float(cost.mean()),
    }


def effective(logged: Sequence[Logged]) -> float:
    """Return the effective number of decisions behind the weighted estimates: (sum w)^2 / sum w^2 (Kish 1965)."""
    weights = np.array([each.agrees / max(each.propensity, LEAST_PROPENSITY) for each in logged])
    squares = float((weights**2).sum())
    return float(weights.sum() ** 2 / squares) if squares > 0.0 else 0.0
