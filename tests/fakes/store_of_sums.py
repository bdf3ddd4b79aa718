"""A store of sums in memory; like the gateway's exchange it hands back totals in which everything collected is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol


class Worker(Protocol):
    def collect(self) -> Mapping[str, Mapping[str, float]]: ...

    def apply(self, sums: Mapping[str, Mapping[str, float]]) -> None: ...  # everything collected is in the totals


class StoreOfSums:
    def __init__(self) -> None:
        self.sums: dict[str, dict[str, float]] = {}

    def cycle(self, worker: Worker, after: Callable[[], object] = lambda: None) -> None:
        gathered = worker.collect()
        after()
        for key, fields in gathered.items():
            held = self.sums.setdefault(key, {})
            for name, value in fields.items():
                held[name] = held.get(name, 0.0) + value
        worker.apply({key: dict(fields) for key, fields in self.sums.items()})
        after()
