"""Which names a provider's ``wire`` may have: the table's own, and what litellm knows, unimported."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from gateway.forward.catalog import provider_names
from gateway.forward.wires import WIRES

ADDRESSES: Final[Mapping[str, str | None]] = {name: row.base_url for name, row in WIRES.items()}
"""Wire -> its vendor's address; None: the operator must give one."""


class KnownWires(Collection[str]):
    """All names; litellm's are looked up only for a name the table does not have."""

    def __contains__(self, name: object) -> bool:
        """Say whether a wire is known."""
        return name in WIRES or name in _litellms()

    def __iter__(self) -> Iterator[str]:
        """Yield every name."""
        return iter({*WIRES, *_litellms()})

    def __len__(self) -> int:
        """Return how many there are."""
        return len({*WIRES, *_litellms()})


@lru_cache(maxsize=1)
def _litellms() -> frozenset[str]:
    """Return the providers litellm has code or prices for."""
    spec = find_spec("litellm")
    code: set[str] = set()
    if spec is not None and spec.origin is not None:
        code = {found.name for found in (Path(spec.origin).parent / "llms").glob("[a-z]*") if found.is_dir()}
    return provider_names() | code
