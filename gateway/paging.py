"""Reading a kind of documents to its end, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from router_core.ports import DocumentStore

PAGE: Final = 500


async def documents(store: DocumentStore, kind: str, most: int | None = None) -> AsyncIterator[tuple[str, bytes]]:
    """Yield (id, data) of a kind, the newest first, at most ``most`` of them; raises StoreError."""
    before, left = "", most
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = await store.list(kind, limit=size, before=before)
        for name, data in page:
            yield name, data
        if len(page) < size:
            return
        before = page[-1][0]
        left = None if left is None else left - size
