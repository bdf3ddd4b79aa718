"""A store of sums in memory, driven in the order of the gateway's exchange: collect, pull, apply, push."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol


class Worker(Protocol):
    def collect(self) -> Mapping[str, Mapping[str, float]]: ...

    def apply(self, sums: Mapping[str, Mapping[str, float]]) -> None: ...


class StoreOfSums:
    def __init__(self) -> None:
        self.sums: dict[str, dict[str, float]] = {}

    def cycle(self, worker: Worker, after: Callable[[], object] = lambda: None) -> None:
        gathered = worker.collect()
        after()
        worker.apply({key: dict(fields) for key, fields in self.sums.items()})
        after()
        for key, fields in gathered.items():
            held = self.sums.setdefault(key, {})
            for name, value in fields.items():
                held[name] = held.get(name, 0.0) + value
