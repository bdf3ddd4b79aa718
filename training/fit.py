"""Fits the classifier: rows -> sparse matrix -> multinomial logistic regression -> ``ClassifierModel``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression

from router_core.classifier import ClassifierModel
from router_core.features import EMBEDDING_SIZE, Embedder, extract, read_prompt
from router_core.lexical import Lexicon, concepts, terms, words
from training.corpus import LABELS, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Settings:
    """The trainer's knobs.

    ``inverse_penalty`` is scikit-learn's C; the scales set how strongly each block of features is penalised.
    """

    inverse_penalty: float = 2.0
    embedding_scale: float = 2.0
    dense_scale: float = 1.0
    term_scale: float = 2.0
    concept_scale: float = 1.0
    """How much more lightly concepts are penalised than words."""
    system_weight: float = 0.5
    min_rows: int = 2
    """A term must occur in this many rows."""
    keep_terms: int = 30_000
    drop_embedding: float = 0.25
    """Share of rows that is seen a second time without its embedding, so that words alone suffice too."""
    drop_words: float = 0.25
    """Share of rows that is seen again by its concepts and measures alone, so that unseen languages work."""
    balance: float = 0.5
    """Exponent of the class weights: 0 leaves the corpus's shares, 1 makes all classes equal."""
    temperature: float = 1.0
    abstain_below: float = 0.25


DEFAULT: Final = Settings()


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Rows as the model reads them: for each prompt its blocks of terms with their weights, and the dense parts."""

    blocks: list[list[tuple[list[str], float, bool]]]
    """(terms, weight of each, whether they are concepts)"""
    embeddings: NDArray[np.float32]
    dense: NDArray[np.float32]


def encode(rows: Sequence[Row], embedder: Embedder | None, lexicon: Lexicon) -> Encoded:
    """Read every row the way the gateway reads a request."""
    prompts = [read_prompt(row.body) for row in rows]
    features = [extract(p, embedder) for p in prompts]
    zero = np.zeros(EMBEDDING_SIZE, dtype=np.float32)
    return Encoded(
        [_blocks(p.user, 1.0, lexicon) + _blocks(p.system, 0.0, lexicon) for p in prompts],
        np.stack([zero if f.hashed or f.embedding is None else f.embedding for f in features]),
        np.stack([f.dense for f in features]),
    )


def _blocks(text: str, weight: float, lexicon: Lexicon) -> list[tuple[list[str], float, bool]]:
    found = words(text)
    if not found:
        return []
    # Sorted, so that the same corpus makes the same weights in every process.
    return [(sorted(terms(found)), weight, False), (sorted(concepts(found, lexicon)), weight, True)]


def choose_vocabulary(encoded: Encoded, settings: Settings) -> list[str]:
    """Return the terms that occur in enough rows, the most frequent first."""
    counts: Counter[str] = Counter()
    for row in encoded.blocks:
        counts.update({term for found, _, _ in row for term in found})
    frequent = [t for t, n in counts.items() if n >= settings.min_rows and "\n" not in t]
    return sorted(frequent, key=lambda t: (-counts[t], t))


def term_matrix(
    encoded: Encoded, vocabulary: dict[str, int], settings: Settings, *, only_concepts: bool = False
) -> sparse.csr_matrix:
    """Return one row of term values for each prompt: 1/sqrt(n) for each block, times system_weight for the system's."""
    indices: list[int] = []
    values: list[float] = []
    starts = [0]
    for row in encoded.blocks:
        cells: dict[int, float] = {}
        for found, user, is_concept in row:
            if only_concepts and not is_concept:
                continue
            value = (user or settings.system_weight) / len(found) ** 0.5 if found else 0.0
            value *= settings.concept_scale if is_concept else 1.0
            for i in [vocabulary[t] for t in found if t in vocabulary]:
                cells[i] = cells.get(i, 0.0) + value
        indices.extend(cells)
        values.extend(cells.values())
        starts.append(len(indices))
    return sparse.csr_matrix((np.array(values, dtype=np.float32), indices, starts), (len(starts) - 1, len(vocabulary)))


def fit(
    rows: Sequence[Row], encoded: Encoded, lexicon: Lexicon, settings: Settings = DEFAULT, version: str = ""
) -> ClassifierModel:
    """Fit once on all terms, keep the ``keep_terms`` that weigh most, fit again, and quantise."""
    names = choose_vocabulary(encoded, settings)
    coef, intercept = _solve(rows, encoded, names, settings)
    if len(names) > settings.keep_terms:
        strength = np.abs(coef[:, : len(names)]).max(axis=0)
        best = np.sort(np.argsort(-strength)[: settings.keep_terms])
        names = [names[i] for i in best]
        coef, intercept = _solve(rows, encoded, names, settings)
    n = len(names)
    lighter = np.array([settings.concept_scale if "=" in name else 1.0 for name in names])
    term_part = coef[:, :n].T * settings.term_scale * lighter[:, None]
    scale = np.maximum(np.abs(term_part).max(axis=0), 1e-9) / 127
    return ClassifierModel(
        classes=LABELS,
        names=tuple(names),
        term_weights=np.rint(term_part / scale).astype(np.int8),
        term_scale=scale.astype(np.float32),
        embedding_weights=(coef[:, n : n + EMBEDDING_SIZE].T * settings.embedding_scale).astype(np.float32),
        dense_weights=(coef[:, n + EMBEDDING_SIZE :].T * settings.dense_scale).astype(np.float32),
        bias=intercept.astype(np.float32),
        lexicon=lexicon,
        system_weight=settings.system_weight,
        temperature=settings.temperature,
        abstain_below=settings.abstain_below,
        version=version,
    )


def _solve(
    rows: Sequence[Row], encoded: Encoded, names: list[str], settings: Settings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit on every row, on some again without their embedding, and on some again by their concepts alone."""
    index = {name: i for i, name in enumerate(names)}
    full = term_matrix(encoded, index, settings) * settings.term_scale
    bare = term_matrix(encoded, index, settings, only_concepts=True) * settings.term_scale
    embedded = sparse.csr_matrix(encoded.embeddings * settings.embedding_scale)
    dense = sparse.csr_matrix(encoded.dense * settings.dense_scale)
    nothing = sparse.csr_matrix(embedded.shape, dtype=np.float32)
    draw = np.random.default_rng(7).random(len(rows))
    blind = draw < settings.drop_embedding
    wordless = draw > 1 - settings.drop_words
    matrix = sparse.vstack(
        [
            sparse.hstack([full, embedded, dense]),
            sparse.hstack([full, nothing, dense]).tocsr()[blind],
            sparse.hstack([bare, nothing, dense]).tocsr()[wordless],
        ]
    ).tocsr()
    labels = np.array([LABELS.index(r.label) for r in rows])
    weights = np.array([r.weight for r in rows]) * _class_weights(rows, settings.balance)[labels]
    labels = np.concatenate([labels, labels[blind], labels[wordless]])
    weights = np.concatenate([weights, weights[blind], weights[wordless]])
    model = LogisticRegression(C=settings.inverse_penalty, max_iter=300, tol=1e-3)
    model.fit(matrix, labels, sample_weight=weights)
    return model.coef_, model.intercept_


def _class_weights(rows: Sequence[Row], balance: float) -> NDArray[np.float64]:
    mass = np.array([sum(r.weight for r in rows if r.label == label) for label in LABELS])
    weights: NDArray[np.float64] = (mass.mean() / np.maximum(mass, 1e-9)) ** balance
    return weights
