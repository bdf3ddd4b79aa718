from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from gateway.cli import main
from gateway.cli.stats import REPORTS, default_url
from gateway.keys import KeyRing
from tests.fakes.watched import World, served

ADMIN = "admin-key-0123456789"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    world = World(keys=KeyRing(admin_keys=[ADMIN]))
    world.run(count=120)
    with served(world) as found:
        yield found


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOE_ADMIN_KEY", ADMIN)


@pytest.mark.parametrize("report", REPORTS)
def test_every_report_is_shown_as_a_table(address: str, report: str, capsys: pytest.CaptureFixture[str]):
    assert main(["stats", report, "--url", address]) == 0
    out = capsys.readouterr().out
    assert out.strip()
    lines = out.splitlines()
    if len(lines) > 3:
        assert set(lines[3]) <= {"-", " "}


def test_providers_come_with_a_headline(address: str, capsys: pytest.CaptureFixture[str]):
    assert main(["stats", "--window", "hour", "--url", address + "/"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("120 requests over the last hour, ")
    assert "saved against always the best model" in out
    assert "anthropic" in out


def test_json_is_the_answer_as_it_came(address: str, capsys: pytest.CaptureFixture[str]):
    assert main(["stats", "deployments", "--provider", "groq", "--json", "--url", address]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [row["deployment"] for row in body["data"]] == ["groq/llama-fast"]


def test_a_refusal_says_why_and_what_to_do(
    address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MOE_ADMIN_KEY")
    assert main(["stats", "--url", address]) == 2
    assert "set MOE_ADMIN_KEY" in capsys.readouterr().err
    monkeypatch.setenv("MOE_ADMIN_KEY", ADMIN)
    assert main(["stats", "--task", "cooking", "--url", address]) == 2
    assert "task must be one of" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", "nonsense"])
def test_a_gateway_that_cannot_be_asked_is_exit_1(url: str, capsys: pytest.CaptureFixture[str]):
    for command in (
        ["stats", "--url", url],
        ["experiments", "list", "--url", url],
        ["experiments", "--url", url, "list"],
    ):
        assert main(command) == 1
        told = capsys.readouterr().err
        assert f"the gateway at {url} cannot be asked" in told
        assert "--url" in told


def test_the_default_address_is_where_a_gateway_of_the_same_environment_listens():
    assert default_url({}) == "http://127.0.0.1:8080"
    assert default_url({"HOST": "0.0.0.0", "PORT": "9"}) == "http://127.0.0.1:9"
    assert default_url({"HOST": "::1", "PORT": "9"}) == "http://[::1]:9"
