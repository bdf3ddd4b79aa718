"""A retry budget: retries may be a share of recent requests, so that an outage is not multiplied.

Source: Finagle's RetryBudget and tower's ``retry::budget``; the floor keeps small traffic able to retry at all.
"""

from __future__ import annotations

from router_core.value import value_class

_BUCKETS = 10


@value_class()
class RetryBudget:
    """Requests and retries of the last window, in ten buckets of (bucket, requests, retries), oldest first."""

    window: tuple[tuple[int, int, int], ...] = ()

    def deposit(self, now: float, window_s: float) -> RetryBudget:
        """Count one request."""
        return self._add(now, window_s, 1, 0)

    def withdraw(self, now: float, window_s: float, ratio: float, floor: int) -> RetryBudget | None:
        """Return the budget with one retry spent, or None when the share is used up."""
        if not self.allows(now, window_s, ratio, floor):
            return None
        return self._add(now, window_s, 0, 1)

    def allows(self, now: float, window_s: float, ratio: float, floor: int) -> bool:
        """Say whether one more retry stays within ``floor`` plus ``ratio`` of the window's requests."""
        oldest = int(now * _BUCKETS / window_s) - _BUCKETS
        requests = sum(item[1] for item in self.window if item[0] > oldest)
        retries = sum(item[2] for item in self.window if item[0] > oldest)
        return retries < floor + ratio * requests

    def _add(self, now: float, window_s: float, requests: int, retries: int) -> RetryBudget:
        bucket = int(now * _BUCKETS / window_s)
        kept = self.window
        if kept and kept[0][0] <= bucket - _BUCKETS:
            kept = tuple(item for item in kept if item[0] > bucket - _BUCKETS)
        if kept and kept[-1][0] >= bucket:
            index, seen, spent = kept[-1]
            return RetryBudget((*kept[:-1], (index, seen + requests, spent + retries)))
        return RetryBudget((*kept, (bucket, requests, retries)))
