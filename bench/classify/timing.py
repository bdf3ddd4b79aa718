"""Time of reading, measuring and classifying one prompt: ``python -m bench.classify.timing``.

Single thread, forty different prompts of each kind in turn. Prints microseconds of the thread's CPU time (what a busy
machine leaves comparable) and of the wall clock for 1 kB, 100 kB and 1 MB of English, source code, Russian and
Chinese, and before these what the first call after loading costs.
"""

from __future__ import annotations

import gc
import random
import time

from bench.machine import heading
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
    gc.collect()  # the corpus is this program's, not the gateway's; which freezes what it has loaded, too
    gc.freeze()
    rng = random.Random(5)
    print(heading("bench.classify.timing"))
    body = {"messages": [{"role": "user", "content": texts("en", 1_000, rng)}]}
    start = time.perf_counter_ns()
    prompt = read_prompt(body)
    classify(prompt, extract(prompt, embedder), model)
    print(f"first call after loading: {(time.perf_counter_ns() - start) / 1000:.0f} microseconds; then:")
    print(f"{'text':<8}{'bytes':>8}{'cpu p50':>9}{'p95':>7}{'p99':>7}{'wall p50':>10}{'p95':>7}{'p99':>7}")
    for size in (1_000, 100_000, 1_000_000):
        for kind in ("en", "code", "ru", "zh"):
            bodies = [{"messages": [{"role": "user", "content": texts(kind, size, rng)}]} for _ in range(40)]
            cpu, wall = [], []
            for i in range(ROUNDS):
                body = bodies[i % len(bodies)]
                start, busy = time.perf_counter_ns(), time.thread_time_ns()
                prompt = read_prompt(body)
                classify(prompt, extract(prompt, embedder), model)
                cpu.append((time.thread_time_ns() - busy) / 1000)
                wall.append((time.perf_counter_ns() - start) / 1000)
            c, w = _cuts(cpu), _cuts(wall)
            print(f"{kind:<8}{size:>8}{c[0]:>9.0f}{c[1]:>7.0f}{c[2]:>7.0f}{w[0]:>10.0f}{w[1]:>7.0f}{w[2]:>7.0f}")


def _cuts(spent: list[float]) -> list[float]:
    spent = sorted(spent)
    return [spent[int(len(spent) * q)] for q in (0.5, 0.95, 0.99)]


if __name__ == "__main__":
    main()
