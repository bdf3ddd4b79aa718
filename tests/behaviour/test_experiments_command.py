"""``moe-gateway experiments`` against a running gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from gateway.cli import main
from tests.fakes.edge import ADMIN, CLIENT, POLICY, Edge, bearer, running_edge

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def edge(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    environment = {"MOE_API_KEYS": CLIENT, "MOE_ADMIN_KEYS": ADMIN}
    folder = tmp_path_factory.mktemp("command")
    async with running_edge(folder, policy=POLICY, environment=environment, keys=bearer(CLIENT)) as found:
        yield found


class Command:
    def __init__(self, edge: Edge, capsys: pytest.CaptureFixture[str]) -> None:
        self.edge, self.capsys = edge, capsys

    async def __call__(self, *words: str, code: int = 0) -> str:
        self.capsys.readouterr()
        found = await asyncio.to_thread(main, ["experiments", "--url", self.edge.gateway.origin, *words])
        out, err = self.capsys.readouterr()
        assert found == code, (out, err)
        return out + err


@pytest.fixture
def command(edge: Edge, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("MOE_ADMIN_KEY", ADMIN)
    return Command(edge, capsys)


ARMS = ("--arm", "now", "deployment", "alpha/small", "3", "--arm", "cheap", "deployment", "beta/small")


async def test_from_a_draft_to_its_end(edge: Edge, command: Command):
    assert "no experiments" in await command("list")
    made = await command("create", "is beta as good?", *ARMS, "--metric", "success", "--min-samples", "20")
    name = made.split()[0]
    assert "draft" in made
    assert "75%" in made
    assert "running" in await command("start", name)
    for number in range(8):
        await edge.chat({"x-router-session": f"c{number}"}, model="auto")
    told = await command("show", name)
    assert "alpha/small" in told
    assert "too few samples of success" in told
    listed = await command("list")
    assert name in listed
    assert " 8 " in listed
    assert "(enough seen)" in await command("stop", name, "--reason", "enough seen")
    assert "concluded" in await command("conclude", name)
    assert "cannot become running" in await command("start", name, code=2)


async def test_json_is_the_answer_as_it_came(command: Command):
    day = datetime.now(UTC).date() + timedelta(days=100)
    more = ("--ends", day.isoformat(), "--cost-factor", "2")
    parsed = json.loads(await command("--json", "create", "as json", *ARMS, *more))
    assert datetime.fromtimestamp(parsed["ends_at"], UTC).isoformat() == f"{day}T00:00:00+00:00"
    assert parsed["guardrails"]["cost_factor"] == 2.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "x", "--arm", "a", "model", "b"), "--arm must be"),
        (("create", "x", "--arm", "a", "policy", "cost", "many"), "must be a number"),
        (("create", "x", *ARMS, "--ends", "tomorrow"), "--ends must be a date"),
        (("create", "x", *ARMS, "--task", "cooking"), "task: must be one of"),
        (("show", "exp_nobody"), "there is no experiment"),
    ],
)
async def test_what_is_wrong_is_said(command: Command, words: tuple[str, ...], message: str):
    assert message in await command(*words, code=2)


async def test_without_a_key_it_says_which_one(command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MOE_ADMIN_KEY")
    assert "set MOE_ADMIN_KEY" in await command("list", code=2)
