"""The project's own promises: import floors that bite, small files, a clean supply chain, verbs that work."""

from __future__ import annotations

import graphlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import grimp
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def script(name: str) -> ModuleType:
    """A program of scripts/, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MOE_", "HOST", "PORT"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# --- import floors


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """A tree of empty modules under this project's own contracts."""
    modules = [
        *(
            f"router_core/{name}"
            for name in ("errors", "task", "tokens", "snapshot", "eligibility", "scoring", "router")
        ),
        *(f"gateway/{name}/__init__" for name in ("forward", "state", "observe", "config", "http", "cli")),
        *("gateway/forward/litellm_door", "gateway/forward/transport", "gateway/pipeline", "gateway/app"),
    ]
    for name in ("router_core/__init__", "gateway/__init__", *modules):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    return run(sys.executable, "-c", code, "--no-cache", "--no-logo", cwd=tree, PYTHONPATH=str(tree), COLUMNS="400")


def test_the_contracts_hold_for_an_empty_skeleton(skeleton: Path):
    result = lint_imports(skeleton)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("router_core/task.py", "import router_core.tokens", "router_core floors"),
        ("router_core/snapshot.py", "import router_core.scoring", "router_core floors"),
        ("router_core/unheard_of.py", "", "router_core floors"),
        ("router_core/errors.py", "import router_core.task\n", "router_core has no cycles"),
        ("router_core/scoring.py", "import gateway.http", "router_core is pure"),
        ("router_core/scoring.py", "def f():\n    import time", "router_core is pure"),
        ("router_core/scoring.py", "from random import random", "router_core is pure"),
        ("router_core/scoring.py", "import asyncio", "router_core is pure"),
        ("router_core/scoring.py", "import os.path", "router_core is pure"),
        ("router_core/scoring.py", "import pydantic", "router_core is pure"),
        ("gateway/state/__init__.py", "import gateway.observe", "forward, state, observe and config"),
        ("gateway/config/__init__.py", "import gateway.forward.litellm_door", "forward, state, observe and config"),
        ("gateway/pipeline.py", "import gateway.forward.transport", "http and the pipeline"),
        ("gateway/http/__init__.py", "def f():\n    import gateway.state", "http and the pipeline"),
        ("gateway/http/__init__.py", "import gateway.app", "http and the pipeline"),
        ("gateway/forward/transport.py", "import litellm", "litellm is imported by"),
        ("gateway/app.py", "from litellm.router import Router", "litellm is imported by"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(skeleton: Path, file: str, line: str, contract: str):
    (skeleton / "router_core/task.py").write_text("import router_core.errors\n")
    (skeleton / file).write_text(line + "\n")
    result = lint_imports(skeleton)
    assert result.returncode == 1, result.stdout
    broken = [text for text in result.stdout.splitlines() if text.rstrip().endswith("BROKEN")]
    assert any(text.startswith(contract) for text in broken), result.stdout


def test_litellm_is_allowed_where_it_is_carried(skeleton: Path):
    (skeleton / "gateway/forward/litellm_door.py").write_text("def f():\n    import litellm\n")
    (skeleton / "gateway/app.py").write_text("import gateway.forward.litellm_door\n")
    # The composition root reaches litellm through the adapter, which is what the contract means.
    result = lint_imports(skeleton)
    assert result.returncode == 0, result.stdout


def modules_in_a_circle(imports: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_no_file_imports_itself_in_a_circle():
    graph = grimp.build_graph("router_core", "gateway", exclude_type_checking_imports=True, cache_dir=None)
    imports = {name: set(graph.find_modules_directly_imported_by(name)) for name in graph.modules}
    assert len(imports) > 50
    assert modules_in_a_circle(imports) == []
    first = next(name for name, needs in sorted(imports.items()) if needs)
    imports[min(imports[first])] = {first}
    assert modules_in_a_circle(imports)


# --- sizes


def test_a_long_file_and_a_long_function_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sizes = script("check_sizes")
    for package in sizes.PACKAGES:
        (tmp_path / package).mkdir()
    body = "\n".join(f"    x = {number}" for number in range(50))
    (tmp_path / "gateway/fits.py").write_text(
        f'def fits():\n    """One.\n\n    Two.\n    """\n{body[: body.rindex(chr(10))]}\n'
    )
    assert sizes.main(tmp_path) == 0
    (tmp_path / "gateway/grown.py").write_text(f"def grown():\n{body}\n")
    (tmp_path / "router_core/long.py").write_text("x = 1\n" * 301)
    assert sizes.main(tmp_path) == 1
    said = capsys.readouterr().err
    assert "gateway/grown.py:1: grown has 51 lines, at most 50" in said
    assert "router_core/long.py: 301 lines, at most 300" in said


def test_exceptions_to_the_sizes_still_exist_and_have_reasons():
    for name, reason in script("check_sizes").EXCEPTIONS.items():
        assert (ROOT / name.partition("::")[0]).exists()
        assert len(reason) > 10


# --- supply chain

LOCKED = "litellm==1.106.2 \\\n    --hash=sha256:00\n    # via moe-gateway\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LOCKED, None),
        (LOCKED.replace("1.106.2", "1.82.7"), "malicious"),
        (LOCKED.replace("1.106.2", "1.82.8"), "malicious"),
        (LOCKED.replace("litellm==1.106.2", "LiteLLM==1.107.0"), "malicious"),
        ("litellm==1.106.2\n", "no hash"),
        ("litellm>=1.106 \\\n    --hash=sha256:00\n", "not pinned"),
        ("-i https://index.example/simple\n" + LOCKED, "address"),
        ("litellm @ https://files.example/litellm.whl --hash=sha256:00\n", "address"),
    ],
)
def test_a_lock_is_pinned_hashed_and_free_of_addresses(text: str, problem: str | None):
    found = script("check_supply_chain").lock_problems("requirements.lock", text)
    assert (found == []) if problem is None else any(problem in each for each in found)


def test_every_lock_of_the_tree_passes_and_is_looked_at():
    chain = script("check_supply_chain")
    locks = [path for pattern in chain.LOCKS for path in ROOT.glob(pattern)]
    assert {path.relative_to(ROOT).as_posix() for path in locks} >= {
        "requirements.lock",
        "requirements-dev.lock",
        "requirements-uv.lock",
        "tests/sdk/python3x/requirements.lock",
    }
    assert [each for path in locks for each in chain.lock_problems(path.name, path.read_text())] == []
    node = ROOT / "tests/sdk/node/package-lock.json"
    assert chain.npm_problems(node.name, node.read_text()) == []


def test_an_npm_lock_names_no_address():
    entry = {"version": "1.0.0", "integrity": "sha512-00", "resolved": "https://registry.example/a/-/a-1.0.0.tgz"}
    found = script("check_supply_chain").npm_problems(
        "package-lock.json", json.dumps({"packages": {"node_modules/a": entry}})
    )
    assert found == ["package-lock.json: node_modules/a names an address"]


def test_code_that_runs_at_every_start_is_found(tmp_path: Path):
    chain = script("check_supply_chain")
    (tmp_path / "moe_gateway.pth").write_text(f"{chain.ROOT}\n")
    assert chain.site_problems(tmp_path) == []
    (tmp_path / "sitecustomize.py").write_text("")
    (tmp_path / "litellm_init.pth").write_text("import os")
    (tmp_path / "moe_gateway.pth").write_text(f"{chain.ROOT}\nimport os\n")
    assert len(chain.site_problems(tmp_path)) == 3


def test_the_runtime_lock_is_part_of_the_development_lock():
    pattern = script("check_supply_chain").REQUIREMENT

    def pins(name: str) -> dict[str, str]:
        found = (pattern.match(line) for line in (ROOT / name).read_text().splitlines())
        return {match["name"]: match["version"] for match in found if match}

    runtime, development = pins("requirements.lock"), pins("requirements-dev.lock")
    assert len(runtime) > 30
    assert {name: development.get(name) for name in runtime} == runtime


# --- the tree


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("see /wor|k/main/README.md", True),
        ("cd /hom|e/ann/src", True),
        ("pip install --find-li|nks /somewhere x", True),
        ("key = sk-" + "a" * 40, True),
        ("-----BEGIN RSA PRIVATE K|EY-----", True),
        ("import framework/main", False),
        ("key = sk-test", False),
        ("https://api.acme.example/v1", False),
    ],
)
def test_the_tree_check_sees_machines_and_secrets(line: str, found: bool):
    # The bars keep this file itself clean.
    assert bool(script("check_tree").problems_of("docs/a.md", line.replace("|", "").encode())) is found


# --- running it


def test_on_loopback_no_keys_are_made(tmp_path: Path):
    for host in ("127.0.0.1", "localhost", "::1", ""):
        result = run(ROOT / "scripts/with-keys", "env", cwd=tmp_path, HOST=host)
        assert result.returncode == 0
        assert "MOE_API_KEYS" not in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_beyond_loopback_three_keys_are_made_printed_once_and_kept(tmp_path: Path):
    def keys(**environment: str) -> tuple[dict[str, str], str]:
        result = run(
            ROOT / "scripts/with-keys", "env", cwd=tmp_path, HOST="0.0.0.0", MOE_PYTHON=sys.executable, **environment
        )
        assert result.returncode == 0, result.stderr
        pairs = (line.partition("=") for line in result.stdout.splitlines())
        return {name: value for name, _, value in pairs if name.startswith("MOE_")}, result.stderr

    made, said = keys()
    assert set(made) == {"MOE_API_KEYS", "MOE_ADMIN_KEYS", "MOE_METRICS_KEYS"}
    assert len(set(made.values())) == 3
    assert all(len(value) > 40 and said.count(value) == 1 for value in made.values())
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "var/keys").iterdir()} == {0o640}

    again, said = keys()
    assert again == made
    assert said == ""

    given, _ = keys(MOE_API_KEYS="mine", MOE_ADMIN_KEYS_FILE="admins")
    del made["MOE_ADMIN_KEYS"]
    assert given == {**made, "MOE_API_KEYS": "mine", "MOE_ADMIN_KEYS_FILE": "admins"}

    assert keys(MOE_ALLOW_OPEN="1") == ({"MOE_ALLOW_OPEN": "1"}, "")


def test_compose_and_the_scrape_config_fit_together():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = compose["services"]
    assert set(services) == {"gateway", "redis", "prometheus"}
    assert "profiles" not in services["gateway"]
    assert services["gateway"]["ports"] == ["${MOE_PUBLISH_HOST:-127.0.0.1}:${MOE_PUBLISH_PORT:-8080}:8080"]
    scrape = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    assert scrape["static_configs"] == [{"targets": ["gateway:8080"]}]
    assert scrape["authorization"]["credentials_file"] == "/keys/metrics"
    assert "keys:/keys:ro" in services["prometheus"]["volumes"]
    assert "keys:/keys" in services["gateway"]["volumes"]
    image = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in image
    assert "MOE_KEYS_DIR=/keys" in image
    assert "USER 10001:10001" in image
    assert services["prometheus"]["group_add"] == ["10001"]


def test_the_version_is_said_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"moe-gateway:{version}" in (ROOT / "docker-compose.yml").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_a_skip_fails_where_everything_can_be_installed(tmp_path: Path):
    shutil.copy(ROOT / "tests/conftest.py", tmp_path / "conftest.py")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\ndef test_skips():\n    pytest.skip('no server')\n\n"
        "@pytest.mark.xfail(strict=True)\ndef test_known():\n    raise ValueError\n"
    )
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path))
    assert run(*command, cwd=tmp_path, CI="").returncode == 0
    strict = run(*command, cwd=tmp_path, CI="true")
    assert strict.returncode == 1
    assert "1 failed, 1 xfailed" in strict.stdout


@pytest.mark.parametrize(("check", "test", "code"), [(0, 0, 0), (1, 0, 2), (0, 1, 2), (1, 1, 2)])
def test_the_ci_run_keeps_the_exit_code_and_ends_with_the_closing_line(
    tmp_path: Path, check: int, test: int, code: int
):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    closing = "==== 3 passed, 1 skipped in 73.44s (0:01:13) ===="
    (tmp_path / "Makefile").write_text(
        f"check:\n\t@exit {check}\ntest:\n\t@test $$CI = true\n\t@echo '{closing}'; echo after; exit {test}\n"
    )
    result = run("bash", ".ci/run", cwd=tmp_path, CI="")
    assert result.returncode == code
    assert result.stdout.splitlines()[-1] == closing


def test_make_help_names_every_verb():
    said = run("make", "help").stdout
    assert all(f"make {verb} " in said for verb in ("setup", "check", "test", "bench", "run"))
