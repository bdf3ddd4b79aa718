"""Several workers on one address: one that is killed takes at most its own requests along, and is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.workers import bind
from tests.fakes.gateway import ROOT, GatewayProcess

CALL = {"model": "auto", "messages": [{"role": "user", "content": "Name three rivers."}]}
ENVIRONMENT = {"MOE_WORKERS": "2", "MOE_LOG_FORMAT": "json"}


@contextmanager
def two_workers(folder: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(folder, {}, store=f"sqlite:///{folder}/state.db", environment=ENVIRONMENT) as gateway:
        yield gateway


def workers_of(gateway: GatewayProcess) -> dict[int, psutil.Process]:
    """Return the workers that listen, by pid."""
    found = {}
    for child in psutil.Process(gateway.pid).children():
        with suppress(psutil.Error):  # it ends, or begins, in this moment
            connections = child.net_connections()
            if "gateway.cli" in child.cmdline() and any(c.status == psutil.CONN_LISTEN for c in connections):
                found[child.pid] = child
    return found


def until(what: str, true: object, within_s: float = 120.0) -> None:
    """Wait until a callable says so."""
    assert callable(true)
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def ask(gateway: GatewayProcess, times: int) -> Counter[int]:
    """Ask so many times, each on a connection of its own; 0 counts what was lost."""
    counts: Counter[int] = Counter()
    for _ in range(times):
        try:
            counts[httpx.post(f"{gateway.base_url}/chat/completions", json=CALL, timeout=60).status_code] += 1
        except httpx.TransportError:
            counts[0] += 1
    return counts


def requests_booked(gateway: GatewayProcess) -> int:
    report = httpx.get(f"{gateway.base_url}/stats/tasks?window=all", timeout=60).json()
    return sum(row["requests"] for row in report["data"])


def booked_by_all(gateway: GatewayProcess, requests: int) -> bool:
    """Say whether every worker counts so many: each call reaches one of the two, and what only one
    of them knows is lost when that one is killed."""
    return all(requests_booked(gateway) == requests for _ in range(16))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with two_workers(tmp_path_factory.mktemp("workers")) as running:
        until("both workers listen", lambda: len(workers_of(running)) == 2)
        yield running


def test_a_killed_worker_loses_at_most_two_requests_and_is_replaced(gateway: GatewayProcess):
    before = ask(gateway, 20)
    assert before == {200: 20}
    until("what was answered is booked by all", lambda: booked_by_all(gateway, 20))
    victim = next(iter(workers_of(gateway)))
    os.kill(victim, signal.SIGKILL)
    after = ask(gateway, 20)
    assert after[200] >= 18
    assert after[200] + after[0] == 20
    until("two workers listen again", lambda: len(workers_of(gateway)) == 2)
    assert victim not in workers_of(gateway)
    until("every answer is booked once", lambda: booked_by_all(gateway, 20 + after[200]))


def test_the_demo_providers_are_started_once_by_the_parent(gateway: GatewayProcess):
    family = psutil.Process(gateway.pid).children(recursive=True)
    providers = [each for each in family if "gateway.demo.child" in each.cmdline()]
    assert len(providers) == 3
    assert {each.ppid() for each in providers} == {gateway.pid}


def test_a_decision_of_one_worker_is_known_to_the_other(gateway: GatewayProcess):
    answer = httpx.post(f"{gateway.base_url}/chat/completions", json=CALL, timeout=60)
    name = answer.headers["x-router-decision-id"]

    def known() -> bool:
        found = [httpx.get(f"{gateway.base_url}/decisions/{name}", timeout=60).status_code for _ in range(12)]
        return found == [200] * 12

    until("every worker finds it", known)


def test_a_stop_ends_every_process_and_an_address_in_use_is_refused(tmp_path: Path):
    with two_workers(tmp_path) as gateway:
        until("both workers listen", lambda: len(workers_of(gateway)) == 2)
        family = psutil.Process(gateway.pid).children(recursive=True)
        command = [sys.executable, "-m", "gateway.cli", "serve", "--workers", "2", "--config", str(tmp_path)]
        environment = {**os.environ, "PORT": str(gateway.port), "HOST": "127.0.0.1"}
        second = subprocess.run(
            command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180
        )
        assert second.returncode == 1
        assert "cannot listen" in second.stderr
        assert gateway.stop() == 0
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive


def test_workers_end_when_their_parent_is_killed(tmp_path: Path):
    with two_workers(tmp_path) as gateway:
        until("both workers listen", lambda: len(workers_of(gateway)) == 2)
        family = psutil.Process(gateway.pid).children(recursive=True)
        os.kill(gateway.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive


def test_a_shared_address_is_bound_twice_and_a_single_one_is_not():
    with bind("127.0.0.1", 0, shared=True) as first, bind("127.0.0.1", first.getsockname()[1], shared=True):
        pass
    with bind("127.0.0.1", 0) as alone:
        alone.listen()
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", alone.getsockname()[1])
