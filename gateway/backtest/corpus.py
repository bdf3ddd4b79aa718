"""Recorded outcomes: rows of (prompt, model, score, tokens, cost) read from JSON lines and set in tables."""

from __future__ import annotations

import gzip
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from gateway.embedding import load_embedder
from gateway.weights import load_classifier
from router_core.classifier import classify
from router_core.features import Features, extract
from router_core.prompt import read_prompt
from router_core.replay import Wide

FOLDS: Final = 5
COVERAGE: Final = 0.95
"""A model recorded on a smaller share of the prompts is left out, then prompts that miss one of the rest are."""

Row = Mapping[str, Any]


class CorpusError(Exception):
    """The file holds no usable recordings; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Complete tables (prompts, models): ``scores`` in [0, 1], ``costs`` in USD, tokens in and out; then features.

    ``labels`` are the source's own and only for reports. ``tasks`` are the rows the gateway's classifier gave.
    """

    ids: tuple[str, ...]
    models: tuple[str, ...]
    labels: NDArray[Any]
    scores: Wide
    costs: Wide
    inputs: Wide
    outputs: Wide
    features: tuple[Features, ...]
    tasks: tuple[tuple[str, ...], ...]
    dropped: int = 0

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """(prompts, 256)."""
        return np.stack([f.embedding for f in self.features if f.embedding is not None])

    @property
    def dense(self) -> NDArray[np.float32]:
        """(prompts, measures)."""
        return np.stack([f.dense for f in self.features])

    @property
    def difficulty(self) -> NDArray[np.float32]:
        """(prompts,)."""
        return np.array([f.difficulty for f in self.features], dtype=np.float32)

    @property
    def estimates(self) -> Wide:
        """(prompts,) input tokens as the gateway estimates them."""
        return np.array([f.input_tokens for f in self.features], dtype=np.float64)

    @property
    def folds(self) -> NDArray[np.intp]:
        """The fold of each prompt, 0-4."""
        return np.array([fold_of(prompt_id) for prompt_id in self.ids])

    def take(self, rows: Sequence[int] | NDArray[Any]) -> Corpus:
        """Return the prompts at ``rows`` (indices or a mask), in that order."""
        chosen = np.asarray(rows)
        index = np.flatnonzero(chosen) if chosen.dtype.kind == "b" else chosen.astype(np.intp)
        return Corpus(
            tuple(self.ids[i] for i in index),
            self.models,
            self.labels[index],
            self.scores[index],
            self.costs[index],
            self.inputs[index],
            self.outputs[index],
            tuple(self.features[i] for i in index),
            tuple(self.tasks[i] for i in index),
            self.dropped,
        )

    def with_models(self, models: Sequence[str]) -> Corpus:
        """Return the tables with the given models' columns, in that order; raises CorpusError when one is missing."""
        missing = [name for name in models if name not in self.models]
        if missing:
            msg = f"models missing from these recordings: {', '.join(missing)}"
            raise CorpusError(msg)
        at = [self.models.index(name) for name in models]
        tables = (self.scores[:, at], self.costs[:, at], self.inputs[:, at], self.outputs[:, at])
        return Corpus(self.ids, tuple(models), self.labels, *tables, self.features, self.tasks, self.dropped)


def fold_of(prompt_id: str) -> int:
    """Return a prompt's fold: the SHA-256 of its id, read as a number, modulo 5."""
    return int(hashlib.sha256(prompt_id.encode()).hexdigest(), 16) % FOLDS


def read_rows(paths: Iterable[Path | str]) -> list[dict[str, Any]]:
    """Read JSON lines, gzipped when the name ends in ``.gz``. Raises CorpusError with file and line of a broken one."""
    rows: list[dict[str, Any]] = []
    for path in map(Path, paths):
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            rows += [_parsed(line, f"{path}:{number}") for number, line in enumerate(file, 1) if line.strip()]
    return rows


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
        row["score"], row["cost_usd"] = float(row["score"]), float(row["cost_usd"])
        row["prompt_id"], row["model"], row["prompt"] = str(row["prompt_id"]), str(row["model"]), str(row["prompt"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as exc:
        msg = f"{where}: not a recorded outcome ({exc})"
        raise CorpusError(msg) from exc
    if not 0.0 <= row["score"] <= 1.0 or not 0.0 <= row["cost_usd"] < math.inf:
        msg = f"{where}: score must be within [0, 1] and cost_usd at least 0"
        raise CorpusError(msg)
    return dict(row)


def build(
    rows: Iterable[Row], only: str = "", progress: Callable[[int, int], None] | None = None, models: Sequence[str] = ()
) -> Corpus:
    """Set rows in tables and read each prompt as the gateway would.

    ``only`` keeps prompts whose source label starts with it. ``models`` are kept whatever their coverage.
    Raises CorpusError when nothing complete is left.
    """
    kept = [row for row in rows if str(row.get("task_label_from_source") or "").startswith(only)]
    first: dict[str, Row] = {}
    cells: dict[tuple[str, str], Row] = {}
    for row in kept:
        first.setdefault(row["prompt_id"], row)
        cells[row["prompt_id"], row["model"]] = row
    coverage = Counter(model for _, model in cells)
    names = tuple(models) or tuple(sorted(m for m, n in coverage.items() if n >= COVERAGE * len(first)))
    ids = tuple(i for i in first if all((i, model) in cells for model in names))
    if not ids or len(names) < 2:
        msg = "no prompt was recorded on two models or more"
        raise CorpusError(msg)
    read = list(_read([first[i] for i in ids], progress))

    def table(name: str) -> Wide:
        found = [[cells[i, model].get(name) for model in names] for i in ids]
        return np.array([[0.0 if value is None else float(value) for value in line] for line in found])

    return Corpus(
        ids,
        names,
        np.array([str(first[i].get("task_label_from_source") or "") for i in ids]),
        table("score"),
        table("cost_usd"),
        table("input_tokens"),
        table("output_tokens"),
        tuple(features for features, _ in read),
        tuple(tasks for _, tasks in read),
        dropped=len(first) - len(ids),
    )


def _read(
    rows: Sequence[Row], progress: Callable[[int, int], None] | None
) -> Iterator[tuple[Features, tuple[str, ...]]]:
    embedder, classifier = load_embedder(), load_classifier()
    for number, row in enumerate(rows):
        body: dict[str, Any] = {"messages": [{"role": "user", "content": row["prompt"]}]}
        if row.get("n_tools"):
            body["tools"] = [{}] * int(row["n_tools"])
        prompt = read_prompt(body)
        features = extract(prompt, embedder)
        yield features, tuple(str(task) for task in classify(prompt, features, classifier).rows)
        if progress is not None and number % 500 == 0:
            progress(number, len(rows))
