"""What is true right now, gathered from the services in one place: circuits, open requests, the store's health."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class LiveDeployment(NamedTuple):
    """One deployment of the registry as it stands. Times in seconds from now; ``state`` is the circuit's."""

    id: str
    provider: str
    model: str
    callable: bool = True
    state: str = "closed"
    reason: str = ""
    retry_in_s: float | None = None
    ejected: bool = False
    credentials: bool = False


class Live(NamedTuple):
    """The moment's gauges. ``reload_failures`` counts configurations refused since the start."""

    deployments: tuple[LiveDeployment, ...] = ()
    in_flight: int = 0
    store_degraded: bool = False
    reload_failures: int = 0
    version: str = ""

    def breakers(self) -> dict[str, dict[str, Any]]:
        """Return the circuit of each deployment as plain JSON."""
        return {each.id: breaker_row(each) for each in self.deployments}

    def providers(self) -> dict[str, dict[str, Any]]:
        """Return the circuits of each provider: how many of its deployments are open, and the worst state."""
        found: dict[str, dict[str, Any]] = {}
        for each in self.deployments:
            row = found.setdefault(each.provider, {"state": "closed", "open": 0, "deployments": 0})
            row["deployments"] += 1
            row["open"] += each.state == "open" or each.ejected
            row["state"] = max(row["state"], each.state, key=_WORSE.__getitem__)
        return found


_WORSE: Mapping[str, int] = {"closed": 0, "half_open": 1, "open": 2}


def breaker_row(each: LiveDeployment) -> dict[str, Any]:
    """Return one circuit as plain JSON."""
    return {
        "state": each.state,
        "reason": each.reason,
        "retry_in_s": None if each.retry_in_s is None else round(each.retry_in_s, 1),
        "ejected": each.ejected,
        "credentials": each.credentials,
    }
