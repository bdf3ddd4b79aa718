"""The circuit breaker of one deployment: a transition table, and a pure machine around it.

Rules this module obeys:
- Only failures that are the provider's count; cancellations give their permit back without a verdict.
- A half-open circuit admits a bounded number of probes; a permit is a lease that expires, so that a hanging probe
  cannot keep it for ever. Any success closes, any failure opens again, for twice as long up to a cap.
- A permit given before its time (the last resort) opens no circuit for longer: its failure leaves the time as it was.
- An ejection (429) keeps traffic away until a moment and never trips.
- ``now`` is the gateway's own steady clock in seconds; ``jitter`` is a random number in [0, 1).

Thresholds follow Envoy's outlier detection and Resilience4j; see ``BreakerPolicy``.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Final

from router_core.policy import BreakerPolicy
from router_core.value import value_class


class State(StrEnum):
    """Closed lets calls through, open refuses them, half-open lets probes through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Signal(StrEnum):
    """What can happen to a circuit."""

    SUCCESS = "success"
    FAILURE = "failure"
    TRIP = "trip"
    ELAPSED = "elapsed"
    RESET = "reset"


TRANSITIONS: Final = {
    (State.CLOSED, Signal.SUCCESS): State.CLOSED,
    (State.CLOSED, Signal.FAILURE): State.CLOSED,
    (State.CLOSED, Signal.TRIP): State.OPEN,
    (State.CLOSED, Signal.ELAPSED): State.CLOSED,
    (State.CLOSED, Signal.RESET): State.CLOSED,
    (State.OPEN, Signal.SUCCESS): State.OPEN,
    (State.OPEN, Signal.FAILURE): State.OPEN,
    (State.OPEN, Signal.TRIP): State.OPEN,
    (State.OPEN, Signal.ELAPSED): State.HALF_OPEN,
    (State.OPEN, Signal.RESET): State.CLOSED,
    (State.HALF_OPEN, Signal.SUCCESS): State.CLOSED,
    (State.HALF_OPEN, Signal.FAILURE): State.OPEN,
    (State.HALF_OPEN, Signal.TRIP): State.OPEN,
    (State.HALF_OPEN, Signal.ELAPSED): State.HALF_OPEN,
    (State.HALF_OPEN, Signal.RESET): State.CLOSED,
}
"""Every state and signal; ``docs/failures.md`` prints this table. A late success does not close an open circuit:
it belongs to a call from before the fault; a probe's success does, because its lease made the circuit half-open."""

LASTING: Final = frozenset({"credentials", "not_found"})
"""Reasons of an open circuit that waiting does not mend: somebody has to do something."""

WINDOW_BUCKETS: Final = 10
Window = tuple[tuple[int, int, int, int], ...]


@value_class()
class Circuit:
    """One deployment's circuit. ``window`` holds (bucket, calls, failures, slow) of the last seconds, oldest first.

    ``opens`` counts openings in a row and sets the open time; ``leases`` are (id, expiry) of probes under way;
    ``not_before`` is when the provider itself asked to be left alone until. ``epoch`` grows with every change of state,
    so that workers can join on the newest.
    """

    state: State = State.CLOSED
    consecutive: int = 0
    window: Window = ()
    open_until: float = 0.0
    opens: int = 0
    changed_at: float = 0.0
    reason: str = ""
    leases: tuple[tuple[int, float], ...] = ()
    next_lease: int = 1
    ejected_until: float = 0.0
    ejections: int = 0
    epoch: int = 0
    not_before: float = 0.0


CLOSED: Final = Circuit()


@value_class()
class Admission:
    """Whether a call may go: ``admitted``, as a ``probe``, or not until ``retry_after_s``."""

    admitted: bool
    probe: bool = False
    retry_after_s: float | None = None
    ejected: bool = False


_ADMITTED: Final = Admission(admitted=True)
_PROBE: Final = Admission(admitted=True, probe=True)


def admits(circuit: Circuit, now: float, policy: BreakerPolicy) -> Admission:
    """Say whether a call may go to this deployment now. Does not take the permit; ``grant`` does."""
    if circuit.ejected_until > now:
        return Admission(admitted=False, retry_after_s=circuit.ejected_until - now, ejected=True)
    if circuit.state is State.CLOSED:
        return _ADMITTED
    if now < circuit.open_until:  # half open before its time: a permit of the last resort is under way
        return Admission(admitted=False, retry_after_s=circuit.open_until - now)
    live = [expiry for _, expiry in circuit.leases if expiry > now]
    if len(live) < policy.half_open_probes:
        return _PROBE
    return Admission(admitted=False, retry_after_s=min(live) - now)


def resorts(circuit: Circuit, now: float, policy: BreakerPolicy) -> bool:
    """Say whether a call may go because nobody else is left: to an open circuit even before its time.

    Once in ``last_resort_after_s``; not before the provider's own Retry-After, and not where time does not mend it.
    """
    if admits(circuit, now, policy).admitted:
        return True
    if circuit.reason in LASTING or max(circuit.not_before, circuit.ejected_until) > now:
        return False
    if sum(1 for _, expiry in circuit.leases if expiry > now) >= policy.half_open_probes:
        return False
    return now - circuit.changed_at >= policy.last_resort_after_s


def grant(circuit: Circuit, now: float, policy: BreakerPolicy, *, force: bool = False) -> tuple[Circuit, int | None]:
    """Take what a call needs: nothing when closed, a lease when half-open; (circuit, None) unchanged when refused.

    ``force`` takes a lease from an open circuit too: the last resort when everything is open.
    """
    if circuit.state is State.CLOSED:
        return circuit, None
    if not force and not admits(circuit, now, policy).admitted:
        return circuit, None
    moved = circuit if circuit.state is State.HALF_OPEN else _move(circuit, Signal.ELAPSED, now)
    lease = moved.next_lease
    live = tuple(item for item in moved.leases if item[1] > now)
    return replace(moved, leases=(*live, (lease, now + policy.probe_lease_s)), next_lease=lease + 1), lease


def release(circuit: Circuit, lease: int | None) -> Circuit:
    """Give a permit back without a verdict: the client left, or its own request was at fault."""
    if lease is None or all(held != lease for held, _ in circuit.leases):
        return circuit
    return replace(circuit, leases=tuple(item for item in circuit.leases if item[0] != lease))


def on_success(
    circuit: Circuit, now: float, policy: BreakerPolicy, *, slow: bool = False, jitter: float = 0.0
) -> Circuit:
    """Book a good answer; ``slow`` means its first content came later than the limit for slow ones."""
    if circuit.state is not State.CLOSED:
        closed = _move(circuit, Signal.SUCCESS, now)
        return closed if closed.state is State.CLOSED else circuit
    window = _counted(circuit.window, now, policy, failed=False, slow=slow)
    opens = 0 if circuit.opens and now - circuit.changed_at > policy.forget_after_s else circuit.opens
    if slow:
        calls, _, slows = _totals(window)
        if calls >= policy.min_calls and slows >= policy.slow_rate * calls:
            return _open(replace(circuit, window=window), Signal.TRIP, now, policy, jitter, "slow first content")
    return Circuit(  # what most calls come to: ``replace`` would take three times as long
        state=circuit.state,
        window=window,
        open_until=circuit.open_until,
        opens=opens,
        changed_at=circuit.changed_at,
        reason=circuit.reason,
        leases=circuit.leases,
        next_lease=circuit.next_lease,
        ejected_until=circuit.ejected_until,
        epoch=circuit.epoch,
        not_before=circuit.not_before,
    )


def on_failure(
    circuit: Circuit,
    now: float,
    policy: BreakerPolicy,
    *,
    reason: str = "failure",
    jitter: float = 0.0,
    at_least_s: float = 0.0,
) -> Circuit:
    """Book a failure that is the provider's; ``at_least_s`` is a Retry-After that the open time must reach."""
    if circuit.state is State.HALF_OPEN and now < circuit.open_until:
        back = replace(_move(circuit, Signal.FAILURE, now), reason=reason, leases=())
        return replace(back, not_before=max(back.not_before, now + at_least_s)) if at_least_s else back
    if circuit.state is State.HALF_OPEN:
        return _open(circuit, Signal.FAILURE, now, policy, jitter, reason, at_least_s)
    if circuit.state is State.OPEN:
        return circuit
    window = _counted(circuit.window, now, policy, failed=True)
    booked = replace(circuit, window=window, consecutive=circuit.consecutive + 1)
    calls, failures, _ = _totals(window)
    by_rate = calls >= policy.min_calls and failures >= policy.failure_rate * calls
    if booked.consecutive >= policy.consecutive_failures or by_rate:
        return _open(booked, Signal.TRIP, now, policy, jitter, reason, at_least_s)
    return booked


def trip(circuit: Circuit, now: float, open_s: float, reason: str) -> Circuit:
    """Open at once for a stated time: bad credentials, no money, no such model."""
    moved = replace(circuit, state=TRANSITIONS[circuit.state, Signal.TRIP], epoch=circuit.epoch + 1)
    return replace(moved, open_until=max(circuit.open_until, now + open_s), reason=reason, changed_at=now, leases=())


def eject(circuit: Circuit, now: float, seconds: float) -> Circuit:
    """Keep traffic away after a 429, without tripping; never shortens an ejection."""
    until = max(circuit.ejected_until, now + seconds)
    return replace(circuit, ejected_until=until, ejections=circuit.ejections + 1, epoch=circuit.epoch + 1)


def reset(circuit: Circuit, now: float) -> Circuit:
    """Close by hand and forget everything but the epoch, and which lease is next: an old call may still hold one."""
    state = TRANSITIONS[circuit.state, Signal.RESET]
    return Circuit(state, changed_at=now, next_lease=circuit.next_lease, epoch=circuit.epoch + 1)


def join(mine: Circuit, theirs: Circuit) -> Circuit:
    """Take over another worker's circuit when its epoch is higher; counts and leases stay with their worker."""
    if theirs.epoch <= mine.epoch:
        return mine
    return replace(theirs, window=mine.window, leases=mine.leases, next_lease=max(mine.next_lease, theirs.next_lease))


def ramp(circuit: Circuit, now: float, policy: BreakerPolicy) -> float:
    """Return the share of traffic in (0, 1] a circuit may carry: it grows over ``ramp_s`` after closing."""
    if circuit.state is not State.CLOSED or not circuit.opens or policy.ramp_s <= 0.0:
        return 1.0
    return min(1.0, max(0.1, (now - circuit.changed_at) / policy.ramp_s))


def _move(circuit: Circuit, signal: Signal, now: float) -> Circuit:
    state = TRANSITIONS[circuit.state, signal]
    if state is circuit.state:
        return circuit
    if state is State.CLOSED:
        circuit = replace(circuit, consecutive=0, window=(), leases=(), reason="", ejections=0)
    return replace(circuit, state=state, changed_at=now, epoch=circuit.epoch + 1)


def _open(
    circuit: Circuit,
    signal: Signal,
    now: float,
    policy: BreakerPolicy,
    jitter: float,
    reason: str,
    at_least_s: float = 0.0,
) -> Circuit:
    longest = min(policy.open_cap_s, policy.open_s * 2.0 ** min(circuit.opens, 30))
    open_s = max(longest * (1.0 - policy.jitter * jitter), at_least_s)
    return replace(
        circuit,
        state=TRANSITIONS[circuit.state, signal],
        open_until=now + open_s,
        not_before=now + at_least_s if at_least_s else circuit.not_before,
        opens=circuit.opens + 1,
        changed_at=now,
        reason=reason,
        leases=(),
        consecutive=0,
        window=(),
        epoch=circuit.epoch + 1,
    )


def _counted(window: Window, now: float, policy: BreakerPolicy, *, failed: bool, slow: bool = False) -> Window:
    """Return the window with one more call, without what is too old."""
    bucket = int(now * WINDOW_BUCKETS / policy.window_s)
    oldest = bucket - WINDOW_BUCKETS
    kept = window if window and window[0][0] > oldest else tuple(item for item in window if item[0] > oldest)
    if kept and kept[-1][0] >= bucket:
        index, calls, failures, slows = kept[-1]
        return (*kept[:-1], (index, calls + 1, failures + failed, slows + slow))
    return (*kept, (bucket, 1, int(failed), int(slow)))


def _totals(window: Window) -> tuple[int, int, int]:
    return sum(item[1] for item in window), sum(item[2] for item in window), sum(item[3] for item in window)
