"""Finds many terms in a large vocabulary at once.

A dictionary of tens of thousands of strings answers each look-up with several misses of the processor's cache, one
after the other: for the terms of one prompt that was the dearest step of classifying it. Here the vocabulary's 64-bit
hashes stand in buckets of an array, and all look-ups of a text wait for memory together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TermIndex:
    """The hashes of a vocabulary, int64 (buckets, width), and at the same places the terms' numbers.

    A term's bucket is given by the low bits of its hash. An unknown term is taken for a known one with probability
    2^-64 for each term of the vocabulary. Python's string hashes hold for one process, and so does an index.
    """

    hashes: NDArray[np.int64]
    numbers: NDArray[np.intp]

    @classmethod
    def of(cls, names: Sequence[str]) -> TermIndex:
        """Build the index of ``names``, numbered from 0; ValueError when a name comes twice."""
        hashes = _hashes(names)
        if len(np.unique(hashes)) != len(names):
            msg = "the vocabulary names a term twice"
            raise ValueError(msg)
        buckets = 1 << max(1, len(names)).bit_length() - 1
        home = hashes & (buckets - 1)
        held = np.bincount(home, minlength=buckets)
        width = int(held.max())
        order = home.argsort(kind="stable")
        home = home[order]
        place = np.arange(len(names)) - (held.cumsum() - held)[home]
        # An empty place holds what no term of its bucket hashes to: the bucket's number with all bits turned.
        table = np.repeat(~np.arange(buckets), max(1, width)).reshape(buckets, -1)
        numbers = np.zeros(table.shape, dtype=np.intp)
        table[home, place], numbers[home, place] = hashes[order], order
        return cls(table, numbers)

    def find(self, terms: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return which of ``terms`` are known, in their order, and the numbers of these."""
        hashes = _hashes(terms)
        buckets, width = self.hashes.shape
        home = hashes & (buckets - 1)
        places = np.flatnonzero(self.hashes.take(home, axis=0) == hashes[:, None])
        which = places // width
        return which, self.numbers.take((home.take(which) - which) * width + places)


def _hashes(terms: Sequence[str]) -> NDArray[np.int64]:
    """Hash each term and its length: Python hashes the bytes a string is kept in, and "h0" is kept as "と" is."""
    count = len(terms)
    hashes = np.fromiter(map(hash, terms), dtype=np.int64, count=count)
    return hashes ^ np.fromiter(map(len, terms), dtype=np.int64, count=count)
