"""How long a decision takes: from features to plan on a 1 kB prompt, and ``decide()`` alone, by number of deployments.

Run: ``python -m bench.decide``. Medians of CPU time; nothing is sent anywhere.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from functools import partial

from bench.machine import heading
from gateway.embedding import load_embedder
from gateway.weights import load_classifier
from router_core.classifier import classify
from router_core.features import extract
from router_core.needs import needs_of
from router_core.outcome import AttemptOutcome, Usage
from router_core.policy import Policy
from router_core.prompt import read_prompt
from router_core.registry import Registry
from router_core.request import RoutingRequest
from router_core.router import decide
from router_core.snapshot import Snapshot, fold
from router_core.task import TaskType

SENTENCE = "Our nightly import fails with a timeout when the file has more than ten thousand rows; find out why. "
NOW = 1_795_000_000.0
ROUNDS = 30
CALLS = 40


def registry(count: int) -> Registry:
    """Return a registry of ``count`` deployments at five providers."""
    rows = [
        {
            "id": f"p{index % 5}/m{index}",
            "provider": f"p{index % 5}",
            "model": f"m{index}",
            "context_window": 128_000,
            "price_usd_per_mtok": {"input": 1 + index * 0.1, "output": 3 + index * 0.3},
            "capabilities": ["tools", "vision", "json_schema"],
            "quality": {"default": {"mean": 0.5 + 0.02 * (index % 20), "weight": 20}},
        }
        for index in range(count)
    ]
    return Registry.from_mapping(
        {"providers": {f"p{index}": {"wire": "openai"} for index in range(5)}, "deployments": rows}
    )


def learned(names: list[str], policy: Policy) -> Snapshot:
    """Return a snapshot with three observations of every deployment on two tasks."""
    snapshot = Snapshot.empty()
    for step, name in enumerate(names * 3):
        for task in (TaskType.ANALYSIS, TaskType.CODE_GENERATION):
            outcome = AttemptOutcome(
                name,
                name.partition("/")[0],
                task,
                NOW - 100 + step * 0.1,
                1.0 + step * 0.01,
                usage=Usage(100, 0, 0, 200),
                cost_usd=0.001,
                input_estimate=90,
            )
            snapshot = fold(snapshot, outcome, policy)
    return snapshot


def median_us(call: Callable[[], object]) -> float:
    """Return the median over rounds of a call's mean CPU time in microseconds: a busy machine changes it least."""
    for _ in range(CALLS):
        call()
    rounds = []
    for _ in range(ROUNDS):
        begin = time.thread_time()
        for _ in range(CALLS):
            call()
        rounds.append((time.thread_time() - begin) / CALLS * 1e6)
    return statistics.median(rounds)


def main() -> None:
    """Print both figures and how they grow."""
    policy, rng = Policy(), random.Random(1)
    embedder, classifier = load_embedder(), load_classifier()
    body = {"model": "auto", "messages": [{"role": "user", "content": (SENTENCE * 12)[:1024]}]}

    def path(known: Registry, snapshot: Snapshot) -> Callable[[], object]:
        def whole() -> None:
            prompt = read_prompt(body)
            features = extract(prompt, embedder)
            profile = classify(prompt, features, classifier)
            tokens = features.input_tokens
            request = RoutingRequest(profile, input_tokens=tokens, needs=needs_of(body), features=features)
            decide(request, snapshot, known, policy, NOW, rng)

        return whole

    print(heading("bench.decide"))
    print(f"{'deployments':>12} {'features to plan, 1 kB':>24} {'decide() alone':>16}   (median, microseconds)")
    for count in (1, 5, 20, 50, 100, 200):
        known = registry(count)
        snapshot = learned(list(known.deployments), policy)

        request = RoutingRequest.of(task="analysis", input_tokens=250)
        alone = median_us(partial(decide, request, snapshot, known, policy, NOW, rng))
        print(f"{count:>12} {median_us(path(known, snapshot)):>24.0f} {alone:>16.0f}")


if __name__ == "__main__":
    main()
