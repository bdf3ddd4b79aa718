"""The README's code is run as a reader would run it."""

import re
from pathlib import Path

import yaml

from gateway.config.loader import load

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_library_example_decides_learns_and_decides_differently(capsys):
    (example,) = [block for block in blocks("python") if "router_core" in block]
    exec(compile(example, "README.md", "exec"), {})
    before, after = capsys.readouterr().out.splitlines()
    assert before.startswith("acme/m1 code_generation")
    assert after == "beta/m2"


def test_the_configuration_example_is_a_configuration(tmp_path):
    (example,) = blocks("yaml")
    shipped = (ROOT / "config" / "models.yaml").read_text(encoding="utf-8")
    wanted = yaml.safe_load(example)
    whole = yaml.safe_load(shipped)
    whole["providers"] |= wanted["providers"]
    whole["deployments"] += wanted["deployments"]
    whole["routes"] = {**(whole.get("routes") or {}), **wanted["routes"]}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    config = load(tmp_path, {"ACME_KEY": "not-a-key"})
    assert [each.id for each in config.registry.resolve("main").candidates] == ["acme/m1", "openai/gpt-5.4-mini"]


def test_every_command_of_the_readme_exists():
    from gateway.cli import COMMANDS

    named = re.search(r"`moe-gateway ([a-z |]+)`, each", README)
    assert named is not None
    assert {name.strip() for name in named.group(1).split("|")} <= set(COMMANDS)


def test_every_page_the_readme_names_is_there():
    pages = set(re.findall(r"\((docs/[^)#]+)\)", README))
    assert pages
    assert not {page for page in pages if not (ROOT / page).exists()}
