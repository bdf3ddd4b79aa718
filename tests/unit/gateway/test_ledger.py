from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from gateway.ledger import COLUMNS, InvoiceError, Unbalanced, as_csv, balance, compare, read, read_invoice, rows
from gateway.state.memory import MemoryStore
from router_core.outcome import AttemptOutcome, AttemptRole, CostSource, Failure, FailureKind, RequestOutcome, Usage
from router_core.ports import Batch
from router_core.task import TaskType

pytestmark = pytest.mark.anyio

DAY = 1_767_225_600.0  # 2026-01-01


def attempt(deployment: str = "acme/m1", **changes) -> AttemptOutcome:
    values = {
        "provider": deployment.partition("/")[0],
        "task": TaskType.GENERAL,
        "at": DAY + 10.0,
        "duration_s": 0.25,
        "usage": Usage(10, 20, 5, 7, 3),
        "cost_usd": 0.01,
        "status": 200,
    }
    return AttemptOutcome(deployment, **{**values, **changes})


def outcome(*attempts: AttemptOutcome, **changes) -> RequestOutcome:
    values = {
        "served_by": attempts[-1].deployment if attempts else None,
        "cost_usd": sum(one.cost_usd for one in attempts),
        "key_id": "k1",
        "tags": ("team:a",),
    }
    return RequestOutcome("d1", DAY, TaskType.GENERAL, 200, 0.5, attempts, **{**values, **changes})


def test_every_call_is_a_row_and_they_add_up():
    broken = attempt(
        "acme/m1#eu",
        failure=Failure(FailureKind.TIMEOUT),
        usage=Usage(),
        cost_usd=0.002,
        cost_source=CostSource.ESTIMATE,
    )
    answered = attempt("beta/m2", role=AttemptRole.FALLBACK)
    first, second = rows(outcome(broken, answered), request_id="r1", price_version="v7")
    assert (first["model"], first["failure"], first["ok"], first["served"]) == ("m1", "timeout", False, False)
    assert (second["model"], second["role"], second["served"]) == ("m2", "fallback", True)
    assert (
        second["total_tokens"]
        == 45
        == sum(second[kind] for kind in ("input", "cached_input", "cache_write", "output", "reasoning"))
    )
    assert {row["price_version"] for row in (first, second)} == {"v7"}
    assert {row["request_id"] for row in (first, second)} == {"r1"}
    assert first["cost_usd"] + second["cost_usd"] == pytest.approx(0.012)
    assert set(first) == set(COLUMNS)


def test_a_request_that_costs_something_else_than_its_calls_is_refused():
    with pytest.raises(Unbalanced, match="cost"):
        rows(outcome(attempt(), cost_usd=0.02), request_id="r", price_version="v")


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -0.01])
def test_a_cost_that_cannot_be_is_refused(cost):
    with pytest.raises(Unbalanced):
        rows(outcome(attempt(cost_usd=cost)), request_id="r", price_version="v")


def test_kinds_that_do_not_add_up_are_refused():
    made = rows(outcome(attempt()), request_id="r", price_version="v")
    made[0]["output"] += 1
    with pytest.raises(Unbalanced, match="kinds"):
        balance(made, outcome(attempt()))


def test_a_request_without_calls_has_no_rows():
    assert rows(replace(outcome(), status=402), request_id="r", price_version="v") == []


async def test_rows_come_back_page_by_page_and_by_key():
    store = MemoryStore()
    for number in range(7):
        made = rows(outcome(attempt(), key_id=f"k{number % 2}"), request_id=f"r{number}", price_version="v")
        await store.push(Batch(f"w:{number}", ledger=made))
    assert [row["request_id"] async for row in read(store, page=3)] == [f"r{number}" for number in range(7)]
    assert [row["request_id"] async for row in read(store, page=2, key_id="k1")] == ["r1", "r3", "r5"]
    assert [row async for row in read(store, until=DAY)] == []


def test_csv_is_whole_and_no_formula_gets_into_a_spreadsheet():
    row = rows(outcome(attempt(upstream_id='=cmd|"x"'), tags=("a", "b")), request_id="-1+1", price_version="v")[0]
    (parsed,) = csv.DictReader(io.StringIO(as_csv([row])))
    assert parsed["upstream_id"].startswith("'=")
    assert parsed["request_id"] == "'-1+1"
    assert parsed["tags"] == '["a","b"]'
    assert parsed["failure"] == ""
    assert float(parsed["cost_usd"]) == 0.01


def booked(model: str, cost: float, day: float = DAY, provider: str = "acme") -> dict:
    return {"at": day + 5.0, "provider": provider, "model": model, "cost_usd": cost, "total_tokens": 100}


def test_drift_is_found_by_day_and_model():
    invoice = read_invoice(
        "date,provider,model,cost_usd,total_tokens\n2026-01-01,acme,m1,$3.00,300\n2026-01-01,acme,m2,1,\n"
    )
    drifts = compare([booked("m1", 1.0), booked("m1", 1.0), booked("m2", 1.0), booked("m1", 9.0, DAY + 86400)], invoice)
    worst, fine = drifts
    assert (worst.model, worst.drift_usd, round(worst.share, 4)) == ("m1", -1.0, 0.3333)
    assert (worst.booked_tokens, worst.billed_tokens) == (200, 300)
    assert (fine.model, fine.share, fine.billed_tokens) == ("m2", 0.0, None)


def test_what_only_one_side_knows_is_drift():
    invoice = read_invoice("day,model,amount\n2026-01-01,m1,2\n")
    drifts = {one.model: one for one in compare([booked("m9", 1.0)], invoice)}
    assert drifts["m1"].share == 1.0
    assert drifts["m9"].share == 1.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1"),
        ("date,model\n2026-01-01,m1\n", "cost"),
        ("date,model,cost\n2026-01-01,m1,abc\n", "line 2"),
        ("date,model,cost\n2026-01-01,m1,1\n2026-01-01,m1,nan\n", "line 3"),
        ("date,model,cost,tokens\n2026-01-01,m1,1,many\n", "line 2"),
    ],
)
def test_an_unreadable_invoice_names_its_line(text, words):
    with pytest.raises(InvoiceError, match=words):
        read_invoice(text)
