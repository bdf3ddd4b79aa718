"""Bodies that come compressed although nobody asked for it: a bounded piece at a time, so that no bomb goes off."""

from __future__ import annotations

import zlib
from typing import Final

from gateway.forward.http1.errors import Malformed

CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})
PIECE_BYTES: Final = 256 * 1024
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_BARE: Final = -zlib.MAX_WBITS
_GZIP: Final = 0x1F
"""The first byte of each of gzip's members."""


class Inflate:
    """Takes compressed bytes and gives pieces of at most ``PIECE_BYTES``."""

    __slots__ = ("_coded", "_more", "_stream", "ended")

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None
        self._coded = b""
        self._more = False
        self.ended = False

    @property
    def pending(self) -> bool:
        """Whether ``piece`` may have more to give."""
        return self._more or bool(self._coded)

    @property
    def cut(self) -> bool:
        """Whether the stream has begun and not come to its own end."""
        return self._stream is not None and not self.ended

    def feed(self, coded: bytes) -> None:
        """Take more."""
        self._coded += coded

    def piece(self) -> bytes:
        """Return the next piece, maybe nothing yet. Raises ``Malformed``."""
        coded, self._coded = self._coded, b""
        if not coded and not self._more:
            return b""
        if self._stream is None or (self.ended and coded):  # members of a gzip file may follow each other
            gzip = coded[0] == _GZIP
            if self._stream is not None and not gzip:
                raise Malformed
            # some servers say deflate and leave zlib's two bytes out
            bare = not gzip and coded[0] & 0x0F != zlib.DEFLATED
            self._stream, self.ended = zlib.decompressobj(_BARE if bare else _GZIP_OR_ZLIB), False
        try:
            plain = self._stream.decompress(coded, PIECE_BYTES)
        except zlib.error as exc:
            raise Malformed from exc
        self._more = len(plain) >= PIECE_BYTES  # then the stream may hold more than its input shows
        self.ended = self._stream.eof
        self._coded = self._stream.unused_data if self.ended else self._stream.unconsumed_tail
        return plain
