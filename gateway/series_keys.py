"""Names of learned series in the store, and the two ways between them and the snapshot's parts.

``row|deployment|task`` holds calls and rewards, ``now|deployment|task|half window~expiry~`` the recent window,
``near|deployment|task|neighbourhood`` the rewards of similar prompts. A deployment that started over has its new sums
under names of a later epoch, ``judged@EPOCH|…`` or ``served@EPOCH|…`` and ``near@EPOCH|…``: sums of the time before,
late ones too, can then be told from those since, and workers agree without asking each other.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final, NamedTuple

from router_core.gain import Gain, add_halves, add_rows, half_window
from router_core.policy import Policy
from router_core.quality import KEY
from router_core.series import EMPTY_RECENT, EMPTY_SERIES, Series
from router_core.snapshot import EMPTY_STATE, DeploymentState

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


def row_key(deployment: str, task: str, *, judged: bool, epochs: Epochs) -> str:
    """Return the name of the series that rewards, or calls, of a deployment and task go to."""
    kind = JUDGED if judged else SERVED
    epoch = epochs.get((kind, deployment), 0)
    return f"{kind}@{epoch}|{deployment}|{task}" if epoch else f"{ROW}|{deployment}|{task}"


def near_key(key: str, epochs: Epochs) -> str:
    """Return the name of a neighbourhood's series in the store for its name in ``QualityState``."""
    _, _, rest = key.partition("|")
    epoch = epochs.get((JUDGED, rest.rsplit("|", 2)[0]), 0)
    return f"{NEAR}@{epoch}|{rest}" if epoch else key


def window_key(deployment: str, task: str, at: float, policy: Policy) -> str:
    """Return the name of the half window of a wall-clock second; it says itself when nobody reads it any more."""
    return f"{NOW}|{deployment}|{task}|{_half_name(half_window(at, policy), policy)}"


def is_cut_by(window: Key, policy: Policy) -> bool:
    """Whether a half window was cut as a policy cuts them: one of another length has a number of another meaning."""
    return window.rest == _half_name(_half(window.rest), policy)


def _half_name(half: int, policy: Policy) -> str:
    return f"{half}~{int((half + 4) * policy.scoring.live_window_s / 2.0)}~"


def flatten(
    gained: Gain, sums: dict[str, dict[str, float]], maxima: dict[str, float], policy: Policy, epochs: Epochs
) -> None:
    """Add what was observed to sums by name, and to the latest observation of each row."""
    for (deployment, tasks, judged), series in gained.rows.items():
        fields = series.to_fields()
        for task in tasks:
            key = row_key(deployment, task, judged=judged, epochs=epochs)
            add(sums, key, fields)
            maxima[key] = max(maxima.get(key, 0.0), series.last_at)
    for (deployment, tasks, _), (at, recent) in gained.halves.items():
        for task in tasks:
            add(sums, window_key(deployment, task, at, policy), dict(zip(_RECENT, recent, strict=True)))


def add(sums: dict[str, dict[str, float]], key: str, fields: Mapping[str, float]) -> None:
    """Add to the sums of one name."""
    held = sums.get(key)
    if held is None:
        sums[key] = dict(fields)
        return
    for name, value in fields.items():
        held[name] = held.get(name, 0.0) + value


def part_in(names: Container[str], gained: Gain, policy: Policy, epochs: Epochs) -> Gain:
    """Return what was observed of the rows and windows whose names are among some."""
    rows = (
        ((deployment, (task,), judged), series)
        for (deployment, tasks, judged), series in gained.rows.items()
        for task in tasks
        if row_key(deployment, task, judged=judged, epochs=epochs) in names
    )
    halves = (
        ((deployment, (task,), half_window(at, policy)), (at, recent))
        for (deployment, tasks, _), (at, recent) in gained.halves.items()
        for task in tasks
        if window_key(deployment, task, at, policy) in names
    )
    return Gain(add_rows({}, rows), add_halves({}, halves))


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
