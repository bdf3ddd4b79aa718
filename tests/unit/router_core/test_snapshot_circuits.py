"""What an outcome does to its deployment's circuit, to those that share its key, and to its provider."""

from __future__ import annotations

from typing import Any

import pytest

from router_core import breaker
from router_core.outcome import Failure, FailureKind
from router_core.policy import BreakerPolicy, Policy
from router_core.snapshot import Snapshot, fold, fold_circuit
from tests.fakes.outcomes import attempt
from tests.unit.router_core.builders import NOW, after

POLICY = Policy(breaker=BreakerPolicy(jitter=0.0))
EMPTY = Snapshot.empty()
PEERS = ("acme/m1", "acme/m2", "acme/m3")


def failed(
    name: str = "acme/m1", kind: str = "server", *, at: float = NOW, lease: int | None = None, **more: Any
) -> Any:
    from dataclasses import replace

    outcome = attempt(name, at, failure=kind, probe_lease=lease)
    return replace(outcome, failure=Failure(FailureKind(kind), "it failed", **more))


def folded(snapshot: Snapshot, *outcomes: Any, policy: Policy = POLICY) -> Snapshot:
    return after(snapshot, *outcomes, policy=policy, peers=PEERS)


def states(snapshot: Snapshot) -> list[str]:
    return [str(snapshot.circuit(name).state) for name in PEERS]


def test_five_failures_open_the_circuit_and_good_answers_keep_it_closed():
    assert folded(EMPTY, attempt(at=NOW)).circuit("acme/m1").state == "closed"
    assert folded(EMPTY, *[failed()] * 5).circuit("acme/m1").open_until == NOW + 60.0


def test_the_circuit_lives_by_its_own_clock():
    opened = EMPTY
    for _ in range(5):
        opened = fold(opened, failed(at=NOW), POLICY, now=NOW + 7.0)
    assert opened.circuit("acme/m1").open_until == NOW + 67.0


def test_a_retry_after_prolongs_the_open_time_up_to_the_cap():
    patient = folded(EMPTY, *[failed(status=503, retry_after_s=90.0)] * 5)
    endless = folded(EMPTY, *[failed(status=503, retry_after_s=1e9)] * 5)
    assert patient.circuit("acme/m1").open_until == NOW + 90.0
    assert endless.circuit("acme/m1").open_until == NOW + POLICY.breaker.open_cap_s


def test_slow_first_content_of_streams_counts_as_slow():
    slow = attempt(at=NOW, stream=True, time_to_first_content_s=POLICY.timeouts.first_content_reasoning_s + 1.0)
    assert folded(EMPTY, *[slow] * 5).circuit("acme/m1").reason == "slow first content"


def test_a_429_ejects_without_tripping_and_gives_the_probe_s_place_back():
    half_open, lease = breaker.grant(breaker.trip(breaker.CLOSED, 0.0, 1.0, "x"), NOW, POLICY.breaker)
    snapshot = folded(
        EMPTY.with_circuit("acme/m1", half_open), failed(kind="rate_limited", lease=lease, retry_after_s=30)
    )
    circuit = snapshot.circuit("acme/m1")
    assert (circuit.state, circuit.ejected_until, circuit.leases) == ("half_open", NOW + 30.0, ())


def test_429s_without_a_retry_after_keep_away_longer_each_time():
    first = folded(EMPTY, failed(kind="rate_limited"))
    second = folded(first, failed(kind="rate_limited"))
    assert first.circuit("acme/m1").ejected_until == NOW + 1.0
    assert second.circuit("acme/m1").ejected_until == NOW + 2.0


@pytest.mark.parametrize("kind", ["cancelled", "invalid_request", "context_overflow", "content_filter", "conflict"])
def test_what_is_not_the_provider_s_fault_only_gives_the_probe_s_place_back(kind: str):
    half_open, lease = breaker.grant(breaker.trip(breaker.CLOSED, 0.0, 1.0, "x"), NOW, POLICY.breaker)
    before = EMPTY.with_circuit("acme/m1", half_open)
    snapshot = folded(before, failed(kind=kind, lease=lease))
    assert snapshot.circuit("acme/m1").leases == ()
    assert snapshot.circuit("acme/m1").state == "half_open"


@pytest.mark.parametrize(
    ("kind", "status", "opened", "reason"),
    [
        ("auth", 401, ["open", "open", "open"], "credentials"),
        ("auth", 403, ["open", "closed", "closed"], "credentials"),
        ("billing", 402, ["open", "open", "open"], "credentials"),
        ("not_found", 404, ["open", "closed", "closed"], "not_found"),
    ],
)
def test_a_refused_key_takes_along_everything_that_shares_it(kind: str, status: int, opened: list[str], reason: str):
    snapshot = folded(EMPTY, failed(kind=kind, status=status))
    assert states(snapshot) == opened
    assert snapshot.circuit("acme/m1").open_until == NOW + POLICY.breaker.credentials_open_s
    assert snapshot.circuit("acme/m1").reason == reason


# --- the provider


def down(*names: str) -> list[Any]:
    return [failed(name) for name in names for _ in range(5)]


def test_a_provider_opens_when_two_of_its_deployments_fail_and_none_is_well():
    assert folded(EMPTY, *down("acme/m1")).provider_open == {}
    snapshot = folded(EMPTY, *down("acme/m1", "acme/m2"))
    assert states(snapshot) == ["open", "open", "closed"]
    assert snapshot.provider_open == {"acme": NOW + 60.0}


def test_a_deployment_that_is_well_keeps_its_provider_closed():
    assert folded(EMPTY, attempt("acme/m3", NOW), *down("acme/m1", "acme/m2")).provider_open == {}


def test_an_operator_may_keep_providers_out_of_it():
    policy = Policy(breaker=BreakerPolicy(provider_opens=False))
    assert folded(EMPTY, *down("acme/m1", "acme/m2"), policy=policy).provider_open == {}


def test_one_good_answer_closes_the_provider_again():
    troubled = folded(EMPTY, *down("acme/m1", "acme/m2"))
    later = folded(troubled, attempt("beta/m1", NOW))
    assert later.provider_open == troubled.provider_open
    assert folded(later, attempt("acme/m3", NOW)).provider_open == {}


def test_failures_of_an_open_circuit_change_nothing_more():
    opened = folded(EMPTY, *down("acme/m1", "acme/m2"))
    again = fold_circuit(opened, failed(), POLICY, now=NOW + 1.0, peers=PEERS)
    assert again is opened
