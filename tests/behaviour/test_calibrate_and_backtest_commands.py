"""``moe-gateway calibrate`` and ``backtest`` as a user calls them: from a file, from the gateway's own traffic, stopped
and resumed, from its own log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.edge import ADMIN, CLIENT, Edge, bearer, models, running_edge
from tests.fakes.gateway import ROOT
from tests.unit.gateway.test_backtest import rows

pytestmark = pytest.mark.anyio

SECRET_WORDS = "the blue heron of Aunt Wilhelmina"
POLICY: dict[str, Any] = {
    "capture": {"enabled": True},
    "exploration": {"share": 0.3, "probe_share": 0.0, "max_score_gap": 100},
    "breaker": {"consecutive_failures": 10_000, "min_calls": 10_000, "provider_opens": False},
}


@dataclass
class Told:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@dataclass
class Site:
    """A gateway with traffic behind it, and the folder a user works in."""

    edge: Edge
    folder: Path
    store: str
    decisions: list[str]

    async def run(self, *words: str, **environment: str) -> Told:
        """Call ``moe-gateway`` in the folder, with nobody's settings."""
        inherited = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY") and not k.startswith("MOE_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.cli",
            *words,
            cwd=self.folder,
            env={**inherited, "PYTHONPATH": str(ROOT), "MOE_API_KEY": CLIENT, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 300)
        return Told(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture(scope="module")
async def site(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Two models; thirty distinct prompts were answered, every answer was voted on, one key opted out of capture."""
    folder = tmp_path_factory.mktemp("commands")
    store = f"sqlite:///{folder}/state.db"
    environment = {"MOE_API_KEYS": CLIENT, "MOE_ADMIN_KEYS": ADMIN}
    async with running_edge(
        folder, policy=POLICY, store=store, environment=environment, keys=bearer(CLIENT), admin=bearer(ADMIN)
    ) as edge:
        decisions = []
        for number in range(30):
            asked = [{"role": "user", "content": f"{SECRET_WORDS}, question {number}: what is {number} plus one?"}]
            seen = await edge.chat(model="auto", messages=asked)
            assert seen.status == 200, seen.body
            decisions.append(seen.headers["x-router-decision-id"])
            good = "alpha" in seen.headers["x-router-deployment"]
            vote = {"decision_id": decisions[-1], "score": 1.0 if good else 0.0}
            accepted = await edge.request("POST", "/v1/feedback", json=vote)
            assert accepted.json["status"] == "accepted", accepted.body
        made = await edge.request("POST", "/admin/keys", edge.admin, json={"name": "shy", "capture": False})
        assert made.status in {200, 201}, made.body
        shy = [{"role": "user", "content": "a secret of the shy key"}]
        seen = await edge.request(
            "POST", "/v1/chat/completions", bearer(made.json["token"]), json={"model": "auto", "messages": shy}
        )
        assert seen.status == 200, seen.body
        await written(store, decisions=31, prompts=30)
        yield Site(edge, folder, store, decisions)


async def written(store: str, *, decisions: int, prompts: int) -> None:
    """Wait until the store has the records and the prompts of what was asked."""
    wanted = {"decision": decisions, "prompt": prompts}
    async with asyncio.timeout(60):
        while True:
            with contextlib.closing(sqlite3.connect(store.removeprefix("sqlite:///"), timeout=60)) as database:
                found = dict(database.execute("select kind, count(*) from documents group by kind"))
            if all(found.get(kind, 0) >= count for kind, count in wanted.items()):
                return
            await asyncio.sleep(0.1)


def prompts_file(site: Site, count: int = 24) -> Path:
    """Sums with their expected answers; the fake providers echo what they are asked, so half of them are right."""
    path = site.folder / "mine.jsonl"
    lines = [{"id": f"m{i}", "prompt": f"Say the word number{i}", "expected": f"number{i}"} for i in range(count)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


async def test_prompts_are_kept_only_of_keys_that_did_not_opt_out(site: Site):
    with sqlite3.connect(site.store.removeprefix("sqlite:///")) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        assert tables
        whole = "\n".join(str(row) for table in tables for row in database.execute(f"select * from {table}"))
    assert SECRET_WORDS in whole
    assert "a secret of the shy key" not in whole


async def test_a_calibration_from_a_file_leaves_a_file_a_report_and_a_picture(site: Site):
    prompts = prompts_file(site)
    given = ("--prompts", str(prompts), "--budget-usd", "1", "--url", site.edge.gateway.origin, "--out", "cal.json")
    told = await site.run("calibrate", *given)
    assert told.code == 0, told
    assert "24/24" in told.err
    assert told.err.count("\n") >= 1
    report = (site.folder / "cal.md").read_text(encoding="utf-8")
    assert "alpha/small" in report
    assert "beta/small" in report
    assert "cal.svg" in report
    ET.fromstring((site.folder / "cal.svg").read_text(encoding="utf-8"))
    calibration = json.loads((site.folder / "cal.json").read_text(encoding="utf-8"))
    assert set(calibration["priors"]) == {"alpha/small", "beta/small"}
    answers = [json.loads(line) for line in (site.folder / "cal.answers.jsonl").read_bytes().splitlines()]
    assert len(answers) == 48


async def test_a_stopped_run_goes_on_and_asks_nobody_twice(site: Site):
    prompts = prompts_file(site)
    given = ("--prompts", str(prompts), "--url", site.edge.gateway.origin, "--out", "half.json")
    first = await site.run("calibrate", *given, "--budget-usd", "0.0013")
    assert first.code == 1, first
    assert "budget" in first.err or "cannot pay" in first.err
    before = (site.folder / "half.answers.jsonl").read_bytes().count(b"\n")
    assert 0 < before < 48
    site.edge.reset()
    second = await site.run("calibrate", *given, "--budget-usd", "1", "--resume")
    assert second.code == 0, second
    assert len(site.edge.calls) == 48 - before


async def test_a_calibration_from_traffic_draws_prompts_that_were_kept(site: Site):
    given = ("--sample", "25", "--store", site.store, "--budget-usd", "1", "--out", "own.json")
    told = await site.run("calibrate", *given, "--url", site.edge.gateway.origin)
    assert told.code == 0, told
    assert "25/25" in told.err
    drawn = [json.loads(line) for line in (site.folder / "own.prompts.jsonl").read_bytes().splitlines()]
    assert len({row["id"] for row in drawn}) == 25
    assert {row["id"] for row in drawn} <= set(site.decisions)
    assert all(SECRET_WORDS in row["request"]["messages"][0]["content"] for row in drawn)
    assert (site.folder / "own.prompts.jsonl").stat().st_mode & 0o077 == 0
    assert SECRET_WORDS not in told.out + told.err
    assert SECRET_WORDS not in (site.folder / "own.json").read_text() + (site.folder / "own.md").read_text()
    site.edge.reset()
    again = await site.run("calibrate", *given, "--url", site.edge.gateway.origin, "--resume")
    assert again.code == 0, again
    assert site.edge.calls == []


async def test_a_store_without_prompts_and_wrong_usage_say_what_to_do(site: Site):
    empty = await site.run("calibrate", "--sample", "5", "--store", "sqlite:///none.db", "--budget-usd", "1")
    assert (empty.code, "capture.enabled" in empty.err) == (1, True), empty
    neither = await site.run("calibrate", "--budget-usd", "1")
    assert neither.code == 2
    assert "--prompts" in neither.err
    nothing = await site.run("calibrate", "--sample", "0", "--budget-usd", "1")
    assert (nothing.code, "at least 1" in nothing.err) == (2, True)


async def test_the_gateway_s_own_log_is_estimated_under_another_policy(site: Site):
    config = site.folder / "config"
    new = site.folder / "new.yaml"
    new.write_text(yaml.safe_dump({"policies": {"balanced": {"cost": 0}}, **POLICY}), encoding="utf-8")
    given = ("--policy", str(new), "--config", str(config))
    told = await site.run("backtest", "--store", site.store, *given, "--json")
    assert told.code == 0, told
    figures = json.loads(told.out)
    assert figures["judged"] == 30
    assert figures["decisions"] >= 31
    assert 0.0 <= figures["estimates"]["quality, live"]["value"] <= 1.0
    records = []
    for name in site.decisions:
        seen = await site.edge.request("GET", f"/v1/decisions/{name}")
        assert seen.status == 200, seen.body
        reward = 1.0 if "alpha" in seen.json["outcome"]["served_by"] else 0.0
        records.append({**seen.json, "reward": reward})
    log = site.folder / "log.jsonl"
    log.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    same = await site.run("backtest", "--log", str(log), *given, "--json")
    assert same.code == 0, same
    theirs = json.loads(same.out)["estimates"]
    for estimate, found in figures["estimates"].items():
        assert theirs[estimate]["value"] == pytest.approx(found["value"], rel=1e-6, abs=1e-9), estimate
    table = await site.run("backtest", "--log", str(log), *given)
    assert "quality, new (DR)" in table.out
    missing = await site.run("backtest", "--log", str(log))
    assert (missing.code, "--policy" in missing.err) == (2, True)


async def test_recordings_are_replayed_online_and_by_fold(site: Site):
    corpus = site.folder / "recorded.jsonl"
    corpus.write_text("\n".join(map(json.dumps, rows(160))), encoding="utf-8")
    online = await site.run("backtest", "--corpus", str(corpus), "--online", "--shuffles", "1", "--warm", "60")
    assert online.code == 0, online
    assert "best fixed in hindsight" in online.out
    assert "warm start, pruned" in online.out
    choices = site.folder / "choices.jsonl"
    fold = ("--test-fold", "3", "--choices", str(choices))
    static = await site.run("backtest", "--corpus", str(corpus), *fold)
    assert static.code == 0, static
    assert "router" in static.out
    assert {"prompt_id", "weight", "model"} == set(json.loads(choices.read_text().splitlines()[0]))


async def test_the_gateway_uses_a_calibration_beside_its_configuration(site: Site):
    setup = models({}, alpha=site.edge.providers["alpha"], beta=site.edge.providers["beta"])
    folder = site.folder / "calibrated"
    folder.mkdir()
    (folder / "models.yaml").write_text(yaml.safe_dump(setup), encoding="utf-8")
    (folder / "policy.yaml").write_text("{}", encoding="utf-8")
    (folder / "calibration.json").write_bytes((site.folder / "cal.json").read_bytes())
    told = await site.run("explain", "--config", str(folder), "What is 3 plus 4?", "--json")
    assert told.code == 0, told
    priors = json.loads((site.folder / "cal.json").read_text())["priors"]
    found = json.loads(told.out)
    known = {row["deployment"]: row["facts"]["known"]["quality"] for row in found["candidates"]}
    assert known["alpha/small"] != 0.5
    assert set(known) == set(priors)
