"""What all adapters do the same way: batch ids, sums, cursors, and the bounds on what is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from router_core.ports import Sums

SCHEMA_VERSION = 1
"""Version of the stored shapes; an adapter that meets a newer one reads what it knows and keeps the rest."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a store keeps: documents of a kind, ledger rows, series, and seconds an unused series stays."""

    documents: int = 100_000
    ledger_rows: int = 1_000_000
    series: int = 100_000
    series_s: float = 180 * 86_400.0
    events: int = 10_000
    events_s: float = 60.0


def expired(key: str, now: float) -> bool:
    """Whether a series says by its own name, ``~SECONDS~`` somewhere in it, that nobody reads it any more."""
    _, tilde, rest = key.partition("~")
    seconds, closing, _ = rest.partition("~")
    return bool(tilde and closing) and seconds.isascii() and seconds.isdigit() and float(seconds) < now


def split_id(batch_id: str) -> tuple[str, int]:
    """Return (worker, sequence) of a batch id; an id without a sequence is a worker of its own that pushes once."""
    worker, colon, tail = batch_id.rpartition(":")
    if colon and tail.isascii() and tail.isdigit():
        return worker, int(tail)
    return batch_id, 0


def make_cursor(epoch: str, version: int) -> str:
    """Name a point in one memory of a store."""
    return f"{epoch}:{version}"


def version_of(cursor: str, epoch: str) -> int:
    """Return the version a cursor stands for; -1 when it is empty, broken, or of another memory: everything is new."""
    its_epoch, colon, tail = cursor.rpartition(":")
    if colon and its_epoch == epoch and tail.isascii() and tail.isdigit():
        return int(tail)
    return -1


def finite(fields: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield the increments that are numbers: one NaN added to a shared sum would poison it for good."""
    for name, value in fields.items():
        if math.isfinite(value):
            yield name, float(value)


def add_sums(into: dict[str, dict[str, float]], sums: Sums) -> None:
    """Add increments to totals in place; one that is no number, or would make the total none, is left out."""
    for key, fields in sums.items():
        target = into.get(key)
        if not target and all(map(math.isfinite, fields.values())):
            into[key] = dict(fields)
            continue
        if target is None:
            target = into[key] = {}
        for name, value in fields.items():
            total = target.get(name, 0.0) + value
            if math.isfinite(total):
                target[name] = total


def join_maxima(into: dict[str, float], maxima: Mapping[str, float]) -> None:
    """Raise joined values in place."""
    for key, value in finite(maxima):
        if value > into.get(key, -math.inf):
            into[key] = value


def dump(value: Any) -> bytes:
    """Write JSON."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def load_object(data: bytes | str | None) -> dict[str, Any] | None:
    """Read a JSON object; None when it is anything else: garbage in a store is dropped, never fatal."""
    if data is None:
        return None
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def position(number: int) -> str:
    """Write a row number so that positions sort as text."""
    return f"{number:016d}"
