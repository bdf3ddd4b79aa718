"""The worker's memory: holds the snapshot every decision reads, folds what happened, exchanges it with other workers.

Folding is synchronous and takes microseconds; the request path never waits for anybody. Circuits move at once; sums are
added up many at a time and then folded, so that what decisions read (``view``) is at most ``FOLD_EVERY_S`` behind.
``collect`` and ``apply`` are called by the exchange task: what this worker added since the last collect stays on top of
the totals that come in.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from gateway import series_keys
from gateway.renewal import Streams
from gateway.series_keys import JUDGED, Key
from router_core import breaker, decay
from router_core.breaker import Circuit
from router_core.deployment import Deployment
from router_core.gain import NO_GAIN, gain
from router_core.outcome import AttemptOutcome, Reward
from router_core.policy import Policy
from router_core.quality import QualityState
from router_core.registry import Registry
from router_core.snapshot import EMPTY_STATE, Snapshot, fold_circuit, increment

FOLD_EVERY_S: Final = 0.02
"""Under load an outcome shares its fold, and all that is computed anew after one, with those of so many seconds."""


class Learner:
    """Owns the snapshot of one worker. ``steady`` is the clock of circuits: wall-clock seconds that never jump."""

    def __init__(self, steady: Callable[[], float], rng: random.Random | None = None) -> None:
        """Begin knowing nothing."""
        self.steady = steady
        self.on_circuit: Callable[[str, Circuit], None] = _ignore
        self.on_renewed: Callable[[str, str, str], None] = _ignore_too
        self.epochs: dict[tuple[str, str], int] = {}
        self._streams = Streams()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrets
        self._held = Snapshot.empty()
        self._policy: Policy | None = None
        self._folded_at = 0.0
        self._unfolded: list[tuple[AttemptOutcome | Reward, Policy]] = []
        self._unfolded_quality: dict[str, dict[str, float]] = {}
        self._unit = 1.0
        self._pending = NO_GAIN
        self._pending_quality: dict[str, dict[str, float]] = {}
        self._near: dict[str, Mapping[str, float]] = {}

    @property
    def snapshot(self) -> Snapshot:
        """Everything this worker knows, with what has just happened."""
        self.settle()
        return self._held

    @snapshot.setter
    def snapshot(self, moved: Snapshot) -> None:
        self._held = moved

    @property
    def view(self) -> Snapshot:
        """What decisions read: circuits as they are now, sums as they were at most ``FOLD_EVERY_S`` ago."""
        if self._unfolded and not 0.0 <= self.steady() - self._folded_at < FOLD_EVERY_S:
            self.settle()
        return self._held

    def attempt(self, outcome: AttemptOutcome, registry: Registry, policy: Policy) -> None:
        """Take one finished call: its circuit moves now, series and recent window with the next fold."""
        self._add(outcome, policy)
        before = self._held
        if outcome.failure is None:
            self._held = fold_circuit(before, outcome, policy, now=self.steady(), jitter=self._rng.random())
            self._announce(before, (outcome.deployment,))
            return
        peers = [each.id for each in registry.of_provider(outcome.provider)]
        now, jitter = self.steady(), self._rng.random()
        self._held = fold_circuit(before, outcome, policy, now=now, jitter=jitter, peers=peers)
        self._announce(before, {outcome.deployment, *peers})

    def reward(self, reward: Reward, policy: Policy, expected: float | None = None) -> None:
        """Take one judged answer: quality, learned weight. ``expected`` is the quality its decision had expected.

        A deployment whose rewards have left what was expected of them starts over.
        """
        self._book(reward, policy)
        turned = self._streams.hear(reward, expected)
        if turned:
            self.renew(reward.deployment, JUDGED, policy, "better" if turned > 0 else "worse")

    def renew(self, deployment: str, family: str, policy: Policy, why: str) -> None:
        """Let a deployment start over: JUDGED, what rewards said of it; SERVED, its times, failures and tokens.

        Its last rewards stay, and its prior as ten observations. Other workers follow when they see its new series.
        """
        epoch = max(int(self.steady()), self.epochs.get((family, deployment), 0) + 1)
        self._start_over(deployment, family, epoch)
        if family == JUDGED:
            for reward in self._streams.last(deployment):
                self._book(reward, policy)
        self.on_renewed(deployment, family, why)

    def _start_over(self, deployment: str, family: str, epoch: int) -> None:
        """Forget what was learned under an earlier epoch."""
        self.settle()
        self.epochs[family, deployment] = epoch
        judged = family == JUDGED
        self._pending = self._pending.without(deployment, judged=judged)
        state = self._held.states.get(deployment, EMPTY_STATE).without(judged=judged)
        quality = self._held.quality
        if judged:
            quality = quality.without(deployment)
            for held in (self._pending_quality, self._near):
                for key in [key for key in held if key.partition("|")[2].rsplit("|", 2)[0] == deployment]:
                    del held[key]
        states = {**self._held.states, deployment: state}
        self._held = replace(self._held, states=states, quality=quality, version=self._held.version + 1)

    def _book(self, reward: Reward, policy: Policy) -> None:
        self._add(reward, policy)
        self._unit = decay.weight(reward.at, policy.learning.half_life_h * 3600.0)
        for key, added in self._held.quality.increments(reward, self._unit).items():
            series_keys.add(self._unfolded_quality, key, added)

    def _add(self, outcome: AttemptOutcome | Reward, policy: Policy) -> None:
        if self._policy is None:
            self._policy = policy
        self._unfolded.append((outcome, policy))

    def _settle_under(self, policy: Policy) -> None:
        """Settle, and cut recent windows by the policy in force: halves of another length have other numbers.

        What was cut otherwise is forgotten. Requests begun under an earlier policy do not ask for that: the two would
        take turns.
        """
        self.settle()
        before = self._policy
        if before is not None and before.scoring.live_window_s != policy.scoring.live_window_s:
            self._pending = self._pending._replace(halves={})
            states = {name: state.without_recent() for name, state in self._held.states.items()}
            self._held = replace(self._held, states=states, version=self._held.version + 1)
        self._policy = policy

    def settle(self) -> None:
        """Fold what waits. For votes, and for who asks what would be decided: the very next decision must see it."""
        unfolded, self._unfolded = self._unfolded, []
        if unfolded and self._policy is not None:
            self._folded_at = self.steady()
            found = [increment(outcome, policy) for outcome, policy in unfolded]
            gained = gain([item for item in found if item is not None], self._policy)
            self._held = self._held.gained(gained)
            self._pending = self._pending.plus(gained)
        if self._unfolded_quality:
            sums, self._unfolded_quality = self._unfolded_quality, {}
            self._held = replace(self._held, quality=self._held.quality.absorb(sums, self._unit))
            for key, added in sums.items():
                series_keys.add(self._pending_quality, key, added)

    def resorts(self, deployment: str, policy: Policy) -> bool:
        """Say whether a deployment may be asked because nobody else is left, even before its circuit's time."""
        return breaker.resorts(self._held.circuit(deployment), self.steady(), policy.breaker)

    def grant(self, deployment: Deployment, policy: Policy, *, force: bool = False) -> tuple[bool, int | None]:
        """Take the permit for a call: (allowed, lease). A half-open circuit gives leases, a closed one needs none."""
        state = self._held.states.get(deployment.id, EMPTY_STATE)
        if state.calm:
            return True, None
        circuit, now = state.circuit, self.steady()
        if not force and not breaker.admits(circuit, now, policy.breaker).admitted:
            return False, None
        moved, lease = breaker.grant(circuit, now, policy.breaker, force=force)
        self._set(deployment.id, moved)
        return True, lease

    def release(self, deployment: str, lease: int | None) -> None:
        """Give a permit back without a verdict."""
        if lease is not None:
            self._set(deployment, breaker.release(self._held.circuit(deployment), lease))

    def reset(self, deployment: str) -> Circuit:
        """Close a circuit by hand."""
        self._set(deployment, breaker.reset(self._held.circuit(deployment), self.steady()))
        return self._held.circuit(deployment)

    def join(self, deployment: str, theirs: Circuit) -> None:
        """Take over another worker's circuit when it is newer; nothing is announced again."""
        mine = self._held.circuit(deployment)
        self._held = self._held.with_circuit(deployment, breaker.join(mine, theirs))

    def calibrate(self, quality: QualityState) -> None:
        """Put a calibrated quality state underneath; what was learned online stays on top."""
        learned = self.snapshot.quality
        for family, deployment in self.epochs:
            if family == JUDGED:
                quality = quality.without(deployment)
        self.snapshot = replace(self.snapshot, quality=quality.absorb(learned.sums(), max(quality.unit, learned.unit)))

    def collect(self, policy: Policy) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
        """Return what was added since the last call, ready for a store: (sums, latest observation per row)."""
        self._settle_under(policy)
        pending, self._pending = self._pending, NO_GAIN
        near, self._pending_quality = self._pending_quality, {}
        sums = {series_keys.near_key(key, self.epochs): added for key, added in near.items()}
        maxima: dict[str, float] = {}
        series_keys.flatten(pending, sums, maxima, policy, self.epochs)
        return sums, maxima

    def apply(self, totals: Mapping[str, Mapping[str, float]], maxima: Mapping[str, float], policy: Policy) -> None:
        """Take whole totals of changed series; what is still pending here is added on top."""
        self._settle_under(policy)
        keys = self._read(totals)
        states = dict(self._held.states)
        near: dict[str, Mapping[str, float]] = {}
        for name, key in keys.items():
            if key.kind == series_keys.NOW:
                if series_keys.is_cut_by(key, policy):
                    series_keys.put_window(states, key, totals[name])
            elif key.kind != series_keys.NEAR:
                series_keys.put_row(states, key, totals[name], maxima.get(name, 0.0), self.epochs)
            elif key.epoch == self.epochs.get((JUDGED, key.deployment), 0):
                near[f"{series_keys.NEAR}|{key.deployment}|{key.task}|{key.rest}"] = totals[name]
        quality = self._held.quality
        if near:
            self._near.update(near)
            # Sums of others were weighted by their time; without a reward of its own this worker has no unit for them.
            unit = max(quality.unit, decay.weight(self.steady(), policy.learning.half_life_h * 3600.0))
            quality = replace(quality, cells={}).absorb(self._near, unit).absorb(self._pending_quality)
        self._held = replace(self._held, states=states, quality=quality, version=self._held.version + 1)
        self._put_back(totals, policy)

    def _read(self, totals: Mapping[str, Mapping[str, float]]) -> dict[str, Key]:
        """Take keys apart; whoever has started over elsewhere starts over here. Other versions' keys are left alone."""
        found: dict[str, Key] = {}
        for name in totals:
            try:
                key = series_keys.read(name)
            except ValueError:
                continue
            if key is None:
                continue
            found[name] = key
            family = JUDGED if key.kind == series_keys.NEAR else key.kind
            if key.epoch > self.epochs.get((family, key.deployment), 0):
                self._start_over(key.deployment, family, key.epoch)
        return found

    def _put_back(self, totals: Mapping[str, Mapping[str, float]], policy: Policy) -> None:
        """Add what is pending to the rows and windows that totals have just replaced."""
        again = series_keys.part_in(totals, self._pending, policy, self.epochs)
        if again.rows or again.halves:
            self._held = self._held.gained(again)

    def _set(self, deployment: str, circuit: Circuit) -> None:
        before = self._held
        self._held = before.with_circuit(deployment, circuit)
        self._announce(before, [deployment])

    def _announce(self, before: Snapshot, deployments: Iterable[str]) -> None:
        for deployment in deployments:
            circuit = self._held.circuit(deployment)
            if circuit.epoch != before.circuit(deployment).epoch:
                self.on_circuit(deployment, circuit)


def _ignore_too(deployment: str, family: str, why: str) -> None:
    """Nobody listens yet."""
    del deployment, family, why


def _ignore(deployment: str, circuit: Circuit) -> None:
    """Nobody listens yet."""
    del deployment, circuit
