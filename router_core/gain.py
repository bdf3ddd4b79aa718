"""What observations add, summed up: folded into a snapshot, kept for the store, and added to other such sums.

Everything in it is a sum, so it does not matter in which parts observations are added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from router_core.policy import Policy
from router_core.series import Increment, Series, WindowSums, added

Rows = tuple[str, tuple[str, ...], bool]
"""A deployment, the tasks whose series observations add to, and whether they are rewards."""

Half = tuple[str, tuple[str, ...], int]
"""A deployment, the tasks whose recent windows observations add to, and the number of the half window."""


class Gain(NamedTuple):
    """What observations add together; of a half window also the wall-clock second of the latest of them."""

    rows: Mapping[Rows, Series]
    halves: Mapping[Half, tuple[float, WindowSums]]

    def plus(self, more: Gain) -> Gain:
        """Return what both add."""
        return Gain(
            add_rows(dict(self.rows), more.rows.items()),
            add_halves(dict(self.halves), more.halves.items()),
        )

    def without(self, deployment: str, *, judged: bool) -> Gain:
        """Return what is left when a deployment's rewards, or its calls, are forgotten: its windows, and the times."""
        left = (
            ((name, tasks, False), Series(last_at=series.last_at))
            if name == deployment and of_rewards is judged
            else ((name, tasks, of_rewards), series)
            for (name, tasks, of_rewards), series in self.rows.items()
        )
        return Gain(add_rows({}, left), self.halves)


NO_GAIN: Final = Gain({}, {})


def add_rows(into: dict[Rows, Series], rows: Iterable[tuple[Rows, Series]]) -> dict[Rows, Series]:
    """Add sums to those of the same rows, and return them."""
    for row, series in rows:
        held = into.get(row)
        into[row] = series if held is None else held.plus(series)
    return into


def add_halves(
    into: dict[Half, tuple[float, WindowSums]], halves: Iterable[tuple[Half, tuple[float, WindowSums]]]
) -> dict[Half, tuple[float, WindowSums]]:
    """Add sums to those of the same half windows, and return them."""
    for half, (at, sums) in halves:
        held = into.get(half)
        into[half] = (at, sums) if held is None else (max(held[0], at), added(held[1], sums))
    return into


def gain(increments: Iterable[Increment], policy: Policy) -> Gain:
    """Add up observations; what one adds to several tasks is added up once for all of them."""
    rows: dict[Rows, list[Increment]] = {}
    halves: list[tuple[Half, tuple[float, WindowSums]]] = []
    for item in increments:
        rows.setdefault((item.deployment, item.tasks, "rw" in item.fields), []).append(item)
        if item.recent is not None:
            halves.append(((item.deployment, item.tasks, half_window(item.at, policy)), (item.at, item.recent)))
    return Gain({row: Series.of(items) for row, items in rows.items()}, add_halves({}, halves))


def half_window(at: float, policy: Policy) -> int:
    """Return the number of the half live window that a wall-clock second falls into."""
    return int(at * 2.0 / policy.scoring.live_window_s)
