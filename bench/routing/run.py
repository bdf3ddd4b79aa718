"""Reproduce the figures of docs/learning.md: ``python -m bench.routing.run --data DIR``.

DIR holds recorded outcomes as JSON lines: ``evalmix_12model*``, ``mmlupro_14model*``, ``paretobandit_4model*``
and ``routellm_2model*``. Each part's result is written as text beside this file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gateway.backtest.corpus import Corpus, build, read_rows
from gateway.backtest.online import replay_online
from gateway.backtest.predictor import fit
from gateway.backtest.report import evaluate
from gateway.cli.backtest import as_text, online_text

HERE = Path(__file__).parent
BINS = 10


def find(data: Path, name: str) -> list[Path]:
    return sorted([*data.glob(f"{name}*.jsonl"), *data.glob(f"{name}*.jsonl.gz")])


def splits(corpus: Corpus) -> list[tuple[Corpus, Corpus]]:
    folds = corpus.folds
    return [(corpus.take(folds != fold), corpus.take(folds == fold)) for fold in sorted(set(folds.tolist()))]


def static(name: str) -> Callable[[Path], str]:
    def part(data: Path) -> str:
        corpus = build(read_rows(find(data, name)))
        every = evaluate(splits(corpus))
        third = [(train, test) for train, test in splits(corpus) if set(test.folds.tolist()) == {3}]
        parts = ["each fold in turn", as_text(every.figures)]
        if third:
            parts += ["", "fold 3 alone", as_text(evaluate(third).figures)]
        return "\n".join([*parts, "", reliability(corpus)])

    return part


def reliability(corpus: Corpus) -> str:
    """Predicted against observed quality on held-out prompts, in tenths, and the expected calibration error."""
    predicted = np.concatenate([fit(train).predict(test)[0].ravel() for train, test in splits(corpus)])
    observed = np.concatenate([test.scores.ravel() for _, test in splits(corpus)])
    tenth = np.minimum((predicted * BINS).astype(int), BINS - 1)
    lines, error = ["reliability of the predicted quality (held out)", "predicted  observed         n"], 0.0
    for each in range(BINS):
        inside = tenth == each
        if inside.any():
            gap = abs(predicted[inside].mean() - observed[inside].mean())
            error += gap * inside.mean()
            lines.append(f"{predicted[inside].mean():>9.3f}{observed[inside].mean():>10.3f}{inside.sum():>10}")
    brier = float(((predicted - observed) ** 2).mean())
    return "\n".join([*lines, f"expected calibration error {error:.4f}, mean squared error {brier:.4f}"])


def apgr_of(data: Path) -> str:
    lines = ["APGR, mean over test folds (label samples: mean and range over three seeds)"]
    for only in ("mmlu", "gsm8k"):
        corpus = build(read_rows(find(data, "routellm_2model")), only)
        cut = splits(corpus)
        for labels in (0, 1500, None):
            seeds = range(3) if labels else range(1)
            found = [evaluate(cut, labels=labels, seed=s, resamples=0).figures["apgr"][only]["mean"] for s in seeds]
            name = "all" if labels is None else str(labels)
            lines.append(f"{only:<8}{name:>6} labels: {np.mean(found):.4f}  ({min(found):.4f} to {max(found):.4f})")
        length = evaluate(cut, labels=0, resamples=0).figures["apgr"]["by_length"][only]
        lines.append(f"{only:<8}prompt length alone: {length:.4f}")
    return "\n".join(lines)


def online(data: Path) -> str:
    corpus = build(read_rows(find(data, "evalmix_12model")))
    return online_text(replay_online(splits(corpus)[-1]))


PARTS: dict[str, Callable[[Path], str]] = {
    "evalmix": static("evalmix_12model"),
    "mmlupro": static("mmlupro_14model"),
    "paretobandit": static("paretobandit_4model"),
    "apgr": apgr_of,
    "online": online,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=HERE)
    args: Any = parser.parse_args()
    for name in args.part:
        began = time.perf_counter()
        text = PARTS[name](args.data)
        (args.out / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
        print(f"--- {name} ({time.perf_counter() - began:.0f} s)\n{text}\n", flush=True)


if __name__ == "__main__":
    main()
