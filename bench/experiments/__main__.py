"""``python -m bench.experiments``: false winners in A/A tests and power in A/B tests, looking after every sample."""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable

from bench.machine import heading
from router_core.sequential import Moments, compare

MIN_SAMPLES = 50


Judge = Callable[[Moments, Moments], bool]


def anytime(treated: Moments, control: Moments) -> bool:
    """Say whether the interval that holds at every look excludes "no difference"."""
    return compare("b", treated, control).decided


def ordinary(treated: Moments, control: Moments) -> bool:
    """Say the same of the ordinary 95 % interval, which is made for one look."""
    deviation = math.sqrt(treated.variance() / treated.n + control.variance() / control.n)
    return abs(treated.mean - control.mean) > 1.96 * deviation


def run(rng: random.Random, control: float, treated: float, samples: int, judge: Judge = anytime) -> int | None:
    """Return the number of samples per arm after which a winner was named, None when none was."""
    a, b = Moments(), Moments()
    for count in range(1, samples + 1):
        a = a.plus(float(rng.random() < control))
        b = b.plus(float(rng.random() < treated))
        if count >= MIN_SAMPLES and judge(b, a):
            return count
    return None


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.experiments", description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--power-runs", type=int, default=200)
    parser.add_argument("--samples", type=int, default=1000, help="per arm")
    chosen = parser.parse_args()
    rng = random.Random(20_261_123)
    print(heading("bench.experiments"))
    print(f"# alpha 0.05, looked at after every sample from {MIN_SAMPLES} to {chosen.samples} per arm\n")
    print("A/A: success rate -> share of runs with a (false) winner")
    for rate in (0.5, 0.8, 0.95, 0.99):
        false = sum(run(rng, rate, rate, chosen.samples) is not None for _ in range(chosen.runs))
        print(f"  {rate:.2f}  {false / chosen.runs:.4f}  ({chosen.runs} runs)")
    false = sum(run(rng, 0.8, 0.8, chosen.samples, ordinary) is not None for _ in range(chosen.runs))
    print(f"  0.80  {false / chosen.runs:.4f}  ({chosen.runs} runs) with the ordinary 95 % interval, for comparison")
    print("\nA/B: control -> treated: power, median samples per arm until decided")
    for control, treated in ((0.8, 0.85), (0.8, 0.9), (0.7, 0.85), (0.5, 0.6)):
        found = [run(rng, control, treated, chosen.samples) for _ in range(chosen.power_runs)]
        decided = sorted(count for count in found if count is not None)
        median = decided[len(decided) // 2] if decided else None
        print(f"  {control:.2f} -> {treated:.2f}  {len(decided) / len(found):.3f}  {median}")


if __name__ == "__main__":
    main()
