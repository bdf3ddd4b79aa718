"""Loads wordllama's embedding rows (MIT, part of its wheel) without importing wordllama.

Its own loader looks for the tokenizer in a folder the wheel does not have and then asks the network; the two files
are read here directly. Rows are kept as int8 with one scale a row: 8 MiB instead of 32, cosine to the original
above 0.999. Words that are one token are looked up in a table, and so are East Asian characters; the tokens of all
words met are remembered, so the tokenizer sees words that are new to this process only.
"""

from __future__ import annotations

import importlib.util
import math
import re
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from router_core.lexical import MAX_CHARS, ends

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from router_core.features import Embedder

MAX_TOKENS: Final = 128
_WEIGHTS: Final = "weights/l2_supercat_256.safetensors"
_TOKENIZER: Final = "tokenizers/l2_supercat_tokenizer_config.json"
_TENSOR: Final = "embedding.weight"
_EAST: Final = "\u2e80"


def _letters() -> str:
    """Return the letters and digits below ``_EAST`` as ranges, which an expression tests faster than a class."""
    signs = "".join(sign if sign.isalnum() else " " for sign in map(chr, range(ord(_EAST))))
    return "".join(f"{run[0]}-{run[-1]}" for run in signs.split())


_WORD: Final = re.compile(rf"[{_letters()}]+|[{_EAST}-\U0010ffff]+")
"""Letters and digits, or a run of East Asian characters, which are looked up one by one."""
_PLAIN: Final = bytes([c if chr(c).isalnum() and c < 128 else 32 for c in range(256)])
_NEW: Final = b"new"
_TOKEN: Final = np.dtype(np.int64)
_SPACE: Final = "\u2581"
_REMEMBERED: Final = 16_384
_LONGEST_REMEMBERED: Final = 24
_SHORT: Final = 4
"""Up to here a word may have digits and be remembered; longer, it might be part of a key."""


@dataclass(frozen=True, slots=True, eq=False)
class WordRows:
    """Mean of the rows of a text's tokens, unit norm. ``rows`` is int8 (tokens, 256), ``scales`` float32 (tokens,).

    Tokens are kept as the bytes of their int64, so that joining them makes an index. ``known`` maps words, and East
    Asian characters, that are one token to it; ``opens`` says of each token whether it begins a word. ``remembered``
    holds the tokens of the words met so far (but of nothing long with digits) and is emptied when full: far smaller
    than ``known``, it stays in the processor's cache.
    """

    rows: NDArray[np.int8]
    scales: NDArray[np.float32]
    known: Mapping[str, bytes]
    opens: NDArray[np.bool_]
    tokenizer: Tokenizer
    remembered: dict[str, bytes] = field(default_factory=dict, repr=False)

    def __call__(self, text: str, /) -> NDArray[np.float32]:
        """Embed ``text``: float32, unit norm, zeros when it has no word. Linear in at most ``MAX_CHARS`` characters."""
        picked = self._ids(ends(text, MAX_CHARS))[:MAX_TOKENS]
        if not len(picked):
            return np.zeros(self.rows.shape[1], dtype=np.float32)
        total: NDArray[np.float32] = self.scales.take(picked).dot(self.rows.take(picked, axis=0).astype(np.float32))
        norm = math.sqrt(total.dot(total))
        return total / norm if norm > 0 else total

    def _ids(self, text: str) -> NDArray[np.int64]:
        """Return the tokens of the text's words; when they are too many, those of words that are one token first."""
        words = text.encode().translate(_PLAIN).decode().split() if text.isascii() else _WORD.findall(text)
        try:
            parts = list(map(self.remembered.__getitem__, words))
        except KeyError:
            parts = self._tokens(words)
        joined = b"".join(parts)
        if len(joined) > MAX_TOKENS * _TOKEN.itemsize:
            known = self.known
            first: list[bytes] = []
            then: list[bytes] = []
            for word, part in zip(words, parts, strict=True):
                (first if word in known else then).append(part)
            joined = b"".join(first + then)
        return np.frombuffer(joined, dtype=_TOKEN)

    def _tokens(self, words: list[str]) -> list[bytes]:
        """Return the tokens of each of ``words``, and remember them."""
        known, remembered = self.known, self.remembered
        if len(remembered) > _REMEMBERED:
            remembered.clear()
        parts = list(map(remembered.get, words, repeat(_NEW)))
        unknown: dict[int, str] = {}
        for place, part in enumerate(parts):
            if part is not _NEW:
                continue
            word = words[place]
            if word in known:
                parts[place] = remembered[word] = known[word]
            elif word < _EAST:
                unknown[place] = word
            else:
                parts[place] = b"".join(map(known.get, word, repeat(b"")))
                if len(word) <= _SHORT:
                    remembered[word] = parts[place]
        for (place, word), tokens in zip(unknown.items(), self._tokenize(list(unknown.values())), strict=True):
            parts[place] = tokens
            if len(word) <= _SHORT or (len(word) <= _LONGEST_REMEMBERED and word.isalpha()):
                remembered[word] = tokens
        return parts

    def _tokenize(self, words: list[str]) -> list[bytes]:
        """Return the tokens of each of ``words``, which the tokenizer has to find."""
        if not words:
            return []
        ids = np.array(self.tokenizer.encode(" ".join(words), add_special_tokens=False).ids, dtype=_TOKEN)
        starts = np.flatnonzero(self.opens[ids]).tolist()
        return [ids[start:end].tobytes() for start, end in zip(starts, [*starts[1:], len(ids)], strict=True)]


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
    from tokenizers.pre_tokenizers import Metaspace  # noqa: PLC0415

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
    # Words never share a token; told so, the tokenizer's own cache holds words instead of whole texts.
    loaded.normalizer = None
    loaded.pre_tokenizer = Metaspace(replacement=_SPACE, prepend_scheme="always", split=True)
    vocabulary: dict[str, int] = loaded.get_vocab()
    tokens = [i.tobytes() for i in np.arange(count, dtype=_TOKEN)]
    known = {t: tokens[i] for t, i in vocabulary.items() if len(t) == 1 and t >= _EAST and t.isalpha() and i < count}
    opens = np.zeros(count, dtype=np.bool_)
    for token, i in vocabulary.items():
        if token[0] == _SPACE and i < count:
            opens[i] = True
            if _WORD.fullmatch(token[1:]):
                known[token[1:]] = tokens[i]
    made = WordRows(rows, scales, known, opens, loaded)
    made("warm up")
    return made
