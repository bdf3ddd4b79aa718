"""Documents of one kind in the process's memory."""

from __future__ import annotations

from collections.abc import Sequence


class Shelf:
    """Holds at most ``most`` documents of ``most_bytes`` bytes together; those that were put first go first."""

    def __init__(self, most: int, most_bytes: int) -> None:
        """Begin empty."""
        self._most = most
        self._most_bytes = most_bytes
        self._documents: dict[str, tuple[bytes, float | None]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        """Count what is held, what has expired meanwhile included."""
        return len(self._documents)

    def put(self, name: str, data: bytes, expires: float | None) -> None:
        """Keep a document in place of one of the same name."""
        self.drop(name)
        self._documents[name] = (data, expires)
        self._bytes += len(data)
        while len(self._documents) > self._most or (self._bytes > self._most_bytes and len(self._documents) > 1):
            self.drop(next(iter(self._documents)))

    def get(self, name: str, now: float) -> bytes | None:
        """Return a document that has not expired."""
        data, expires = self._documents.get(name, (None, None))
        return data if expires is None or expires > now else None

    def list(self, limit: int, before: str, now: float) -> Sequence[tuple[str, bytes]]:
        """Return at most ``limit`` documents that have not expired, newest name first, from ``before`` on if given."""
        found: list[tuple[str, bytes]] = []
        for name in sorted((each for each in self._documents if not before or each < before), reverse=True):
            if len(found) == limit:
                break
            data, expires = self._documents[name]
            if expires is None or expires > now:
                found.append((name, data))
        return found

    def drop(self, name: str) -> None:
        """Forget a document, if it is there."""
        gone = self._documents.pop(name, None)
        if gone is not None:
            self._bytes -= len(gone[0])

    def prune(self, now: float) -> None:
        """Forget what has expired."""
        for name in [name for name, (_, expires) in self._documents.items() if expires is not None and expires <= now]:
            self.drop(name)
