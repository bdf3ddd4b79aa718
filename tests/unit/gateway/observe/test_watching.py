from __future__ import annotations

import logging
from typing import Any

import pytest

from gateway.clock import ManualClock
from gateway.observe.watching import Watching
from gateway.secrets import Secret
from tests.fakes.outcomes import attempt, request

pytestmark = pytest.mark.anyio


async def test_an_anomaly_is_logged_and_waits_for_the_webhook(caplog: pytest.LogCaptureFixture):
    watching = Watching({}, webhook_url=Secret("https://hooks.example/T0KEN"), now=ManualClock().time)
    told: list[tuple[str, Any]] = []
    assert watching.webhook is not None
    watching.webhook.tell = lambda kind, data: told.append((kind, data["signal"]))  # type: ignore[method-assign]
    for number in range(400):
        watching.observer.attempt(attempt(failure="server" if number > 300 else None))
    watching.observer.collect()
    assert told == [("anomaly", "failures")]
    assert "anomaly" in caplog.text
    await watching.stop()


async def test_a_webhook_that_may_not_be_called_is_left_out_with_a_warning():
    watching = Watching({}, webhook_url=Secret("http://10.0.0.1/T0KEN"))
    assert watching.webhook is None
    assert len(watching.warnings) == 1
    assert "T0KEN" not in watching.warnings[0]
    watching.start()
    await watching.stop()


async def test_workers_share_the_counters_of_one_start_and_hosts_do_not():
    shared = [Watching({"GATEWAY_BOOT": "1760000000.host-a"}).observer.sums._boot for _ in range(2)]
    assert set(shared) == {"1760000000.host-a"}
    alone = {Watching({"GATEWAY_BOOT": given}).observer.sums._boot for given in ("", "soon|x", "1.a b")}
    assert len(alone) == 3


async def test_a_broken_listener_is_told_of_once(caplog: pytest.LogCaptureFixture):
    watching = Watching({})
    outcome = request(attempt())
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            watching.observer._guard(lambda: 1 / 0)
    watching.observer.request(outcome, {})
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    assert watching.observer.listener_errors == 3
