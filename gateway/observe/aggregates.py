"""Counts and sums per series and time bucket, that merge with other workers' by plain addition.

What happens is first kept as it came. Before reading or exchanging it is added up, many events of a series at once, and
spread over the spans it belongs to. ``collect`` hands the increments out for the store; ``apply`` takes totals back, in
which everything is that was handed out. What was handed out stays visible until a total has it, so that numbers do not
step back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final, NamedTuple

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

MOST_FRESH: Final = 5000
"""So many events are kept as they came, when nobody asks for their sums."""

FINE: Final = (Span.MINUTE, Span.HOUR, Span.DAY)
COARSE: Final = (Span.HOUR, Span.DAY)


class Booking(NamedTuple):
    """What one event adds to a series: 1 to each field of ``counts``, a value to each of ``sums``. Never changed."""

    counts: tuple[str, ...]
    sums: Mapping[str, float]


class Aggregates:
    """All statistics of one worker, and what it knows of the others'."""

    def __init__(self, boot: str, *, max_series_per_kind: int = MAX_SERIES_PER_KIND) -> None:
        """Begin empty. ``boot`` names this start of the gateway (see ``buckets.boot_bucket``)."""
        self._boot = boot
        self._limit = max_series_per_kind
        self._known: dict[str, set[Labels]] = {}
        self._fresh: dict[tuple[int, Labels, bool], list[Booking]] = {}
        self._events = 0
        self._local: Layer = {}
        self._sent: Layer = {}
        self._totals: Layer = {}
        self._clock = 0.0

    def add(self, labels: Labels, at: float, booking: Booking, *, everybody: bool = False) -> None:
        """Book an event of one series at a wall-clock second. Labels beyond the bound go to ``~other``.

        With ``everybody`` what one key did is counted for everybody too.
        """
        key = (int(at // 60.0), labels, everybody)
        held = self._fresh.get(key)
        if held is None:
            held = self._fresh[key] = []
        held.append(booking)
        if at > self._clock:  # noqa: PLR1730 - ``max`` would cost more than all the rest of this, for every event
            self._clock = at
        self._events += 1
        if self._events >= MOST_FRESH:
            self._spread()

    def collect(self) -> dict[str, Fields]:
        """Return all increments since the last call, by stored name. They stay visible here."""
        self._spread()
        local, self._local = self._local, {}
        told: dict[str, Fields] = {}
        for bucket, labels, fields in _each(local):
            _add(self._sent, bucket, labels, fields)
            told[encode(bucket, labels)] = fields
        return told

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

    def prune(self, now: float) -> None:
        """Forget buckets that no window reads any more, and labels that stand in none."""
        self._spread()
        layers = (self._local, self._sent, self._totals)
        for layer in layers:
            for bucket in [held for held in layer if (end := expiry(held)) is not None and end < now]:
                del layer[bucket]
        known: dict[str, set[Labels]] = {}
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
        self._spread()
        return sum(1 for layer in (self._local, self._sent, self._totals) for _ in _each(layer))

    def _bounded(self, labels: Labels) -> Labels:
        known = self._known.setdefault(_family(labels), set())
        if labels not in known:
            if len(known) >= self._limit:
                return (labels[0], OTHER if labels[1] else "", *(OTHER for _ in labels[2:]))
            known.add(labels)
        return labels

    def _spread(self) -> None:
        fresh, self._fresh, self._events = self._fresh, {}, 0
        boot = boot_bucket(self._boot, self._clock)
        for (minute, labels, everybody), bookings in fresh.items():
            fields, at = added_up(bookings), minute * 60.0
            if everybody or not labels[1]:
                bounded = self._bounded((labels[0], "", *labels[2:]))
                for bucket in (*[bucket_of(span, at) for span in FINE], EVER, boot):
                    _add(self._local, bucket, bounded, fields)
            if labels[1]:
                bounded = self._bounded(labels)
                for bucket in (*[bucket_of(span, at) for span in COARSE], EVER):
                    _add(self._local, bucket, bounded, fields)


def _each(layer: Layer) -> Iterator[tuple[Bucket, Labels, Fields]]:
    for bucket, groups in layer.items():
        for series in groups.values():
            for labels, fields in series.items():
                yield bucket, labels, fields


def _family(labels: Labels) -> str:
    """What shares one bound: a kind for everybody, and apart from it the same kind by key."""
    return f"{labels[0]}+" if labels[1] else labels[0]


def _add(layer: Layer, bucket: Bucket, labels: Labels, fields: Fields) -> None:
    series = layer.setdefault(bucket, {}).setdefault((labels[0], labels[1]), {})
    held = series.get(labels)
    if held is None:
        series[labels] = fields.copy()
    else:
        add_into(held, fields)


def added_up(bookings: Iterable[Booking]) -> Fields:
    """Return the sums of events of one series."""
    counts, sums = zip(*bookings, strict=True)
    fields: Fields = {}
    add_into(fields, Counter(chain.from_iterable(counts)))
    alike: dict[tuple[str, ...], list[Iterable[float]]] = {}  # most have the same fields: each is one column then
    for each in sums:
        alike.setdefault(tuple(each), []).append(each.values())
    for names, rows in alike.items():
        add_into(fields, dict(zip(names, map(sum, zip(*rows, strict=True)), strict=True)))
    return fields


def add_into(held: Fields, fields: Mapping[str, float]) -> None:
    """Add field by field, in place."""
    get = held.get
    for name, value in fields.items():
        held[name] = get(name, 0.0) + value
