from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from gateway.clock import ManualClock
from gateway.http.live import Live, LiveDeployment
from gateway.observe.observer import Observer
from tests.fakes.outcomes import attempt, traffic

ROOT = Path(__file__).parents[4]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "moe-gateway.json"
NOW = 1_760_000_123.0
_NAME = re.compile(r"\b(?:moe_gateway|gen_ai)_\w+")
_LABELS = re.compile(r"(\w+)(?:=~|!~|!=|=)\"")


def promtool(*arguments: str, given: bytes | None = None) -> None:
    done = subprocess.run(
        ["promtool", *arguments], check=False, cwd=RULES.parent, input=given, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def exposed() -> tuple[set[str], set[str]]:
    """Return the names and labels of a busy gateway's metrics."""
    watcher = Observer(now=ManualClock(time=NOW).time)
    for outcome in traffic(200, start=NOW - 60, seconds=60):
        for each in outcome.attempts:
            watcher.attempt(each)
        watcher.request(outcome, {})
    for number in range(400):
        watcher.attempt(attempt("acme/large", NOW, failure="server" if number > 300 else None))
    names = ("acme/large", "beta/medium", "gamma/small")
    live = Live(tuple(LiveDeployment(name, *name.split("/")) for name in names))
    text = watcher.exposition(live).decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    return {re.split(r"[{ ]", line)[0] for line in samples}, {
        found for line in samples for found in _LABELS.findall(line)
    }


def expressions() -> list[str]:
    rules = yaml.safe_load(RULES.read_text())
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    board = json.loads(DASHBOARD.read_text())
    panels = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [*alerts, *panels, *(item["definition"] for item in board["templating"]["list"] if "definition" in item)]


def test_rules_and_dashboard_ask_for_metrics_and_labels_that_exist():
    names, labels = exposed()
    for expression in expressions():
        assert set(_NAME.findall(expression)) <= names, expression
        assert set(_LABELS.findall(expression)) <= labels | {"instance", "job"}, expression


def test_every_panel_has_its_own_place():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (package prometheus) is not installed")
@pytest.mark.parametrize("arguments", [["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]])
def test_promtool_accepts_the_rules(arguments: list[str]):
    promtool(*arguments)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (package prometheus) is not installed")
def test_promtool_can_read_every_panel(tmp_path: Path):
    fill = {"$__rate_interval": "5m", "$__range": "6h", "$instance": ".*"}
    rules = []
    for expression in expressions()[:-1]:
        for name, value in fill.items():
            expression = expression.replace(name, value)  # noqa: PLW2901 - filled in step by step
        rules.append({"record": f"panel:{len(rules)}", "expr": expression})
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(path))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (package prometheus) is not installed")
def test_promtool_finds_nothing_wrong_with_a_scrape():
    watcher = Observer(now=ManualClock(time=NOW).time)
    for outcome in traffic(50, start=NOW - 60, seconds=60):
        watcher.request(outcome, {})
    promtool("check", "metrics", given=watcher.exposition(Live()))
