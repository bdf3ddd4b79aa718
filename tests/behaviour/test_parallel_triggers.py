"""What the operator may turn on: fan-out by itself for critical requests, tasks and a quality floor; adaptive panels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.panel import Panel, booked, explained, running_panel

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def triggered(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Panel]:
    rules = {
        "trigger_critical": True,
        "trigger_tasks": ["reasoning"],
        "trigger_min_quality": 0.5,
        "trigger_mode": "voting",
    }
    async with running_panel(tmp_path_factory.mktemp("triggers"), {"parallel": rules}) as panel:
        yield panel


@pytest.fixture(scope="module")
async def adaptive(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Panel]:
    rules = {"adaptive": True, "adaptive_confidence": 0.0}
    async with running_panel(tmp_path_factory.mktemp("adaptive"), {"parallel": rules}) as panel:
        yield panel


@pytest.fixture(scope="module")
async def unsure(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Panel]:
    rules = {"adaptive": True, "adaptive_confidence": 1.0}
    async with running_panel(tmp_path_factory.mktemp("unsure"), {"parallel": rules}) as panel:
        yield panel


@pytest.mark.parametrize("router", [{"critical": True}, {"task": "reasoning"}, {"min_quality": 0.55}], ids=str)
async def test_a_trigger_fans_out(triggered: Panel, router: dict[str, Any]):
    triggered.reset()
    reply = await triggered.ask(None, router=router)
    assert reply.headers["x-router-mode"] == "voting"
    assert triggered.called == ["alpha", "beta", "gamma"]


@pytest.mark.parametrize(
    "router", [{}, {"task": "planning"}, {"min_quality": 0.4}, {"mode": "single", "critical": True}], ids=str
)
async def test_without_its_reason_it_does_not(triggered: Panel, router: dict[str, Any]):
    triggered.reset()
    reply = await triggered.ask(None, router=router)
    assert reply.headers["x-router-mode"] == "single"
    assert triggered.called == ["alpha"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_adaptive_panel_asks_one_where_nothing_is_doubtful(adaptive: Panel, stream: bool):
    adaptive.reset()
    reply = await adaptive.ask("voting", stream=stream)
    assert reply.text == "alpha says so"
    assert booked(reply) == [("alpha/small", "leg", True)]
    verdict = explained(reply)["verdict"]
    assert verdict["by"] == "alone"
    assert {"deployment": "beta/small", "reason": "not asked"} in verdict["lost"]


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        ("", {}),
        ("I'm sorry, but I can't help with that.", {}),
        ("no json at all", {"response_format": {"type": "json_object"}}),
        ("```python\ndef broken(:\n```", {}),
        ("word " * 60, {}),
    ],
    ids=["empty", "refused", "form", "code", "cut"],
)
async def test_doubt_brings_in_the_others(adaptive: Panel, answer: str, more: dict[str, Any]):
    adaptive.reset()
    adaptive.providers["alpha"].answer(answer)
    for name in ("beta", "gamma"):
        adaptive.providers[name].answer('{"ok": 1}')
    reply = await adaptive.ask("voting", **more)
    assert adaptive.called == ["alpha", "beta", "gamma"]
    assert reply.text == '{"ok": 1}'
    assert len(booked(reply)) == 3


async def test_a_first_that_fails_brings_in_the_others(adaptive: Panel):
    adaptive.reset()
    adaptive.providers["alpha"].fail("status", None, status=500)
    reply = await adaptive.ask("quality_weighted")
    assert reply.text == "beta says so"
    assert len(booked(reply)) == 3


async def test_a_form_that_holds_is_enough(unsure: Panel):
    unsure.reset()
    unsure.providers["alpha"].answer('{"ok": true}')
    await unsure.ask("voting", response_format={"type": "json_object"})
    assert unsure.called == ["alpha"]


async def test_an_unsure_decision_brings_in_the_others_where_nothing_could_be_checked(unsure: Panel):
    unsure.reset()
    await unsure.ask("voting")
    assert unsure.called == ["alpha", "beta", "gamma"]
