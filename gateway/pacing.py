"""Keeps the spend ceilings of policies: what each slice of a period cost, and by how much cost must weigh more.

Kept in memory and exchanged like everything learned: slices are sums, the log factors they began with are joined by the
greater one. A policy without a ceiling costs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.context import RequestContext
from router_core.outcome import RequestOutcome
from router_core.pacing import NOTHING, PERIODS, SLICES, Ceiling, Pace, Slice
from router_core.policy import Policy

KIND: Final = "pace"
"""First part of a slice's series key: ``pace|period in seconds|slice~expiry~|policy``, fields usd and n."""
_EVERY_S: Final = 0.25
_NONE: Final[Mapping[str, float]] = {}
_Name = tuple[str, float]


class Pacing:
    """The paces of one worker. ``policy`` is read at each use, ``now`` gives wall-clock seconds that never jump."""

    def __init__(self, policy: Callable[[], Policy], now: Callable[[], float]) -> None:
        """Begin with nothing spent."""
        self._policy = policy
        self._now = now
        self._of: Policy | None = None
        self._paces: dict[_Name, Pace] = {}
        self._pending: dict[str, Slice] = {}
        self._factors: Mapping[str, float] = _NONE
        self._until = 0.0

    def factors(self, now: float) -> Mapping[str, float]:
        """Return by what the cost weight of each policy above its pace is multiplied; looked at four times a second."""
        paces = self._current()
        if not paces:
            return _NONE
        if now >= self._until or now < self._until - _EVERY_S:
            self._until = now + _EVERY_S
            found: dict[str, float] = {}
            for (policy, _), pace in paces.items():
                factor = pace.factor(now)
                if factor > found.get(policy, 1.0):
                    found[policy] = factor
            self._factors = found
        return self._factors

    def finished(self, ctx: RequestContext, outcome: RequestOutcome, answer: Any = None, stream: Any = None) -> None:
        """Book a finished request on its policy's ceilings; a hook of ``Services.after``."""
        del answer, stream
        self.spend(ctx.decision.policy, outcome.at, outcome.cost_usd)

    def spend(self, policy: str, at: float, usd: float) -> None:
        """Book one request of a policy that cost ``usd`` at wall-clock second ``at``."""
        for name, pace in self._current().items():
            if name[0] == policy:
                number = pace.spend(at, usd)
                key = _key(name, number)
                held = self._pending.get(key, NOTHING)
                self._pending[key] = Slice(held.usd + usd, held.n + 1.0)

    def rows(self) -> list[dict[str, Any]]:
        """Return every ceiling: what its period has cost, and by what the cost weight is multiplied now."""
        now = self._now()
        return [
            {
                "policy": policy,
                "period_s": pace.ceiling.period_s,
                "ceiling_usd": pace.ceiling.usd,
                "spent_usd": pace.spent(now),
                "cost_factor": pace.factor(now),
            }
            for (policy, _), pace in sorted(self._current().items())
        ]

    def collect(self) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
        """Return what was spent since the last call, and the log factors that slices with news began with."""
        pending, self._pending = self._pending, {}
        levels: dict[str, float] = {}
        for key in pending:
            name, number = _read(key)
            pace = self._paces.get(name)
            level = pace.began.get(number, 0.0) if pace is not None else 0.0
            if level > 0.0:
                levels[key] = level
        return {key: {"usd": held.usd, "n": held.n} for key, held in pending.items()}, levels

    def apply(self, sums: Mapping[str, Mapping[str, float]], maxima: Mapping[str, float]) -> None:
        """Take whole totals of changed slices; what is still pending here is added on top."""
        paces = self._current()
        for key, fields in sums.items():
            if not key.startswith(KIND + "|"):
                continue
            try:
                name, number = _read(key)
            except ValueError:
                continue  # a key of another version: not ours to read
            pace = paces.get(name)
            if pace is not None:
                mine = self._pending.get(key, NOTHING)
                total = Slice(fields.get("usd", 0.0) + mine.usd, fields.get("n", 0.0) + mine.n)
                pace.join(number, total, maxima.get(key, 0.0))

    def _current(self) -> dict[_Name, Pace]:
        """Return the paces of the policy in force; a reload that changes a ceiling keeps what was spent."""
        policy = self._policy()
        if policy is not self._of:
            self._of, before = policy, self._paces
            self._paces, self._until = {}, 0.0
            for name, limits in policy.ceilings.items():
                for usd, period_s in ((limits.usd_per_hour, PERIODS["hour"]), (limits.usd_per_day, PERIODS["day"])):
                    if usd is not None:
                        held = before.get((name, period_s))
                        ceiling = Ceiling(usd, period_s)
                        self._paces[name, period_s] = (
                            Pace(ceiling) if held is None else Pace(ceiling, held.slices, held.began)
                        )
        return self._paces


def _key(name: _Name, number: int) -> str:
    policy, period_s = name
    forgotten_at = int((number + 2 * SLICES + 1) * period_s / SLICES)
    return f"{KIND}|{period_s:g}|{number}~{forgotten_at}~|{policy}"


def _read(key: str) -> tuple[_Name, int]:
    """Return (policy, period in seconds) and the slice's number; raises ValueError for a key that is none."""
    _, period_s, slot, policy = key.split("|", 3)
    return (policy, float(period_s)), int(slot.partition("~")[0])
