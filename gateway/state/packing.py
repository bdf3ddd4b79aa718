"""Documents as they lie in a store: large ones compressed, to less than half for records of decisions."""

from __future__ import annotations

import zlib
from typing import Final

_MARK: Final = b"\0z"
"""Opens what is compressed. A document that opens like it is compressed whatever its size, so none is taken for it."""
LARGE: Final = 1024
_LEVEL: Final = 1
"""Higher ones take twice the time or more for a tenth less of the size."""


def pack(data: bytes, large: int = LARGE) -> bytes:
    """Return a document's bytes for a store, compressed from ``large`` bytes on.

    Some 40 microseconds for 7 KB, during which other threads run.
    """
    return plain(data) if len(data) < large else _MARK + zlib.compress(data, _LEVEL)


def plain(data: bytes) -> bytes:
    """Return a document's bytes for a store that has to compare them: as they are, as far as possible."""
    return data if not data.startswith(_MARK) else _MARK + zlib.compress(data, _LEVEL)


def unpack(stored: bytes) -> bytes:
    """Return a document's bytes from what a store has; what was never packed comes back as it is."""
    if not stored.startswith(_MARK):
        return stored
    try:
        return zlib.decompress(stored[len(_MARK) :])
    except zlib.error:  # somebody else wrote there; whoever reads documents bears with strange ones
        return stored
