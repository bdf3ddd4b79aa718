"""Who has changed in silence: the stream of rewards of each deployment and source, against what was expected of it.

Detectors stay with their worker, because the order of rewards matters to them; what follows from an alarm is shared
(``Learner.renew``). All state is bounded.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Final

from router_core.change import RECENT, Change
from router_core.outcome import Reward

_MOST: Final = 2000
_UNWATCHED: Final = "implicit"
"""Hints are only given where something is wrong: their values say nothing of a change, their number might."""


class Streams:
    """The reward streams of one worker."""

    def __init__(self) -> None:
        """Begin having heard nothing."""
        self._changes: OrderedDict[tuple[str, str], Change] = OrderedDict()
        self._last: OrderedDict[str, deque[Reward]] = OrderedDict()

    def hear(self, reward: Reward, expected: float | None) -> int:
        """Take a reward for an answer of which ``expected`` in [0, 1] was expected (None: it was not kept).

        Returns 1 when the deployment has become better, -1 when it has become worse, 0 when neither is certain. The
        stream then begins anew.
        """
        name = reward.deployment
        self._last.setdefault(name, deque(maxlen=RECENT)).append(reward)
        _bound(self._last, name)
        source = reward.source.partition(":")[0]
        if expected is None or source == _UNWATCHED:
            return 0
        key = (name, source)
        moved = self._changes.get(key, Change()).plus(reward.value, min(1.0, max(0.0, expected)))
        self._changes[key] = Change() if moved.alarm else moved
        _bound(self._changes, key)
        return moved.alarm

    def last(self, deployment: str) -> list[Reward]:
        """Return the last rewards of a deployment, oldest first: most of them came after the change."""
        return list(self._last.get(deployment, ()))


def _bound(table: OrderedDict[Any, Any], key: Any) -> None:
    """Let the one longest unused make room."""
    table.move_to_end(key)
    if len(table) > _MOST:
        table.popitem(last=False)
