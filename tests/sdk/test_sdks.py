"""The real OpenAI SDKs against a gateway started as a user starts it: Python 2.x, Python 3.x, Node."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.sdk

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ALL_WITHIN_S = 600


def python_scenarios() -> list[str]:
    spec = importlib.util.spec_from_file_location("sdk_scenarios", HERE / "scenarios.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names: list[str] = module.names()
    return names


def node_scenarios() -> list[str]:
    return re.findall(r"^  async (\w+)\(", (HERE / "node/scenarios.mjs").read_text(), re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sdk:
    """One release of the SDK: the command that runs its scenarios, and what has to be installed for it."""

    name: str
    command: tuple[str, ...]
    needs: Path
    scenarios: tuple[str, ...]


SDKS = (
    Sdk("python2", (sys.executable, str(HERE / "scenarios.py")), Path(sys.executable), tuple(python_scenarios())),
    Sdk(
        "python3",
        (str(ROOT / ".venv-sdk3/bin/python"), str(HERE / "scenarios.py")),
        ROOT / ".venv-sdk3/bin/python",
        tuple(python_scenarios()),
    ),
    Sdk(
        "node",
        (shutil.which("node") or "node", str(HERE / "node/scenarios.mjs")),
        HERE / "node/node_modules/openai",
        tuple(node_scenarios()),
    ),
)


@pytest.fixture(scope="session")
def results(gateway_server, guarded_gateway_server):
    """What each SDK's scenarios came to; an SDK runs once, when the first of its tests asks."""
    known: dict[str, dict[str, str]] = {}

    def of(sdk: Sdk) -> dict[str, str]:
        if sdk.name not in known:
            if not sdk.needs.exists() or shutil.which(sdk.command[0]) is None:
                pytest.skip(f"{sdk.name} is not installed: run make setup")
            arguments = (gateway_server.base_url, guarded_gateway_server.base_url, guarded_gateway_server.key)
            done = subprocess.run(
                [*sdk.command, *arguments], capture_output=True, text=True, timeout=ALL_WITHIN_S, check=False
            )
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            known[sdk.name] = {line["name"]: line["error"] for line in lines}
            known[sdk.name].setdefault("-", done.stderr)
        return known[sdk.name]

    return of


@pytest.mark.parametrize(
    ("sdk", "scenario"), [pytest.param(sdk, name, id=f"{sdk.name}-{name}") for sdk in SDKS for name in sdk.scenarios]
)
def test_scenario(results, sdk: Sdk, scenario: str):
    found = results(sdk)
    assert scenario in found, f"did not run; the program wrote: {found['-'][-2000:]}"
    assert not found[scenario], found[scenario]


def test_the_sdks_are_the_releases_they_should_be():
    code = "import openai; print(openai.VERSION)"
    majors = {}
    for sdk in SDKS[:2]:
        if not sdk.needs.exists():
            pytest.skip(f"{sdk.name} is not installed: run make setup")
        majors[sdk.name] = subprocess.check_output([sdk.command[0], "-c", code], text=True).partition(".")[0]
    assert majors == {"python2": "2", "python3": "3"}
