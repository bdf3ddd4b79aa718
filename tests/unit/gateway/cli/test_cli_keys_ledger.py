from __future__ import annotations

import asyncio
import json

import pytest

from gateway.cli import main
from gateway.keys import KeyRing
from gateway.ledger import rows
from gateway.state import open_store
from router_core.outcome import AttemptOutcome, RequestOutcome, Usage
from router_core.ports import Batch
from router_core.task import TaskType


@pytest.fixture
def url(tmp_path, monkeypatch) -> str:
    found = f"sqlite:///{tmp_path}/state.db"
    monkeypatch.setenv("MOE_STORE_URL", found)
    return found


def ring(url: str) -> KeyRing:
    async def load() -> KeyRing:
        store = open_store(url)
        await store.open()
        found = KeyRing()
        await found.reload(store)
        await store.close()
        return found

    return asyncio.run(load())


def test_who_makes_a_key_learns_what_it_closes(url, capsys, monkeypatch):
    monkeypatch.delenv("MOE_ADMIN_KEYS", raising=False)
    assert main(["keys", "create"]) == 0
    assert "MOE_ADMIN_KEYS" in capsys.readouterr().out
    monkeypatch.setenv("MOE_ADMIN_KEYS", "an-operator-has-one")
    assert main(["keys", "create"]) == 0
    assert "MOE_ADMIN_KEYS" not in capsys.readouterr().out


def test_a_key_lives_from_create_to_revoke(url, capsys):
    options = ["--name", "ci", "--model", "acme/m1", "--tag", "team:a", "--budget", "day=5", "--rpm", "60"]
    assert main(["keys", "create", "--json", *options, "--hint", "min_quality=0.5"]) == 0
    made = json.loads(capsys.readouterr().out)
    principal = ring(url).authenticate(made["token"])
    assert principal.allowed_models == {"acme/m1"}
    assert principal.limits.requests_per_minute == 60
    assert principal.budgets[0].usd == 5.0
    assert dict(principal.default_hints) == {"min_quality": 0.5}

    assert main(["keys", "list", "--json"]) == 0
    shown = capsys.readouterr().out
    assert made["token"] not in shown
    assert json.loads(shown)[0]["id"] == made["id"]

    assert main(["keys", "rotate", made["id"], "--json"]) == 0
    token = json.loads(capsys.readouterr().out)["token"]
    assert ring(url).authenticate(made["token"]) is None
    assert ring(url).authenticate(token) is not None

    assert main(["keys", "revoke", made["id"]]) == 0
    assert "revoked" in capsys.readouterr().out
    assert ring(url).authenticate(token) is None
    assert main(["keys", "list"]) == 0
    assert "revoked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["create", "--budget", "day"], 2, "NAME=VALUE"),
        (["create", "--budget", "week=1"], 2, "budgets"),
        (["create", "--task", "cooking"], 2, "cooking"),
        (["revoke", "nobody"], 1, "no key"),
        (["list", "--store", "memory://"], 2, "memory"),
        (["list", "--store", "what://x"], 1, "known"),
    ],
)
def test_a_wrong_wish_is_said_on_one_line(url, capsys, words, code, said):
    assert main(["keys", *words]) == code
    found = capsys.readouterr()
    assert said in found.err
    assert "Traceback" not in found.err


def fill(url: str) -> None:
    async def work() -> None:
        store = open_store(url)
        await store.open()
        call = AttemptOutcome(
            "acme/m1", "acme", TaskType.GENERAL, 1_767_225_600.0, 0.1, usage=Usage(input=10, output=5), cost_usd=2.0
        )
        outcome = RequestOutcome("d1", call.at, TaskType.GENERAL, 200, 0.1, (call,), served_by="acme/m1", cost_usd=2.0)
        await store.push(Batch("w:1", ledger=rows(outcome, request_id="r1", price_version="v1")))
        await store.close()

    asyncio.run(work())


def test_the_ledger_is_exported_and_checked(url, capsys, tmp_path):
    fill(url)
    assert main(["ledger", "export"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("at,request_id")
    assert len(lines) == 2
    assert main(["ledger", "export", "--format", "json", "--since", "2026-01-02"]) == 0
    assert capsys.readouterr().out == ""

    invoice = tmp_path / "invoice.csv"
    invoice.write_text("date,model,cost_usd\n2026-01-01,m1,2.00\n")
    assert main(["ledger", "check", "--invoice", str(invoice)]) == 0
    assert "0 of 1" in capsys.readouterr().out
    invoice.write_text("date,model,cost_usd\n2026-01-01,m1,3.00\n")
    assert main(["ledger", "check", "--invoice", str(invoice), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["lines"][0]["drift_usd"] == -1.0
    assert main(["ledger", "check", "--invoice", str(tmp_path / "none.csv")]) == 2
    assert main(["ledger", "export", "--since", "yesterday"]) == 2
