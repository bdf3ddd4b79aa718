"""The demo providers as processes: they listen, they answer on their wires, they end with their parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from gateway.demo.fleet import FLEET, DemoFailed, DemoProvider, spawn, start_fleet, stop_fleet
from gateway.demo.registry import demo_config
from router_core.registry import Registry
from router_core.task import TaskType

pytestmark = pytest.mark.anyio

SAYS = [{"role": "user", "content": "what is 6*7?"}]


@pytest.fixture(scope="module")
def fleet() -> Iterator[list[DemoProvider]]:
    providers = asyncio.run(start_fleet())
    yield providers
    stop_fleet(providers)


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with suppress(FileNotFoundError):
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        time.sleep(0.02)
    return False


async def post(url: str, body: object, headers: dict[str, str] | None = None) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as response:
        return response.status, await response.text()


async def test_each_answers_on_its_own_wire(fleet: list[DemoProvider]):
    openai, anthropic, gemini = fleet
    assert [each.wire for each in fleet] == ["openai", "anthropic", "gemini"]
    assert all(each.running for each in fleet)
    answers = [
        await post(openai.base_url + "/chat/completions", {"model": "harbor-large", "messages": SAYS}),
        await post(
            anthropic.base_url + "/v1/messages",
            {"model": "meadow-deep", "messages": SAYS, "max_tokens": 99},
            {"anthropic-version": "2023-06-01"},
        ),
        await post(
            gemini.base_url + "/models/summit-pro:generateContent",
            {"contents": [{"role": "user", "parts": [{"text": "what is 6*7?"}]}]},
        ),
    ]
    assert all(status == 200 and "6*7 = 42" in text for status, text in answers), answers


async def test_models_of_others_are_not_served(fleet: list[DemoProvider]):
    status, text = await post(fleet[0].base_url + "/chat/completions", {"model": "meadow-deep", "messages": SAYS})
    assert status == 404
    assert "model_not_found" in text


def test_the_registry_accepts_what_describes_them(fleet: list[DemoProvider]):
    registry = Registry.from_mapping(demo_config(fleet))
    assert {each.id for each in registry.deployments.values()} == {f"{n}/{m}" for n, _, models in FLEET for m in models}
    assert [registry.providers[each.name].base_url for each in fleet] == [each.base_url for each in fleet]
    assert set(registry.preferences) == set(TaskType) - {TaskType.GENERAL}
    best = {
        task: max(registry.deployments.values(), key=lambda d: d.quality.get(task, d.quality["default"]).mean).model
        for task in registry.preferences
    }
    assert len(set(best.values())) >= 4, best


def test_a_provider_left_out_is_missed():
    with pytest.raises(KeyError):
        demo_config({"demo-openai": "http://127.0.0.1:1/v1"})


def test_stopping_ends_it_and_twice_is_fine():
    (provider,) = spawn([("one", "openai", ())])
    assert provider.running
    provider.stop()
    provider.stop()
    assert not provider.running
    assert gone(provider.pid)


def test_a_child_that_cannot_start_is_named_and_none_is_left():
    with pytest.raises(DemoFailed, match="two"):
        spawn([("one", "openai", ()), ("two", "smoke signals", ())])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_its_parent(number: signal.Signals):
    code = "from gateway.demo.fleet import spawn\np, = spawn([('x', 'openai', ())])\nprint(p.pid, flush=True)\ninput()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.send_signal(number)
        parent.wait(60)
        assert gone(child)
