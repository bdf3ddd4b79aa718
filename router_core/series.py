"""What is remembered of one (deployment, task): discounted sums, two latency sketches, and a short recent window.

Everything in a ``Series`` is a forward-decayed sum (``decay.py``), so merging two workers is adding field by field
(``Series.plus``).
``Recent`` holds plain sums of the current and the previous half of a short window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Final, NamedTuple

from router_core.latency import merge, quantile, quantiles
from router_core.value import value_class

FIELDS: Final = ("n", "ok", "out", "out_n", "act", "est", "cost", "dur", "rw", "rv", "fw", "fv")
"""n requests, ok successes, out output tokens of out_n answers, act actual and est estimated input tokens, cost USD,
dur seconds of good answers, rw/rv weight and weighted value of rewards, fw/fv the same of explicit feedback."""

ALL_TASKS: Final = "*"
"""The row over all tasks of a deployment: token ratio and first-chunk limits are read from it."""


class Summary(NamedTuple):
    """What a series says of service; None where nothing was observed. Times in seconds, cost in USD."""

    success_rate: float
    latency_p50_s: float | None
    latency_p95_s: float | None
    first_p95_s: float | None
    mean_latency_s: float | None
    mean_cost_usd: float | None


WindowSums = tuple[float, float, float, float]
"""Plain sums of a recent window: requests, successes, seconds of good answers, USD."""


class Increment(NamedTuple):
    """What one observation adds to the series of some tasks: ``weight`` times each field, and to a bin of each sketch.

    A bin that is None adds nothing to its sketch; ``recent``, unweighted, is None where nothing goes to the window.
    """

    deployment: str
    tasks: tuple[str, ...]
    at: float
    weight: float
    fields: Mapping[str, float]
    duration_bin: int | None = None
    first_bin: int | None = None
    recent: WindowSums | None = None


class Series:
    """Sums of one (deployment, task). Never changed after construction; ``plus`` returns a new one."""

    __slots__ = ("_summary", "durations", "fields", "firsts", "last_at")

    def __init__(
        self,
        fields: Mapping[str, float] | None = None,
        durations: Mapping[int, float] | None = None,
        firsts: Mapping[int, float] | None = None,
        last_at: float = 0.0,
    ) -> None:
        """Hold the given sums; the caller gives them up."""
        self.fields: Mapping[str, float] = fields if fields is not None else {}
        self.durations: Mapping[int, float] = durations if durations is not None else {}
        self.firsts: Mapping[int, float] = firsts if firsts is not None else {}
        self.last_at = last_at
        self._summary: Summary | None = None

    @classmethod
    def of(cls, increments: Sequence[Increment]) -> Series:
        """Add up observations; whose and of which tasks they are is the caller's business."""
        fields: dict[str, float] = {}
        durations: dict[int, float] = {}
        firsts: dict[int, float] = {}
        for _, _, _, weight, values, duration, first, _ in increments:
            for name, value in values.items():
                fields[name] = fields.get(name, 0.0) + weight * value
            if duration is not None:
                durations[duration] = durations.get(duration, 0.0) + weight
            if first is not None:
                firsts[first] = firsts.get(first, 0.0) + weight
        return cls(fields, durations, firsts, max([item.at for item in increments], default=0.0))

    def plus(self, other: Series) -> Series:
        """Return the sums of both."""
        fields = dict(self.fields)
        for name, value in other.fields.items():
            fields[name] = fields.get(name, 0.0) + value
        durations = merge(self.durations, other.durations) if other.durations else self.durations
        firsts = merge(self.firsts, other.firsts) if other.firsts else self.firsts
        return Series(fields, durations, firsts, max(self.last_at, other.last_at))

    @property
    def summary(self) -> Summary:
        """What this series says of service, computed once."""
        if self._summary is None:
            self._summary = self._summarise()
        return self._summary

    @property
    def mean_output(self) -> float | None:
        """The tokens an answer has."""
        answers = self.fields.get("out_n", 0.0)
        return self.fields.get("out", 0.0) / answers if answers > 0.0 else None

    @property
    def input_ratio(self) -> float:
        """The tokens providers counted per token we had estimated, within [0.25, 4]; 1 where nothing was counted."""
        estimated = self.fields.get("est", 0.0)
        return min(4.0, max(0.25, self.fields.get("act", 0.0) / estimated)) if estimated > 0.0 else 1.0

    def _summarise(self) -> Summary:
        get = self.fields.get
        n, ok = get("n", 0.0), get("ok", 0.0)
        median, slow = quantiles(self.durations, (0.5, 0.95))
        return Summary(
            success_rate=ok / n if n > 0.0 else 1.0,
            latency_p50_s=median,
            latency_p95_s=slow,
            first_p95_s=quantile(self.firsts, 0.95),
            mean_latency_s=get("dur", 0.0) / ok if ok > 0.0 else None,
            mean_cost_usd=get("cost", 0.0) / ok if ok > 0.0 else None,
        )

    def part(self, *, judged: bool) -> Series:
        """Return the sums of rewards alone, or those of service (calls, times, tokens, cost) alone."""
        fields = {name: value for name, value in self.fields.items() if (name in JUDGED) is judged}
        return (
            Series(fields, None, None, self.last_at)
            if judged
            else Series(fields, self.durations, self.firsts, self.last_at)
        )

    def beside(self, judged: Series) -> Series:
        """Return these sums of service with those of rewards from another series."""
        return Series({**self.fields, **judged.fields}, self.durations, self.firsts, max(self.last_at, judged.last_at))

    def to_fields(self) -> dict[str, float]:
        """Return all sums as one flat mapping, sketches as ``d<bin>`` and ``t<bin>``, for stores."""
        flat = dict(self.fields)
        flat.update({f"d{index}": value for index, value in self.durations.items()})
        flat.update({f"t{index}": value for index, value in self.firsts.items()})
        return flat

    @classmethod
    def from_fields(cls, flat: Mapping[str, float], last_at: float) -> Series:
        """Rebuild a series from ``to_fields``; unknown fields of a newer version are kept out."""
        fields: dict[str, float] = {}
        durations: dict[int, float] = {}
        firsts: dict[int, float] = {}
        for name, value in flat.items():
            if name in _KNOWN:
                fields[name] = value
            elif name[:1] == "d" and name[1:].isdecimal():
                durations[int(name[1:])] = value
            elif name[:1] == "t" and name[1:].isdecimal():
                firsts[int(name[1:])] = value
        return cls(fields, durations, firsts, last_at)


JUDGED: Final = frozenset({"rw", "rv", "fw", "fv"})
"""The fields of rewards; all others, and the sketches, are of service."""
_KNOWN: Final = frozenset(FIELDS)
EMPTY_SERIES: Final = Series()
_ZERO: Final[WindowSums] = (0.0, 0.0, 0.0, 0.0)


@value_class()
class Recent:
    """Plain sums (requests, successes, seconds, USD) of the current half window and of the one before."""

    bucket: int = 0
    current: WindowSums = field(default=_ZERO)
    previous: WindowSums = field(default=_ZERO)

    def plus(self, bucket: int, sums: WindowSums) -> Recent:
        """Add sums to a half window; older halves are forgotten, and what belongs to one long past is dropped."""
        if bucket < self.bucket - 1:
            return self
        if bucket == self.bucket - 1:
            return Recent(self.bucket, self.current, added(self.previous, sums))
        rolled = self.at(bucket)
        return Recent(bucket, added(rolled.current, sums), rolled.previous)

    def with_half(self, bucket: int, sums: WindowSums) -> Recent:
        """Return the window with one half replaced by totals; a half that is too old changes nothing."""
        if bucket < self.bucket - 1:
            return self
        if bucket == self.bucket - 1:
            return Recent(self.bucket, self.current, sums)
        return Recent(bucket, sums, self.at(bucket).previous)

    def at(self, bucket: int) -> Recent:
        """Return the window as seen from a later half: what is too old is gone."""
        if bucket <= self.bucket:
            return self
        return Recent(bucket, _ZERO, self.current if bucket == self.bucket + 1 else _ZERO)

    def total(self, bucket: int) -> WindowSums:
        """Return the sums over both halves as seen at ``bucket``."""
        seen = self.at(bucket)
        return added(seen.current, seen.previous)


def added(left: WindowSums, right: WindowSums) -> WindowSums:
    """Return both sums together."""
    return (left[0] + right[0], left[1] + right[1], left[2] + right[2], left[3] + right[3])


EMPTY_RECENT: Final = Recent()
