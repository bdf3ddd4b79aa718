"""The gateway's configuration for the scenarios: one listed route of a primary and a fallback for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.failover.scenarios import Scenario
from tests.fakes.provider import FakeProvider

SMALL_WINDOW, WIDE_WINDOW = 8_192, 128_000
FAST_SCALE = 0.1


def models(pairs: Mapping[str, tuple[Scenario, FakeProvider, FakeProvider]]) -> dict[str, Any]:
    """Return ``models.yaml``: every scenario has providers of its own, so that none suffers from another's faults."""
    providers: dict[str, Any] = {}
    deployments: list[dict[str, Any]] = []
    routes: dict[str, Any] = {}
    for route, (scenario, primary, fallback) in pairs.items():
        names = []
        for role, fake in (("primary", primary), ("fallback", fallback)):
            name = f"{role}-{route}"
            providers[name] = {"wire": fake.wire, "base_url": fake.base_url, "api_key": f"not-a-secret-{name}"}
            capabilities = ["tools", "json_schema"]
            if role == "fallback" and scenario.prefill_fallback:
                capabilities.append("prefill")
            deployments.append(
                {
                    "id": f"{name}/{role}-model",
                    "provider": name,
                    "model": f"{role}-model",
                    "context_window": WIDE_WINDOW if role == "fallback" and scenario.wide_fallback else SMALL_WINDOW,
                    "price_usd_per_mtok": {"input": 1.0, "output": 2.0},
                    "capabilities": capabilities,
                }
            )
            names.append(f"{name}/{role}-model")
        routes[route] = {"order": "listed", "deployments": names}
    return {"providers": providers, "deployments": deployments, "routes": routes}


def policy(recovery: str, scale: float) -> dict[str, Any]:
    """Return ``policy.yaml``: the defaults but for the wait after a 429 and the recovery mode.

    A fast run has the same time-outs and open time in a tenth of the time. Silence in a stream is not among them:
    scenario S09 is about noticing its end before that.
    """
    chosen: dict[str, Any] = {"rate_limit": {"wait_max_s": 3}, "stream_recovery": recovery}
    if scale != 1.0:
        chosen["timeouts"] = {
            "first_content_s": 10 * scale,
            "first_content_floor_s": 3 * scale,
        }
        chosen["breaker"] = {"open_s": 60 * scale, "window_s": 30 * scale}
    return chosen
