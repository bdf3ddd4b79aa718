"""Reads the classifier's weight file, which ``python -m training.train`` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np

from router_core.classifier import ClassifierModel
from router_core.lexical import Lexicon

_NAME: Final = "classifier.npz"
_PLACES: Final = (
    Path(__file__).resolve().parent.parent / "config",
    Path(__file__).resolve().parent / "config",
)


def default_path() -> Path:
    """Return where the weight file stands: the checkout's ``config`` folder, else the installed package's."""
    for place in _PLACES:
        if (place / _NAME).is_file():
            return place / _NAME
    return _PLACES[0] / _NAME


def load_classifier(path: Path | None = None) -> ClassifierModel:
    """Load the weights from ``path`` (default: ``default_path``).

    Raises ``OSError`` when the file is missing and ``ValueError`` when it is not a weight file.
    """
    with np.load(path or default_path(), allow_pickle=False) as arrays:
        try:
            meta = json.loads(arrays["meta"].tobytes().decode())
            names = tuple(arrays["names"].tobytes().decode().split("\n"))
            return ClassifierModel(
                classes=tuple(meta["classes"]),
                names=names,
                term_weights=arrays["term_weights"],
                term_scale=arrays["term_scale"],
                embedding_weights=arrays["embedding_weights"].astype(np.float32),
                dense_weights=arrays["dense_weights"].astype(np.float32),
                bias=arrays["bias"],
                lexicon=Lexicon.of(_aliases(meta["words"]), _aliases(meta["stems"])),
                system_weight=meta["system_weight"],
                temperature=meta["temperature"],
                abstain_below=meta["abstain_below"],
                version=meta["version"],
            )
        except KeyError as exc:
            msg = f"not a classifier weight file: {exc.args[0]}"
            raise ValueError(msg) from exc


def _aliases(raw: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {word: tuple(concepts) for word, concepts in raw.items()}
