"""Finds many terms in a large vocabulary at once.

A dictionary of tens of thousands of strings answers each look-up with several misses of the processor's cache, one
after the other: for the terms of one prompt that was the dearest step of classifying it. Here the vocabulary's 64-bit
hashes stand in buckets of an array, and all look-ups of a text wait for memory together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TermIndex:
    """The entries of a vocabulary, int64 (buckets, width): the bits of a term's hash, with its number for the low ones.

    A term's bucket is given by the low bits of its hash, so nothing is lost by their place being taken. An unknown term
    is taken for a known one with probability 2^-64 for each term of the vocabulary. Python's string hashes hold for one
    process, and so does an index.
    """

    entries: NDArray[np.int64]
    size: int

    @classmethod
    def of(cls, names: Sequence[str]) -> TermIndex:
        """Build the index of ``names``, numbered from 0; ValueError when a name comes twice."""
        hashes, size = _hashes(names), len(names)
        if len(np.unique(hashes)) != size:
            msg = "the vocabulary names a term twice"
            raise ValueError(msg)
        buckets = 1 << size.bit_length()
        home = hashes & (buckets - 1)
        held = np.bincount(home, minlength=buckets)
        order = home.argsort(kind="stable")
        hashes, home = hashes[order], home[order]
        place = np.arange(size) - (held.cumsum() - held)[home]
        entries = np.full((buckets, max(1, int(held.max()))), buckets - 1)  # an empty place: no term has this number
        entries[home, place] = hashes ^ home ^ order
        return cls(entries, size)

    def find(self, first: Iterable[str], then: Iterable[str] = ()) -> tuple[NDArray[np.int64], int]:
        """Return the numbers of the known ones of two groups of terms, in order, and how many are of ``first``."""
        terms = [*first]
        border = len(terms)
        terms += then
        hashes = _hashes(terms)
        buckets, width = self.entries.shape
        home = hashes & (buckets - 1)
        # Without the bits of the term that was asked for, what is left of its own entry is its number.
        left = self.entries.take(home, axis=0) ^ (hashes ^ home)[:, None]
        places = (left.view(np.uint64) < self.size).ravel().nonzero()[0]
        return left.take(places), int(places.searchsorted(border * width))


def _hashes(terms: Sequence[str]) -> NDArray[np.int64]:
    """Hash each term in UTF-8: Python hashes the bytes a string is kept in, which are the same for "h0" and "と"."""
    # What is kept of ASCII is its UTF-8.
    kept = terms if "".join(terms).isascii() else map(str.encode, terms)
    return np.fromiter(map(hash, kept), dtype=np.int64, count=len(terms))
