"""A random walk through a circuit: calls that end well, badly, late or never; 429s, resets, news of other workers."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from router_core import breaker
from router_core.breaker import CLOSED, TRANSITIONS, Circuit, Signal, State
from router_core.policy import BreakerPolicy

jitters = st.floats(0.0, 0.999)


class CircuitMachine(RuleBasedStateMachine):
    @initialize(probes=st.integers(1, 3))
    def begin(self, probes: int) -> None:
        self.rules = BreakerPolicy(
            consecutive_failures=3,
            min_calls=3,
            window_s=10.0,
            open_s=8.0,
            open_cap_s=40.0,
            half_open_probes=probes,
            probe_lease_s=6.0,
        )
        self.now = 0.0
        self.circuit = CLOSED
        self.given: list[int] = []

    def become(self, circuit: Circuit) -> None:
        """Every step goes along the table and never counts back."""
        before = self.circuit
        assert circuit.epoch >= before.epoch
        assert any(TRANSITIONS[before.state, signal] is circuit.state for signal in Signal)
        if circuit.state is not before.state:
            assert circuit.epoch > before.epoch
        self.circuit = circuit

    @rule(seconds=st.floats(0.1, 12.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_call_asks_to_go(self) -> None:
        admission = breaker.admits(self.circuit, self.now, self.rules)
        moved, lease = breaker.grant(self.circuit, self.now, self.rules)
        assert (lease is not None) == (admission.admitted and self.circuit.state is not State.CLOSED)
        if lease is None:
            assert moved is self.circuit
        else:
            assert admission.probe
            assert moved.state is State.HALF_OPEN
            assert lease not in self.given
            self.given.append(lease)
        self.become(moved)

    @rule(slow=st.booleans(), jitter=jitters)
    def a_call_ends_well(self, slow: bool, jitter: float) -> None:
        before = self.circuit.state
        self.become(breaker.on_success(self.circuit, self.now, self.rules, slow=slow, jitter=jitter))
        if before is State.HALF_OPEN:
            assert self.circuit.state is State.CLOSED
        if before is State.OPEN:
            assert self.circuit.state is State.OPEN

    @rule(jitter=jitters, wished=st.floats(0.0, 30.0))
    def a_call_fails(self, jitter: float, wished: float) -> None:
        before = self.circuit.state
        self.become(breaker.on_failure(self.circuit, self.now, self.rules, jitter=jitter, at_least_s=wished))
        if before is not State.CLOSED:
            assert self.circuit.state is State.OPEN
        if self.circuit.state is State.OPEN and before is not State.OPEN:
            assert self.circuit.open_until >= self.now + wished
            assert self.circuit.open_until <= self.now + max(wished, self.rules.open_cap_s)

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def a_client_leaves(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.given))
        self.become(breaker.release(self.circuit, lease))
        assert all(held != lease for held, _ in self.circuit.leases)

    @rule(seconds=st.floats(0.0, 20.0))
    def a_429_ejects(self, seconds: float) -> None:
        before = self.circuit.state
        self.become(breaker.eject(self.circuit, self.now, seconds))
        assert self.circuit.state is before

    @rule(seconds=st.floats(1.0, 20.0))
    def credentials_are_refused(self, seconds: float) -> None:
        self.become(breaker.trip(self.circuit, self.now, seconds, "credentials"))
        assert not breaker.admits(self.circuit, self.now, self.rules).admitted

    @rule()
    def an_admin_resets(self) -> None:
        self.become(breaker.reset(self.circuit, self.now))
        assert breaker.admits(self.circuit, self.now, self.rules).admitted

    @rule(lead=st.integers(-2, 3), state=st.sampled_from([State.CLOSED, State.OPEN]), ahead=st.floats(0.0, 20.0))
    def another_worker_tells(self, lead: int, state: State, ahead: float) -> None:
        theirs = Circuit(state=state, open_until=self.now + ahead, epoch=max(0, self.circuit.epoch + lead))
        self.become(breaker.join(self.circuit, theirs))
        assert self.circuit.epoch >= theirs.epoch

    @rule()
    def everybody_stays_away_until_leases_expire(self) -> None:
        """However many probes hang: once their leases and the open time are over, somebody is admitted again."""
        later = max(self.now, self.circuit.open_until, self.circuit.ejected_until) + self.rules.probe_lease_s
        assert breaker.admits(self.circuit, later, self.rules).admitted

    @invariant()
    def probes_are_bounded(self) -> None:
        live = [lease for lease, expiry in self.circuit.leases if expiry > self.now]
        assert len(live) <= self.rules.half_open_probes
        assert len(self.circuit.leases) <= self.rules.half_open_probes

    @invariant()
    def open_admits_nobody_before_its_time(self) -> None:
        admission = breaker.admits(self.circuit, self.now, self.rules)
        if self.circuit.state is State.OPEN and self.now < self.circuit.open_until:
            assert not admission.admitted
        if not admission.admitted:
            assert admission.retry_after_s is not None
            assert admission.retry_after_s > 0.0

    @invariant()
    def a_ramp_is_a_share(self) -> None:
        assert 0.0 < breaker.ramp(self.circuit, self.now, self.rules) <= 1.0


CircuitMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestCircuit = CircuitMachine.TestCase
