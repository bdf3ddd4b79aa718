"""Counts and sums per series and time bucket, that merge with other workers' by plain addition.

What happens is first booked as *fresh* (one dictionary update per event). Before reading or exchanging, fresh sums are
spread over the spans they belong to. ``collect`` hands the increments out for the store; ``apply`` takes totals back,
in which everything is that was handed out. What was handed out stays visible until a total has it, so that numbers do
not step back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gateway.observe.buckets import EVER, Bucket, Labels, Span, boot_bucket, bucket_of, decode, encode, expiry

Fields = dict[str, float]
Series = dict[Labels, Fields]
Group = tuple[str, str]
"""Kind and scope: the first two labels. Scope is empty for everybody's traffic, else the id of one key."""

Layer = dict[Bucket, dict[Group, Series]]

OTHER: Final = "~other"
"""The name under which things beyond a bound are summed."""

MAX_SERIES_PER_KIND: Final = 5000
"""Different label sets of one kind (by key: counted apart); later ones are booked under ``~other``."""

FINE: Final = (Span.MINUTE, Span.HOUR, Span.DAY)
COARSE: Final = (Span.HOUR, Span.DAY)


class Aggregates:
    """All statistics of one worker, and what it knows of the others'."""

    def __init__(self, boot: str, *, max_series_per_kind: int = MAX_SERIES_PER_KIND) -> None:
        """Begin empty. ``boot`` names this start of the gateway (see ``buckets.boot_bucket``)."""
        self._boot = boot
        self._limit = max_series_per_kind
        self._known: dict[str, set[Labels]] = {}
        self._fresh: dict[int, Series] = {}
        self._local: Layer = {}
        self._sent: Layer = {}
        self._totals: Layer = {}
        self._clock = 0.0
        self.version = 0

    def add(self, labels: Labels, at: float, fields: Mapping[str, float]) -> None:
        """Book increments of one series at a wall-clock second. Labels beyond the bound go to ``~other``."""
        minute = int(at // 60) * 60
        series = self._fresh.get(minute)
        if series is None:
            series = self._fresh[minute] = {}
        held = series.get(labels)
        if held is None:
            held = series.setdefault(self._bounded(labels), {})
        add_into(held, fields)
        self._clock = max(self._clock, at)
        self.version += 1

    def collect(self) -> dict[str, Fields]:
        """Return all increments since the last call, by stored name. They stay visible here."""
        self._spread()
        local, self._local = self._local, {}
        for bucket, labels, fields in _each(local):
            add_into(_at(self._sent, bucket, labels), fields)
        return {encode(bucket, labels): dict(fields) for bucket, labels, fields in _each(local)}

    def apply(self, sums: Mapping[str, Mapping[str, float]], now: float) -> None:
        """Take totals of changed series; names that are not ours, and what no window reads any more, are left alone."""
        for name, fields in sums.items():
            found = decode(name)
            if found is None or (expiry(found[0]) or now) < now:
                continue
            bucket, labels = found
            group = (labels[0], labels[1])
            self._totals.setdefault(bucket, {}).setdefault(group, {})[labels] = dict(fields)
            self._known.setdefault(_family(labels), set()).add(labels)
            self._sent.get(bucket, {}).get(group, {}).pop(labels, None)
        self.version += 1

    def prune(self, now: float) -> None:
        """Forget buckets that no window reads any more, and labels that stand in none."""
        layers = (self._local, self._sent, self._totals)
        for layer in layers:
            for bucket in [held for held in layer if (end := expiry(held)) is not None and end < now]:
                del layer[bucket]
        known: dict[str, set[Labels]] = {}
        for series in self._fresh.values():
            for labels in series:
                known.setdefault(_family(labels), set()).add(labels)
        for layer in layers:
            for _, labels, _ in _each(layer):
                known.setdefault(_family(labels), set()).add(labels)
        self._known = known

    def settle(self) -> None:
        """Make what was booked up to now visible to ``select``."""
        self._spread()

    def select(self, kind: str, buckets: Iterable[Bucket], scope: str = "") -> Series:
        """Return the sums of all series of a kind and scope over some buckets; the caller may change them.

        Sees what was booked until ``settle``. May run in another thread than the one that books: what it iterates over
        are copies, each made in one step.
        """
        found: Series = {}
        for bucket in buckets:
            for layer in (self._totals, self._sent, self._local):
                for labels, fields in list(layer.get(bucket, {}).get((kind, scope), {}).items()):
                    add_into(found.setdefault(labels, {}), fields.copy())
        return found

    def since_boot(self, kind: str) -> Series:
        """Return the sums of all series of a kind since the gateway was started."""
        return self.select(kind, [boot_bucket(self._boot, self._clock)])

    @property
    def size(self) -> int:
        """How many series are held, over all buckets."""
        layers = (self._local, self._sent, self._totals)
        return sum(map(len, self._fresh.values())) + sum(1 for layer in layers for _ in _each(layer))

    def _bounded(self, labels: Labels) -> Labels:
        known = self._known.setdefault(_family(labels), set())
        if labels not in known:
            if len(known) >= self._limit:
                return (labels[0], OTHER if labels[1] else "", *(OTHER for _ in labels[2:]))
            known.add(labels)
        return labels

    def _spread(self) -> None:
        fresh, self._fresh = self._fresh, {}
        boot = boot_bucket(self._boot, self._clock)
        for minute, series in fresh.items():
            fine = [*(bucket_of(span, minute) for span in FINE), EVER, boot]
            coarse = [*(bucket_of(span, minute) for span in COARSE), EVER]
            for labels, fields in series.items():
                for bucket in coarse if labels[1] else fine:
                    add_into(_at(self._local, bucket, labels), fields)


def _each(layer: Layer) -> Iterator[tuple[Bucket, Labels, Fields]]:
    for bucket, groups in layer.items():
        for series in groups.values():
            for labels, fields in series.items():
                yield bucket, labels, fields


def _family(labels: Labels) -> str:
    """What shares one bound: a kind for everybody, and apart from it the same kind by key."""
    return f"{labels[0]}+" if labels[1] else labels[0]


def _at(layer: Layer, bucket: Bucket, labels: Labels) -> Fields:
    return layer.setdefault(bucket, {}).setdefault((labels[0], labels[1]), {}).setdefault(labels, {})


def add_into(held: Fields, fields: Mapping[str, float]) -> None:
    """Add field by field, in place."""
    get = held.get
    for name, value in fields.items():
        held[name] = get(name, 0.0) + value
