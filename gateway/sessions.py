"""What a session or key did lately: its last providers, and the deployment whose prompt cache is warm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_SESSIONS = 10_000
KEEP_S = 3600.0
WARM_S = 300.0


@dataclass(slots=True)
class Session:
    """``providers`` newest last; ``warm`` tokens cached per deployment, good until ``warm_until``."""

    providers: tuple[str, ...] = ()
    warm: dict[str, int] = field(default_factory=dict)
    warm_until: float = 0.0
    seen_at: float = 0.0


_NEW = Session()


class Sessions:
    """A bounded memory of sessions, scoped by key. It stays with its worker: order matters in it."""

    def __init__(self, most: int = MAX_SESSIONS) -> None:
        """Begin empty."""
        self._most = most
        self._held: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def get(self, key_id: str, session: str | None, now: float) -> Session:
        """Return a session (a key's own when none is named); an empty one when it is unknown or too old."""
        held = self._held.get((key_id, session or ""))
        if held is None or now - held.seen_at > KEEP_S:
            return _NEW
        return held

    def warm(self, held: Session, now: float) -> Mapping[str, int]:
        """Return the tokens a session has cached per deployment, as long as providers keep them."""
        return held.warm if held.warm and now < held.warm_until else {}

    def used(
        self, key_id: str, session: str | None, provider: str, deployment: str, cached: int, now: float, keep: int
    ) -> None:
        """Note who served a request and how many prompt tokens its cache holds for this session."""
        name = (key_id, session or "")
        held = self._held.pop(name, None)
        if held is None or now - held.seen_at > KEEP_S:
            held = Session()
        if not held.providers or held.providers[-1] != provider or len(held.providers) < keep:
            held.providers = (*held.providers, provider)[-keep:]
        if session is not None and cached > 0:
            held.warm = {deployment: cached}
            held.warm_until = now + WARM_S
        held.seen_at = now
        self._held[name] = held
        while len(self._held) > self._most:
            self._held.popitem(last=False)
