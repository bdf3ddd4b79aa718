"""What all measurements of this folder share: one prompt, one answer, one loopback provider per wire, one registry."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

KEY = "bench-client-key-0123456789"
TEXT = "word " * 50
SENTENCE = "Our nightly import fails with a timeout when the file has more than ten thousand rows; find out why. "
MESSAGES = [{"role": "user", "content": (SENTENCE * 12)[:1000]}]
WIRES = {"openai": "/v1", "anthropic": ""}


@contextmanager
def upstream(wire: str) -> Iterator[str]:
    """Run a loopback provider of one wire with one fixed answer of fifty chunks; yields its base URL."""
    command = [sys.executable, "-m", "gateway.demo.child", "--wire", wire, "--name", f"bench-{wire}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        origin = f"http://127.0.0.1:{port}"
        settings = {"text": TEXT, "chunks": 50, "delay_s": 0, "first_delay_s": 0, "bench": True}
        _post(f"{origin}/_control/answer", settings)
        try:
            yield origin + WIRES[wire]
        finally:
            process.terminate()


def _post(url: str, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    call = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(call, timeout=10):  # noqa: S310 - loopback
        pass


def models(bases: dict[str, str]) -> dict[str, Any]:
    """Return a configuration of twenty deployments; each wire's are the candidates of its route."""
    providers = {
        wire: {"wire": wire, "base_url": base, "api_key": "bench-upstream-key"} for wire, base in bases.items()
    }
    deployments = [
        {
            "id": f"{wire}/bench-model-{index}",
            "provider": wire,
            "model": f"bench-model-{index}",
            "context_window": 2_000_000,
            "price_usd_per_mtok": {"input": 1.0, "output": 2.0},
            "capabilities": ["tools", "vision", "json_schema"],
            "quality": {"default": 0.5 + index * 0.02},
        }
        for wire in bases
        for index in range(20 // len(bases))
    ]
    routes = {
        f"{wire}-route": {
            "order": "scored",
            "deployments": [row["id"] for row in deployments if row["provider"] == wire],
        }
        for wire in bases
    }
    return {"providers": providers, "deployments": deployments, "routes": routes}
