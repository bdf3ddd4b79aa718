"""Loads wordllama's embedding rows (MIT, part of its wheel) without importing wordllama.

Its own loader looks for the tokenizer in a folder the wheel does not have and then asks the network; the two files
are read here directly. Rows are kept as int8 with one scale a row: 8 MiB instead of 32, cosine to the original
above 0.999. Words that are one token are looked up in a table; only the rest goes through the tokenizer.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from router_core.features import Embedder

MAX_CHARS: Final = 480
"""Characters read of a text: two thirds from its head, one third from its tail."""
MAX_TOKENS: Final = 128
_WEIGHTS: Final = "weights/l2_supercat_256.safetensors"
_TOKENIZER: Final = "tokenizers/l2_supercat_tokenizer_config.json"
_TENSOR: Final = "embedding.weight"
_WORD: Final = re.compile(r"[^\W_]+")
_SPACE: Final = "\u2581"


@dataclass(frozen=True, slots=True, eq=False)
class WordRows:
    """Mean of the rows of a text's tokens, unit norm. ``rows`` is int8 (tokens, 256), ``scales`` float32 (tokens,)."""

    rows: NDArray[np.int8]
    scales: NDArray[np.float32]
    known: Mapping[str, int]
    tokenizer: Tokenizer

    def __call__(self, text: str, /) -> NDArray[np.float32]:
        """Embed ``text``: float32, unit norm, zeros when it has no word. Linear in at most ``MAX_CHARS`` characters."""
        if len(text) > MAX_CHARS:
            head = MAX_CHARS * 2 // 3
            text = f"{text[:head]} {text[head - MAX_CHARS :]}"
        ids = self._ids(_WORD.findall(text))
        if not ids:
            return np.zeros(self.rows.shape[1], dtype=np.float32)
        picked = np.array(ids[:MAX_TOKENS])
        total: NDArray[np.float32] = self.scales[picked] @ self.rows[picked].astype(np.float32)
        norm = float(np.sqrt(total @ total))
        return total / np.float32(norm) if norm > 0 else total

    def _ids(self, words: list[str]) -> list[int]:
        known = self.known
        ids = [known[w] for w in words if w in known]
        if len(ids) < len(words):
            rest = " ".join([w for w in words if w not in known])
            ids += self.tokenizer.encode(rest, add_special_tokens=False).ids
        return ids


def load_embedder() -> Embedder | None:
    """Load the embedder from the installed wordllama package; None when the package or its files are missing."""
    spec = importlib.util.find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(next(iter(spec.submodule_search_locations)))
    return read_rows(root / _WEIGHTS, root / _TOKENIZER)


def read_rows(weights: Path, tokenizer: Path) -> WordRows | None:
    """Read the two files into ``WordRows``; None when one is missing."""
    if not (weights.is_file() and tokenizer.is_file()):
        return None
    from safetensors import safe_open  # noqa: PLC0415 - only needed here
    from tokenizers import Tokenizer  # noqa: PLC0415

    with safe_open(str(weights), framework="np") as file:
        table = file.get_slice(_TENSOR)
        count, width = table.get_shape()
        rows = np.empty((count, width), dtype=np.int8)
        scales = np.empty(count, dtype=np.float32)
        for start in range(0, count, 4096):  # in blocks, so that the float copy never stands in memory as a whole
            block = table[start : min(start + 4096, count)].astype(np.float32)
            peak = np.maximum(np.abs(block).max(axis=1), 1e-12)
            scales[start : start + len(block)] = peak / 127
            rows[start : start + len(block)] = np.rint(block * (127 / peak)[:, None])
    loaded = Tokenizer.from_file(str(tokenizer))
    vocabulary: dict[str, int] = loaded.get_vocab()
    known = {t[1:]: i for t, i in vocabulary.items() if t[0] == _SPACE and i < count and _WORD.fullmatch(t[1:])}
    return WordRows(rows, scales, known, loaded)
