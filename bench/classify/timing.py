"""Time of reading, measuring and classifying one prompt: ``python -m bench.classify.timing``.

Single thread, monotonic clock, no warm cache tricks: every prompt of a size differs. Prints median, p95 and p99 in
microseconds for 1 kB and 100 kB of English prose, source code, Russian and Chinese.
"""

from __future__ import annotations

import random
import time

from gateway.embedding import load_embedder
from gateway.weights import load_classifier
from router_core.classifier import classify
from router_core.features import extract, read_prompt
from training import corpus

ROUNDS = 400


def texts(kind: str, size: int, rng: random.Random) -> str:
    """Return about ``size`` bytes of shuffled corpus prompts of one kind."""
    shared = corpus.materials(corpus.ROOT / "materials")
    pool = shared["code"] if kind == "code" else [r.messages[-1][1] for r in ROWS if r.lang == kind]
    parts: list[str] = []
    length = 0
    while length < size:
        parts.append(rng.choice(pool))
        length += len(parts[-1].encode()) + 1
    return "\n".join(parts).encode()[:size].decode("utf-8", "ignore")


ROWS = corpus.load()


def main() -> None:
    """Print the table."""
    embedder, model = load_embedder(), load_classifier()
    rng = random.Random(5)
    print(f"{'text':<8}{'bytes':>8}{'median':>9}{'p95':>8}{'p99':>8}   microseconds")
    for size in (1_000, 100_000):
        for kind in ("en", "code", "ru", "zh"):
            bodies = [{"messages": [{"role": "user", "content": texts(kind, size, rng)}]} for _ in range(40)]
            spent = []
            for i in range(ROUNDS):
                body = bodies[i % len(bodies)]
                start = time.perf_counter_ns()
                prompt = read_prompt(body)
                classify(prompt, extract(prompt, embedder), model)
                spent.append((time.perf_counter_ns() - start) / 1000)
            spent.sort()
            cut = [spent[int(len(spent) * q)] for q in (0.5, 0.95, 0.99)]
            print(f"{kind:<8}{size:>8}{cut[0]:>9.0f}{cut[1]:>8.0f}{cut[2]:>8.0f}")


if __name__ == "__main__":
    main()
