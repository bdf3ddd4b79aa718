"""How exact the latency sketch is, and what it weighs: ``python -m bench.sketch``.

Five shapes of latency, 50,000 values each; p50, p95 and p99 of the sketch against the exact ones. Exits 1 when a
relative error exceeds 2 %.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from random import Random
from time import perf_counter

from bench.machine import heading
from router_core.latency import ALPHA, BINS, bin_of, quantile

COUNT = 50_000
LIMIT = 0.02
QUANTILES = (0.5, 0.95, 0.99)

SHAPES: dict[str, Callable[[Random], float]] = {
    "uniform 0.1-10 s": lambda rng: rng.uniform(0.1, 10.0),
    "log-normal, median 1 s": lambda rng: rng.lognormvariate(0.0, 0.8),
    "two humps, 0.3 s and 20 s": lambda rng: rng.gauss(0.3, 0.03) if rng.random() < 0.7 else rng.gauss(20.0, 2.0),
    "Pareto, alpha 1.2": lambda rng: 0.2 * rng.paretovariate(1.2),
    "constant 1.234 s": lambda _: 1.234,
}


def main() -> int:
    """Print a table; return 1 when the limit is exceeded."""
    worst = 0.0
    print(heading("sketch"))
    print(f"{COUNT} values a shape, seed 1; stated error {ALPHA:.0%}, limit {LIMIT:.0%}\n")
    print(f"{'shape':28} {'p50':>8} {'p95':>8} {'p99':>8} {'bins':>6} {'bytes':>8}")
    for name, draw in SHAPES.items():
        rng = Random(1)
        values = [max(0.0002, draw(rng)) for _ in range(COUNT)]
        bins: dict[int, float] = {}
        for value in values:
            index = bin_of(value)
            bins[index] = bins.get(index, 0.0) + 1.0
        errors = [_error(values, bins, q) for q in QUANTILES]
        worst = max(worst, *errors)
        shown = " ".join(f"{error:8.3%}" for error in errors)
        print(f"{name:28} {shown} {len(bins):6} {_bytes(bins):8}")
    full = dict.fromkeys(range(BINS), 1.5)
    print(f"\nworst error {worst:.3%}; a series holds at most {BINS} bins: {_bytes(full)} bytes")
    print(f"booking one value: {_booking_ns():.0f} ns")
    return int(worst > LIMIT)


def _error(values: list[float], bins: dict[int, float], q: float) -> float:
    exact = sorted(values)[math.ceil(q * len(values)) - 1]
    found = quantile(bins, q)
    return abs((found or 0.0) - exact) / exact


def _bytes(bins: dict[int, float]) -> int:
    """The dictionary, its keys and its values."""
    return sys.getsizeof(bins) + sum(sys.getsizeof(key) + sys.getsizeof(value) for key, value in bins.items())


def _booking_ns() -> float:
    rng = Random(2)
    values = [rng.lognormvariate(0.0, 1.0) for _ in range(100_000)]
    bins: dict[int, float] = {}
    begin = perf_counter()
    for value in values:
        index = bin_of(value)
        bins[index] = bins.get(index, 0.0) + 1.0
    return (perf_counter() - begin) / len(values) * 1e9


if __name__ == "__main__":
    sys.exit(main())
