"""Holds out one source after the other: ``python -m training.evaluate`` (some minutes on one core).

Sources are grouped by style: a file name (``roles``, ``exams``, ``instruct`` …) is left out in all languages at once,
the model is fitted on the rest, and its predictions are pooled. Prints precision and recall for each class, the
expected calibration error, and the temperature that fits best; the model card quotes them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gateway.embedding import load_embedder
from gateway.weights import load_classifier
from router_core.classifier import FOLLOW_UP, ClassifierModel, class_probabilities, classify
from router_core.features import Embedder, extract, read_prompt
from router_core.task import TaskType
from training import corpus
from training.fit import DEFAULT, Encoded, encode, fit
from training.lexicon import load_lexicon

TEMPERATURES = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 2.0, 2.5, 3.0)
CLASSES = tuple(label for label in corpus.LABELS if label != FOLLOW_UP)


def main() -> int:
    """Run the evaluation and print it; returns the exit code."""
    rows, embedder, lexicon = corpus.load(), load_embedder(), load_lexicon()
    fresh(embedder)
    encoded = encode(rows, embedder, lexicon)
    styles = [r.source.partition("/")[2] for r in rows]
    truth: list[int] = []
    logits: list[list[float]] = []
    weights: list[float] = []
    for style in sorted(set(styles)):
        inside = [i for i, s in enumerate(styles) if s != style]
        outside = [i for i, s in enumerate(styles) if s == style and rows[i].label != FOLLOW_UP]
        model = fit([rows[i] for i in inside], _part(encoded, inside), lexicon, replace(DEFAULT, temperature=1.0))
        found = [_log_chances(rows[i], model, embedder) for i in outside]
        right = [CLASSES.index(rows[i].label) for i in outside]
        share = np.mean([int(np.argmax(f)) == t for f, t in zip(found, right, strict=True)])
        print(f"without {style:<12} n={len(outside):<6} accuracy {share:.3f}", flush=True)
        truth += right
        logits += found
        weights += [rows[i].weight for i in outside]
    report(np.array(truth), np.array(logits), np.array(weights))
    return 0


def fresh(embedder: Embedder | None) -> None:
    """Print the accuracy of the shipped weights on prompts nobody trained on."""
    model = load_classifier()
    rows = corpus.read_file(corpus.ROOT / "fresh" / "mixed.txt", corpus.materials(corpus.ROOT / "materials"))
    right = total = 0.0
    for row in rows:
        prompt = read_prompt(row.body)
        profile = classify(prompt, extract(prompt, embedder), model)
        right += row.weight * (str(profile.secondary or profile.task) == row.label)
        total += row.weight
    print(f"shipped weights on fresh prompts n={len(rows):<6} accuracy {right / total:.3f}", flush=True)


def _part(encoded: Encoded, picked: Sequence[int]) -> Encoded:
    return Encoded([encoded.blocks[i] for i in picked], encoded.embeddings[picked], encoded.dense[picked])


def _log_chances(row: corpus.Row, model: ClassifierModel, embedder: Embedder | None) -> list[float]:
    prompt = read_prompt(row.body)
    chances = class_probabilities(prompt, extract(prompt, embedder), model)
    return [float(np.log(max(1e-9, chances[task]))) for task in map(_task, CLASSES)]


def _task(name: str) -> TaskType:
    return TaskType(name)


def report(truth: NDArray[np.int64], logits: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
    """Print the pooled figures; every template counts with its weight."""
    said = logits.argmax(axis=1)
    print(f"{'class':<18}{'recall':>8}{'precision':>11}")
    for k, name in enumerate(CLASSES):
        hit = weights[(said == k) & (truth == k)].sum()
        recall, precision = hit / weights[truth == k].sum(), hit / max(1e-9, weights[said == k].sum())
        print(f"{name:<18}{recall:>8.3f}{precision:>11.3f}")
    print(f"accuracy {weights[said == truth].sum() / weights.sum():.3f}")
    best = min(TEMPERATURES, key=lambda t: _loss(truth, logits / t, weights))
    for t in (1.0, best):
        loss, error = _loss(truth, logits / t, weights), _ece(truth, logits / t, weights)
        print(f"temperature {t}: log loss {loss:.3f}, calibration error {error:.3f}")


def _chances(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return chances


def _loss(truth: NDArray[np.int64], logits: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    picked = _chances(logits)[np.arange(len(truth)), truth]
    return float(-(weights * np.log(np.maximum(picked, 1e-12))).sum() / weights.sum())


def _ece(truth: NDArray[np.int64], logits: NDArray[np.float64], weights: NDArray[np.float64], bins: int = 10) -> float:
    chances = _chances(logits)
    sure, right = chances.max(axis=1), chances.argmax(axis=1) == truth
    total = 0.0
    for k in range(bins):
        inside = (sure > k / bins) & (sure <= (k + 1) / bins)
        if inside.any():
            w = weights[inside]
            total += abs((w * sure[inside]).sum() - (w * right[inside]).sum())
    return float(total / weights.sum())


if __name__ == "__main__":
    sys.exit(main())
