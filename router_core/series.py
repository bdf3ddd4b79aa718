"""What is remembered of one (deployment, task): discounted sums, two latency sketches, and a short recent window.

Everything in a ``Series`` is a forward-decayed sum (``decay.py``), so merging two workers is adding field by field.
``Recent`` holds plain sums of the current and the previous half of a short window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from router_core.latency import quantile, quantiles

FIELDS: Final = ("n", "ok", "out", "out_n", "act", "est", "cost", "dur", "rw", "rv", "fw", "fv")
"""n requests, ok successes, out output tokens of out_n answers, act actual and est estimated input tokens, cost USD,
dur seconds of good answers, rw/rv weight and weighted value of rewards, fw/fv the same of explicit feedback."""

ALL_TASKS: Final = "*"
"""The row over all tasks of a deployment: token ratio and first-chunk limits are read from it."""


class Summary(NamedTuple):
    """Ratios read from a series; None where nothing was observed. Times in seconds, cost in USD."""

    success_rate: float
    latency_p50_s: float | None
    latency_p95_s: float | None
    first_p95_s: float | None
    mean_latency_s: float | None
    mean_output: float | None
    input_ratio: float
    mean_cost_usd: float | None


class Increment(NamedTuple):
    """What one observation adds to one series: ``weight`` times each field, and to at most one bin of each sketch.

    ``recent`` are (requests, successes, seconds of good answers, USD), unweighted; None adds nothing to the window.
    """

    deployment: str
    task: str
    at: float
    weight: float
    fields: Mapping[str, float]
    duration_bin: int | None = None
    first_bin: int | None = None
    recent: tuple[float, float, float, float] | None = None


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

    def plus(self, *increments: Increment) -> Series:
        """Return this series with observations added."""
        fields, durations, firsts, last_at = dict(self.fields), self.durations, self.firsts, self.last_at
        for item in increments:
            weight = item.weight
            for name, value in item.fields.items():
                fields[name] = fields.get(name, 0.0) + weight * value
            if item.duration_bin is not None:
                durations = _counted(durations, self.durations, item.duration_bin, weight)
            if item.first_bin is not None:
                firsts = _counted(firsts, self.firsts, item.first_bin, weight)
            last_at = max(last_at, item.at)
        return Series(fields, durations, firsts, last_at)

    @property
    def summary(self) -> Summary:
        """The ratios of this series, computed once."""
        if self._summary is None:
            self._summary = self._summarise()
        return self._summary

    def _summarise(self) -> Summary:
        get = self.fields.get
        n, ok, out_n = get("n", 0.0), get("ok", 0.0), get("out_n", 0.0)
        estimated = get("est", 0.0)
        median, slow = quantiles(self.durations, (0.5, 0.95))
        return Summary(
            success_rate=ok / n if n > 0.0 else 1.0,
            latency_p50_s=median,
            latency_p95_s=slow,
            first_p95_s=quantile(self.firsts, 0.95),
            mean_latency_s=get("dur", 0.0) / ok if ok > 0.0 else None,
            mean_output=get("out", 0.0) / out_n if out_n > 0.0 else None,
            input_ratio=min(4.0, max(0.25, get("act", 0.0) / estimated)) if estimated > 0.0 else 1.0,
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


def _counted(bins: Mapping[int, float], held: Mapping[int, float], index: int, weight: float) -> dict[int, float]:
    """Add a weight to a bin: in a copy of what is held by somebody, in place where the copy was made before."""
    counted = bins if bins is not held and isinstance(bins, dict) else dict(bins)
    counted[index] = counted.get(index, 0.0) + weight
    return counted


JUDGED: Final = frozenset({"rw", "rv", "fw", "fv"})
"""The fields of rewards; all others, and the sketches, are of service."""
_KNOWN: Final = frozenset(FIELDS)
EMPTY_SERIES: Final = Series()
_ZERO: Final = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Recent:
    """Plain sums (requests, successes, seconds, USD) of the current half window and of the one before."""

    bucket: int = 0
    current: tuple[float, float, float, float] = field(default=_ZERO)
    previous: tuple[float, float, float, float] = field(default=_ZERO)

    def plus(self, bucket: int, sums: tuple[float, float, float, float]) -> Recent:
        """Add sums to a half window; older halves are forgotten, and what belongs to one long past is dropped."""
        if bucket < self.bucket - 1:
            return self
        if bucket == self.bucket - 1:
            return Recent(self.bucket, self.current, _add(self.previous, sums))
        rolled = self.at(bucket)
        return Recent(bucket, _add(rolled.current, sums), rolled.previous)

    def with_half(self, bucket: int, sums: tuple[float, float, float, float]) -> Recent:
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

    def total(self, bucket: int) -> tuple[float, float, float, float]:
        """Return the sums over both halves as seen at ``bucket``."""
        seen = self.at(bucket)
        return _add(seen.current, seen.previous)


def _add(
    left: tuple[float, float, float, float], right: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    return (left[0] + right[0], left[1] + right[1], left[2] + right[2], left[3] + right[3])


EMPTY_RECENT: Final = Recent()
