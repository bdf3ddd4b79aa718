"""How often the anomaly detectors cry wolf, and how soon they see a wolf: ``python -m bench.anomaly [--quick]``.

False alarms: traffic that does not change (with noise, bursts of slow answers, a mix of tasks), counted per 10,000
calls and signal. Delay: calls from the change to the alarm, over many runs. Exits 1 when false alarms exceed
1 per 10,000.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from random import Random
from typing import NamedTuple

from bench.machine import heading
from gateway.observe.anomalies import THRESHOLD, Anomaly, Signal, Watch
from router_core.outcome import AttemptOutcome, Failure, FailureKind, Usage
from router_core.task import TaskType

WARMING = 2000
LONGEST = 1000


class World(NamedTuple):
    """What traffic is like. ``slower`` and ``dearer`` multiply, the others are shares of calls."""

    failing: float = 0.01
    refusing: float = 0.01
    slower: float = 1.0
    dearer: float = 1.0
    sigma: float = 0.5
    burst: float = 0.0


CALM = {
    "log-normal, sigma 0.5": World(),
    "heavy tails, sigma 1.2": World(sigma=1.2),
    "5 % failures": World(failing=0.05),
    "bursts of slow answers": World(burst=0.004),
}
CHANGES = {
    Signal.LATENCY: {"x 1.5": World(slower=1.5), "x 2": World(slower=2.0), "x 4": World(slower=4.0)},
    Signal.COST: {"x 1.5": World(dearer=1.5), "x 2": World(dearer=2.0), "x 4": World(dearer=4.0)},
    Signal.FAILURES: {f"{share:.0%}": World(failing=share) for share in (0.05, 0.1, 0.2, 1.0)},
    Signal.REFUSALS: {f"{share:.0%}": World(refusing=share) for share in (0.05, 0.1, 0.2, 1.0)},
}


class Traffic:
    """Calls of one deployment over three tasks of different length."""

    def __init__(self, seed: int) -> None:
        """Draw from this seed."""
        self.rng = Random(seed)
        self.at = 0.0
        self.burst = 0

    def call(self, world: World) -> AttemptOutcome:
        """Make one call."""
        rng = self.rng
        self.at += 1.0
        task, scale = rng.choice(((TaskType.GENERAL, 0.5), (TaskType.ANALYSIS, 2.0), (TaskType.REASONING, 8.0)))
        if self.burst:
            self.burst -= 1
        elif rng.random() < world.burst:
            self.burst = rng.randint(2, 5)
        failed = rng.random() < world.failing
        return AttemptOutcome(
            "acme/m1",
            "acme",
            task,
            self.at,
            scale * rng.lognormvariate(0.0, world.sigma) * world.slower * (4.0 if self.burst else 1.0),
            failure=Failure(FailureKind.SERVER) if failed else None,
            usage=Usage(100, 0, 0, 100),
            cost_usd=0.0 if failed else scale * 0.001 * rng.lognormvariate(0.0, 0.4) * world.dearer,
            refusal=rng.random() < world.refusing,
        )


def main() -> int:
    """Print both tables; return 1 when false alarms exceed the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    quick = parser.parse_args().quick
    print(heading("anomaly"))
    worst = _false_alarms(20_000 if quick else 200_000)
    _delays(10 if quick else 100)
    return int(worst > 10_000 / THRESHOLD)


def _false_alarms(calls: int) -> float:
    print(f"false alarms per 10,000 calls, over {calls} calls (bound: {10_000 / THRESHOLD:g} per signal)\n")
    print(f"{'traffic':26}" + "".join(f"{signal:>12}" for signal in Signal))
    worst = 0.0
    for name, world in CALM.items():
        heard: list[Anomaly] = []
        watch, traffic = Watch(heard.append), Traffic(11)
        for _ in range(calls):
            watch.attempt(traffic.call(world))
        begun = [each.signal for each in heard if each.until is None]
        rates = [begun.count(signal) * 10_000 / calls for signal in Signal]
        worst = max(worst, *rates)
        print(f"{name:26}" + "".join(f"{rate:12.2f}" for rate in rates))
    return worst


def _delays(runs: int) -> None:
    print(f"\ncalls until the alarm, {runs} runs after {WARMING} calm calls (at most {LONGEST})\n")
    print(f"{'change':26}{'found':>8}{'median':>8}{'p95':>8}")
    for signal, changes in CHANGES.items():
        for name, world in changes.items():
            delays = sorted(_delay(signal, world, seed) for seed in range(runs))
            found = [delay for delay in delays if delay <= LONGEST]
            median = f"{statistics.median(delays):.0f}" if len(found) * 2 > runs else "-"
            high = delays[min(runs - 1, int(0.95 * runs))]
            last = f"{high}" if high <= LONGEST else "-"
            print(f"{signal + ' ' + name:26}{len(found) / runs:8.0%}{median:>8}{last:>8}")


def _delay(signal: Signal, world: World, seed: int) -> int:
    """Return the calls from the change to the alarm, ``LONGEST`` + 1 when none came."""
    heard: list[Anomaly] = []
    watch, traffic = Watch(heard.append), Traffic(seed)
    for _ in range(WARMING):
        watch.attempt(traffic.call(World()))
    heard.clear()
    for delay in range(1, LONGEST + 1):
        watch.attempt(traffic.call(world))
        if any(each.signal is signal and each.until is None for each in heard):
            return delay
    return LONGEST + 1


if __name__ == "__main__":
    sys.exit(main())
