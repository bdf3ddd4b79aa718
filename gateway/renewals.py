"""Deployments that changed in silence: who starts over, and who is told.

Rewards that left what was expected of them make the learner itself start over (``gateway.renewal``). A deployment whose
latency, cost or share of failures has departed from its own baseline for so long that the departure became the normal
(``gateway.observe.anomalies``) starts over with its times, tokens and failures; until then the breaker and the live
adjustment deal with it, and an outage is forgotten as one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.learner import Learner
from gateway.observe.anomalies import NEW, Anomaly, Signal
from gateway.observe.watching import Watching
from gateway.series_keys import JUDGED, SERVED
from router_core.policy import Policy

_SERVICE: Final = frozenset({Signal.LATENCY, Signal.COST, Signal.FAILURES})
_WHAT: Final = {JUDGED: "rewards", SERVED: "times, tokens and failures"}


class Renewals:
    """Connects the detectors, the learner and those who are told."""

    def __init__(self, learner: Learner, watching: Watching, policy: Callable[[], Policy]) -> None:
        """Listen from now on."""
        self._learner = learner
        self._watching = watching
        self._policy = policy
        learner.on_renewed = self._renewed
        watching.observer.on_anomaly = self._anomaly

    def _anomaly(self, anomaly: Anomaly) -> None:
        if anomaly.ended == NEW and anomaly.signal in _SERVICE and self._policy().learning.enabled:
            self._learner.renew(anomaly.deployment, SERVED, self._policy(), f"{anomaly.signal} is usual now")

    def _renewed(self, deployment: str, family: str, why: str) -> None:
        told = {"deployment": deployment, "starts_over_with": _WHAT[family], "why": why}
        self._watching.tell("renewed", told)
