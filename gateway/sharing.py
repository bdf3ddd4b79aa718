"""What workers tell each other: sums and documents through the exchange, circuits and ejections at once.

The worker's memory stays the truth for its own decisions; the store only brings the others' news.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from gateway.experiments import TOPIC as EXPERIMENTS
from gateway.services import Services
from gateway.store_errors import StoreError
from router_core.breaker import Circuit, State
from router_core.ports import Batch, Pull

_log = logging.getLogger("gateway.sharing")
OBSERVED: Final = "seen|"
COMPARED: Final = "exp|"
SHADOWED: Final = "shd|"
_OTHERS: Final = (OBSERVED, COMPARED, SHADOWED)
CIRCUIT: Final = "circuit"
_SETTING: Final = "setting"
_SIGNING: Final = "decision-key"
_SIGN_EVERY_S: Final = 5.0
_PAUSE: Final = Batch("")


class Sharing:
    """Collects for the exchange, applies what comes back, publishes circuits and hears of the others'."""

    def __init__(self, services: Services) -> None:
        """Listen to this worker's circuits from now on."""
        self._services = services
        self._outgoing: asyncio.Queue[tuple[str, Circuit]] = asyncio.Queue(maxsize=1000)
        self._tasks: list[asyncio.Task[None]] = []

    def collect(self) -> Iterator[Batch]:
        """Yield what this worker learned since the last call, each kind for itself."""
        services = self._services
        for _ in services.recorder.pieces():  # first: it tells the others of what is still queued
            yield _PAUSE
        documents, rows = services.recorder.collect()
        if documents or rows:
            yield Batch("", documents=documents, ledger=rows)
        sums, maxima = services.learner.collect(services.config.current.policy)
        if services.pacing is not None:
            spent, levels = services.pacing.collect()
            sums |= spent
            maxima |= levels
        if sums or maxima:
            yield Batch("", sums, maxima)
        for prefix, teller in (
            (OBSERVED, services.observer),
            (COMPARED, services.experiments),
            (SHADOWED, services.shadow),
        ):
            told = {} if teller is None else teller.collect()
            if told:
                yield Batch("", {prefix + name: fields for name, fields in told.items()})

    def apply(self, pull: Pull) -> None:
        """Take over totals that changed: what was learned, spent and compared."""
        services = self._services
        if services.pacing is not None:
            services.pacing.apply(pull.sums, pull.maxima)
        learned = {name: fields for name, fields in pull.sums.items() if not name.startswith(_OTHERS)}
        if learned:
            services.learner.apply(learned, pull.maxima, services.config.current.policy)
        for prefix, taker in ((COMPARED, services.experiments), (SHADOWED, services.shadow)):
            told = _named(pull, prefix)
            if told and taker is not None:
                taker.apply(told)

    def observe(self, pull: Pull) -> None:
        """Take over totals that changed: what was counted."""
        observed = _named(pull, OBSERVED)
        if observed:
            self._services.observer.apply(observed)

    def start(self) -> None:
        """Begin to publish and to listen; needs the running loop and an open store."""
        self._services.learner.on_circuit = self._changed
        if self._services.store.shared:
            work = (self._publish(), self._listen(), self._sign())
            self._tasks = [asyncio.create_task(each) for each in work]

    async def stop(self) -> None:
        """End all tasks."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    def _changed(self, deployment: str, circuit: Circuit) -> None:
        if circuit.state is State.OPEN:
            told = {"deployment": deployment, "state": str(circuit.state), "reason": circuit.reason}
            self._services.watching.tell("circuit", told)
        with contextlib.suppress(asyncio.QueueFull):
            self._outgoing.put_nowait((deployment, circuit))

    async def _publish(self) -> None:
        while True:
            deployment, circuit = await self._outgoing.get()
            with contextlib.suppress(StoreError):
                await self._services.store.publish(CIRCUIT, encode(deployment, circuit, self._services.steady()))

    async def _sign(self) -> None:
        """Sign as all others do: a store that was away at the start is asked again, one that forgot is told again."""
        ids = self._services.ids
        while True:
            key = await shared_signing_key(self._services.store, ids.key)
            if key is not None:
                ids.rekey(key)
            await asyncio.sleep(_SIGN_EVERY_S)

    async def _listen(self) -> None:
        async for topic, payload in self._services.store.subscribe():
            if topic == CIRCUIT:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    deployment, circuit = decode(payload, self._services.steady())
                    self._services.learner.join(deployment, circuit)
            elif topic.startswith("key"):
                self._services.keys.poke()
            elif topic == EXPERIMENTS and self._services.experiments is not None:
                self._services.experiments.poke()


def _named(pull: Pull, prefix: str) -> dict[str, Mapping[str, float]]:
    """Return the series of one kind by their names without its prefix."""
    return {name[len(prefix) :]: fields for name, fields in pull.sums.items() if name.startswith(prefix)}


def encode(deployment: str, circuit: Circuit, now: float) -> bytes:
    """Return a circuit for other workers: times as seconds from now, because their clocks differ."""
    return orjson.dumps(
        {
            "deployment": deployment,
            "state": circuit.state,
            "open_s": circuit.open_until - now,
            "opens": circuit.opens,
            "changed_s": circuit.changed_at - now,
            "reason": circuit.reason,
            "ejected_s": circuit.ejected_until - now,
            "asked_s": circuit.not_before - now,
            "epoch": circuit.epoch,
        }
    )


def decode(payload: bytes, now: float) -> tuple[str, Circuit]:
    """Return another worker's circuit on this worker's clock; raises ValueError, KeyError or TypeError for garbage."""
    told: dict[str, Any] = orjson.loads(payload)
    circuit = Circuit(
        state=State(told["state"]),
        open_until=now + float(told["open_s"]),
        opens=int(told["opens"]),
        changed_at=now + float(told["changed_s"]),
        reason=str(told["reason"]),
        ejected_until=now + float(told["ejected_s"]),
        not_before=now + float(told.get("asked_s", -now)),
        epoch=int(told["epoch"]),
    )
    return str(told["deployment"]), circuit


async def shared_signing_key(store: Any, mine: bytes | None = None) -> bytes | None:
    """Return the key that signs decision ids, the same for all workers of a store; None when the store is away.

    A store that has none is given ``mine``, or a fresh one.
    """
    try:
        found = await store.get(_SETTING, _SIGNING)
        if found is None:
            fresh = orjson.dumps({"key": (mine or secrets.token_bytes(32)).hex()})
            await store.swap(_SETTING, _SIGNING, fresh, None)  # workers that start together must end with one key
            found = await store.get(_SETTING, _SIGNING) or fresh
        return bytes.fromhex(orjson.loads(found)["key"])
    except (StoreError, ValueError, KeyError, TypeError):
        return None
