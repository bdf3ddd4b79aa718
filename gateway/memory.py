"""Giving memory back: what the start needed once (weights being unpacked, modules being compiled) stays in the heap."""

from __future__ import annotations

import contextlib
import ctypes


def give_back_memory() -> None:
    """Ask the C library for its free pages, 15 to 40 MiB after a start; does nothing where it cannot be asked."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
