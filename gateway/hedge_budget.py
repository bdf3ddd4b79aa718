"""How much hedging may go on: a share of requests and a share of spend, both over recent traffic."""

from __future__ import annotations

from dataclasses import dataclass

from router_core.policy import HedgingPolicy

_KEPT = 0.999
_FLOOR_REQUESTS = 20.0


@dataclass(slots=True)
class HedgeBudget:
    """Decaying sums of requests, hedges, and what both cost in USD; each request lets the older ones fade a little."""

    requests: float = 0.0
    hedges: float = 0.0
    spent_usd: float = 0.0
    hedged_usd: float = 0.0

    def request(self, cost_usd: float) -> None:
        """Count a finished request."""
        self.requests = self.requests * _KEPT + 1.0
        self.hedges *= _KEPT
        self.spent_usd = self.spent_usd * _KEPT + cost_usd
        self.hedged_usd *= _KEPT

    def allows(self, policy: HedgingPolicy) -> bool:
        """Say whether one more hedge stays within both shares; few requests may hedge once."""
        if self.hedges + 1.0 > policy.max_share * max(self.requests, _FLOOR_REQUESTS):
            return False
        return self.hedged_usd <= policy.max_cost_share * self.spent_usd or self.hedges < 1.0

    def hedge(self, worst_usd: float) -> None:
        """Count a hedge that is sent, at what it can cost."""
        self.hedges += 1.0
        self.hedged_usd += worst_usd
