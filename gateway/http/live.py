"""What is true right now, gathered from the services in one place: circuits, open requests, the store's health."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway import VERSION


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
    """The moment's gauges. ``reload_failures`` counts configurations refused since the start, ``tasks`` what runs."""

    deployments: tuple[LiveDeployment, ...] = ()
    in_flight: int = 0
    store_degraded: bool = False
    reload_failures: int = 0
    version: str = ""
    tasks: int = 0

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


def live_of(services: Any) -> Live:
    """Gather the moment from the worker's services (``gateway.services.Services``; not imported: it knows adapters)."""
    registry = services.config.current.registry
    snapshot, now = services.learner.snapshot, services.steady()
    rows = []
    for deployment in registry.deployments.values():
        circuit = snapshot.circuit(deployment.id)
        open_s = max(circuit.open_until, snapshot.provider_open.get(deployment.provider, 0.0)) - now
        state = str(circuit.state)
        if state == "closed" and open_s > 0.0 and deployment.provider in snapshot.provider_open:
            state = "open"
        ejected_s = circuit.ejected_until - now
        waits = [seconds for seconds in (open_s if state == "open" else 0.0, ejected_s) if seconds > 0.0]
        rows.append(
            LiveDeployment(
                id=deployment.id,
                provider=deployment.provider,
                model=deployment.model,
                callable=deployment.live,
                state=state,
                reason=circuit.reason if circuit.reason or state == "closed" else "provider",
                retry_in_s=max(waits) if waits else None,
                ejected=ejected_s > 0.0,
                credentials=state != "closed" and circuit.reason == "credentials",
            )
        )
    exchanger = services.exchanger
    return Live(
        deployments=tuple(rows),
        in_flight=services.admission.in_flight,
        store_degraded=bool(exchanger is not None and exchanger.degraded),
        reload_failures=services.config.failures,
        version=VERSION,
        tasks=_tasks(),
    )


def _tasks() -> int:
    """Return how many tasks run in this loop; none outside of one."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0
