"""What can go wrong with a state store, named by what the caller can do about it.

StoreError
├── StoreUnavailable   it cannot be reached or did not answer in time: try again later
├── StoreFull          it answers, but takes no writes (disk or memory full): reads go on, writes are dropped or wait
└── StoreBroken        what it holds is damaged, or it cannot be used at all (bad URL, no permission)
"""

from __future__ import annotations

__all__ = ["StoreBroken", "StoreError", "StoreFull", "StoreUnavailable"]


class StoreError(Exception):
    """Root of everything a state store raises."""


class StoreUnavailable(StoreError):
    """The store cannot be reached now."""


class StoreFull(StoreError):
    """The store takes no writes now."""


class StoreBroken(StoreError):
    """The store cannot be used at all."""
