from __future__ import annotations

import io
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli import COMMANDS, main, parser
from router_core.policy import Policy
from router_core.record import recompute
from router_core.registry import Registry

DEPLOYMENT: dict[str, Any] = {
    "context_window": 100_000,
    "price_usd_per_mtok": {"input": 1, "output": 2},
    "capabilities": ["tools"],
}
MODELS: dict[str, Any] = {
    "providers": {
        "acme": {"wire": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": "${ACME_KEY}"},
        "beta": {"wire": "openai", "base_url": "http://127.0.0.1:9/v1"},
    },
    "deployments": [
        {"id": "acme/m1", "provider": "acme", "model": "m1", **DEPLOYMENT},
        {"id": "beta/m2", "provider": "beta", "model": "m2", **DEPLOYMENT},
    ],
    "routes": {"main": {"order": "listed", "deployments": ["acme/m1", "beta/m2"]}},
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACME_KEY", "MOE_CONFIG_DIR", "MOE_STORE_URL", "MOE_API_KEYS", "MOE_ADMIN_KEYS", "HOST", "PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(MODELS))
    return tmp_path


def out(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"moe-gateway {command}" in capsys.readouterr().out


def test_the_program_lists_its_commands(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


def test_the_version_shown_is_the_project_s(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]
    assert (end.value.code, capsys.readouterr().out) == (0, f"moe-gateway {project['version']}\n")


@pytest.mark.parametrize("words", [[], ["dance"], ["check", "--nope"], ["explain"], ["keys"], ["ledger", "check"]])
def test_wrong_usage_is_code_2(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_check_says_what_is_live_and_what_lacks_a_key(folder, capsys, monkeypatch):
    assert main(["check", "--config", str(folder), "--json"]) == 0
    report = out(capsys)
    assert (report["ok"], report["live"], report["no_key"]) == (True, ["beta/m2"], {"acme/m1": "ACME_KEY"})
    assert report["routes"] == ["main"]
    monkeypatch.setenv("ACME_KEY", "sk-canary-1234567890")
    assert main(["check", "--config", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "2 live, 0 without a key" in shown
    assert "canary" not in shown


def test_check_names_the_files_that_are_there_and_what_came_from_elsewhere(folder, capsys):
    known = {"id": "acme/gpt-4o", "provider": "acme", "model": "gpt-4o", "quality": {"default": 0.8}}
    (folder / "models.yaml").write_text(yaml.safe_dump({**MODELS, "deployments": [*MODELS["deployments"], known]}))
    assert main(["check", "--config", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "policy.yaml" not in shown
    (line,) = [each for each in shown.splitlines() if "acme/gpt-4o:" in each]
    assert line.startswith("from litellm's data: ")
    assert "context_window" in line
    (folder / "policy.yaml").write_text("{}")
    assert main(["check", "--config", str(folder)]) == 0
    assert "policy.yaml" in capsys.readouterr().out


def test_check_of_a_broken_configuration_names_file_line_and_key(folder, capsys):
    (folder / "models.yaml").write_text("providers:\n  acme: {wire: openai, speed: 9}\ndeployments: []\n")
    assert main(["check", "--config", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "models.yaml:2" in error
    assert "speed" in error
    assert main(["check", "--config", str(folder), "--json"]) == 2
    report = out(capsys)
    assert report["ok"] is False
    assert any("speed" in problem for problem in report["problems"])


def test_check_of_nothing_is_code_2(tmp_path, capsys):
    assert main(["check", "--config", str(tmp_path / "nowhere")]) == 2
    assert "models.yaml" in capsys.readouterr().err


def test_explain_shows_who_would_answer_and_why(folder, capsys):
    prompt = "Write a Python function that parses ISO 8601 durations"
    assert main(["explain", prompt, "--config", str(folder)]) == 0
    shown = capsys.readouterr().out
    for word in ("code_generation", "acme/m1", "beta/m2", "policy", "balanced", "why", "qual"):
        assert word in shown


def test_explain_prints_a_record_that_can_be_recomputed(folder, capsys):
    words = ["explain", "What is the capital of France?", "--config", str(folder), "--policy", "cost", "--json"]
    assert main(words) == 0
    record = out(capsys)
    assert record["policy"] == "cost"
    providers = {name: {"wire": "openai"} for name in MODELS["providers"]}
    registry = Registry.from_mapping({"providers": providers, "deployments": MODELS["deployments"]})
    assert recompute(record, registry, Policy()).chosen == record["chosen"]


def test_explain_can_look_at_live_deployments_alone(folder, capsys):
    assert main(["explain", "hello", "--config", str(folder), "--live", "--json"]) == 0
    record = out(capsys)
    assert record["chosen"] == "beta/m2"
    assert [(each["deployment"], each["rule"]) for each in record["rejections"]] == [("acme/m1", "no_key")]


def test_explain_reads_standard_input(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Review this diff for bugs:\n-a\n+b\n"))
    assert main(["explain", "-", "--config", str(folder), "--json"]) == 0
    assert out(capsys)["task"]["task"] == "code_review"


def test_explain_is_code_1_when_nobody_could_answer(folder, capsys):
    assert main(["explain", "hello", "--config", str(folder), "--max-cost-usd", "1e-9"]) == 1
    assert "refused    acme/m1: cost" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--policy", "bold"], "bold"),
        (["--model", "acme/m9"], "m9"),
        (["--max-cost-usd", "-1"], "max_cost_usd"),
        (["--max-cost-usd", "nan"], "max_cost_usd"),
    ],
)
def test_explain_is_code_2_for_a_hint_that_cannot_be(folder, capsys, words, said):
    assert main(["explain", "hello", "--config", str(folder), *words]) == 2
    assert said in capsys.readouterr().err


def test_every_command_has_its_parser():
    top = parser()
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            top.parse_args([command, "--no-such-option"])
