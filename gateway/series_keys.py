"""Names of learned series in the store, and the two ways between them and the snapshot's parts.

``row|deployment|task`` holds calls and rewards, ``now|deployment|task|half window~expiry~`` the recent window,
``near|deployment|task|neighbourhood`` the rewards of similar prompts. A deployment that started over has its new sums
under names of a later epoch, ``judged@EPOCH|…`` or ``served@EPOCH|…`` and ``near@EPOCH|…``: sums of the time before,
late ones too, can then be told from those since, and workers agree without asking each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from router_core.policy import Policy
from router_core.quality import KEY
from router_core.series import EMPTY_RECENT, EMPTY_SERIES, Increment, Series
from router_core.snapshot import EMPTY_STATE, DeploymentState, half_window

ROW: Final = "row"
NOW: Final = "now"
NEAR: Final = KEY
JUDGED: Final = "judged"
SERVED: Final = "served"
_RECENT: Final = ("n", "ok", "s", "usd")

Epochs = Mapping[tuple[str, str], int]
"""(JUDGED or SERVED, deployment) -> wall-clock second since which its sums count; missing: always."""


class Key(NamedTuple):
    """A series key taken apart; ``rest`` is the half window or the neighbourhood, ``epoch`` 0 for the first sums."""

    kind: str
    epoch: int
    deployment: str
    task: str
    rest: str = ""


def read(key: str) -> Key | None:
    """Take a key apart; None for a series of another kind. Raises ValueError for a broken one."""
    name, _, rest = key.partition("|")
    kind, _, epoch = name.partition("@")
    if kind in (ROW, JUDGED, SERVED):
        deployment, task = rest.rsplit("|", 1)
        return Key(kind, int(epoch or 0), deployment, task)
    if kind in (NOW, NEAR):
        deployment, task, last = rest.rsplit("|", 2)
        if kind == NOW:
            _half(last)
        return Key(kind, int(epoch or 0), deployment, task, last)
    return None


def _half(rest: str) -> int:
    """Return the number of a half window."""
    return int(rest.partition("~")[0])


def family(item: Increment) -> str:
    """Return whether an increment is of a reward or of a call."""
    return JUDGED if "rw" in item.fields else SERVED


def row_key(item: Increment, epochs: Epochs) -> str:
    """Return the name of the series an increment goes to."""
    kind = family(item)
    epoch = epochs.get((kind, item.deployment), 0)
    return f"{kind}@{epoch}|{item.deployment}|{item.task}" if epoch else f"{ROW}|{item.deployment}|{item.task}"


def near_key(key: str, epochs: Epochs) -> str:
    """Return the name of a neighbourhood's series in the store for its name in ``QualityState``."""
    _, _, rest = key.partition("|")
    epoch = epochs.get((JUDGED, rest.rsplit("|", 2)[0]), 0)
    return f"{NEAR}@{epoch}|{rest}" if epoch else key


def window_key(item: Increment, policy: Policy) -> str:
    """Return the name of the half window an increment goes to; it says itself when nobody reads it any more."""
    bucket = half_window(item.at, policy)
    forgotten_at = int((bucket + 4) * policy.scoring.live_window_s / 2.0)
    return f"{NOW}|{item.deployment}|{item.task}|{bucket}~{forgotten_at}~"


def flatten(
    items: Iterable[Increment],
    sums: dict[str, dict[str, float]],
    maxima: dict[str, float],
    policy: Policy,
    epochs: Epochs,
) -> None:
    """Add increments to sums, and to the latest observation of each row. Names are made once for all of a row."""
    rows: dict[tuple[str, str, bool], list[Increment]] = {}
    for item in items:
        rows.setdefault((item.deployment, item.task, "rw" in item.fields), []).append(item)
    for found in rows.values():
        key = row_key(found[0], epochs)
        row = sums.setdefault(key, {})
        for item in found:
            _add(item, row)
        maxima[key] = max(maxima.get(key, 0.0), *(item.at for item in found))
        windows: dict[int, dict[str, float]] = {}
        for item in found:
            if item.recent is None:
                continue
            bucket = half_window(item.at, policy)
            window = windows.get(bucket)
            if window is None:
                window = windows[bucket] = sums.setdefault(window_key(item, policy), {})
            for name, value in zip(_RECENT, item.recent, strict=True):
                window[name] = window.get(name, 0.0) + value


def _add(item: Increment, row: dict[str, float]) -> None:
    weight = item.weight
    for name, value in item.fields.items():
        row[name] = row.get(name, 0.0) + weight * value
    for letter, index in (("d", item.duration_bin), ("t", item.first_bin)):
        if index is not None:
            name = f"{letter}{index}"
            row[name] = row.get(name, 0.0) + weight


def put_row(
    states: dict[str, DeploymentState], key: Key, sums: Mapping[str, float], last_at: float, epochs: Epochs
) -> None:
    """Replace the parts of a row that a total speaks of and that are of the current epoch."""
    state = states.get(key.deployment, EMPTY_STATE)
    held = state.tasks.get(key.task, EMPTY_SERIES)
    total = Series.from_fields(sums, max(last_at, held.last_at))
    served, judged = held.part(judged=False), held.part(judged=True)
    if key.kind != JUDGED and epochs.get((SERVED, key.deployment), 0) == key.epoch:
        served = total.part(judged=False)
    if key.kind != SERVED and epochs.get((JUDGED, key.deployment), 0) == key.epoch:
        judged = total.part(judged=True)
    states[key.deployment] = state.with_task(key.task, served.beside(judged))


def put_window(states: dict[str, DeploymentState], key: Key, sums: Mapping[str, float]) -> None:
    """Replace one half of a recent window."""
    state = states.get(key.deployment, EMPTY_STATE)
    window = state.recent.get(key.task, EMPTY_RECENT)
    values = (sums.get("n", 0.0), sums.get("ok", 0.0), sums.get("s", 0.0), sums.get("usd", 0.0))
    moved = window.with_half(_half(key.rest), values)
    states[key.deployment] = state.with_recent(key.task, moved)
