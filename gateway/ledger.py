"""The ledger: every call that was made is a row, and the rows of a request add up to what it cost.

Rows are written by the recorder's batches and read here: exported, kept for a while, held against an invoice.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final

import orjson

from router_core.outcome import AttemptOutcome, RequestOutcome
from router_core.ports import LedgerStore

__all__ = [
    "COLUMNS",
    "Drift",
    "InvoiceError",
    "Unbalanced",
    "as_csv",
    "balance",
    "compare",
    "read",
    "read_invoice",
    "rows",
]

KINDS: Final = ("input", "cached_input", "cache_write", "output", "reasoning")
COLUMNS: Final = (
    "at", "request_id", "decision_id", "attempt", "deployment", "provider", "model", "role", "task", "ok", "failure",
    "status", *KINDS, "total_tokens", "estimated", "price_version", "cost_usd", "cost_source", "key_id", "tags",
    "stream", "duration_ms", "upstream_id", "served",
)  # fmt: skip
_CENT_OF_A_CENT: Final = 1e-9
_tokens: Final = itemgetter(*KINDS)


class Unbalanced(ValueError):
    """Rows that do not add up to the request they came from."""


class InvoiceError(ValueError):
    """An invoice that cannot be read; the message names line and column."""


def rows(outcome: RequestOutcome, *, request_id: str, price_version: str) -> list[dict[str, Any]]:
    """Return one row a call, in the order the calls were started; raises Unbalanced when they do not add up.

    Tokens are counted in five disjoint kinds whose sum is ``total_tokens``; ``at`` is wall-clock seconds, money USD.
    """
    served = _served(outcome)
    made = []
    for number, attempt in enumerate(outcome.attempts):
        row = _call(attempt)
        row["request_id"] = request_id
        row["decision_id"] = outcome.decision_id
        row["attempt"] = number
        row["price_version"] = price_version
        row["key_id"] = outcome.key_id
        row["tags"] = list(outcome.tags)
        row["served"] = number == served
        made.append(row)
    balance(made, outcome)
    return made


def _served(outcome: RequestOutcome) -> int | None:
    found = [n for n, one in enumerate(outcome.attempts) if one.ok and one.deployment == outcome.served_by]
    return found[-1] if found else None


def _call(attempt: AttemptOutcome) -> dict[str, Any]:
    usage = attempt.usage
    name = attempt.deployment.partition("#")[0]
    return {
        "at": attempt.at,
        "deployment": attempt.deployment,
        "provider": attempt.provider,
        "model": name.partition("/")[2] or name,
        "role": str(attempt.role),
        "task": str(attempt.task),
        "ok": attempt.ok,
        "failure": None if attempt.failure is None else str(attempt.failure.kind),
        "status": attempt.status,
        "input": usage.input,
        "cached_input": usage.cached_input,
        "cache_write": usage.cache_write,
        "output": usage.output,
        "reasoning": usage.reasoning,
        "total_tokens": usage.total,
        "estimated": usage.estimated,
        "cost_usd": attempt.cost_usd,
        "cost_source": str(attempt.cost_source),
        "stream": attempt.stream,
        "duration_ms": round(attempt.duration_s * 1000.0, 3),
        "upstream_id": attempt.upstream_id,
    }


def balance(made: Sequence[Mapping[str, Any]], outcome: RequestOutcome) -> None:
    """Check that rows partition a request: kinds add up to totals, costs to its cost."""
    for row in made:
        if sum(_tokens(row)) != row["total_tokens"]:
            msg = f"attempt {row['attempt']} of {outcome.decision_id}: its kinds of tokens do not add up to the total"
            raise Unbalanced(msg)
        if not 0.0 <= row["cost_usd"] < math.inf:
            msg = f"attempt {row['attempt']} of {outcome.decision_id}: its cost is {row['cost_usd']!r}"
            raise Unbalanced(msg)
    total = math.fsum([row["cost_usd"] for row in made])
    off = abs(total - outcome.cost_usd)
    if off > _CENT_OF_A_CENT and off > 1e-9 * total:
        msg = f"{outcome.decision_id}: its calls cost {total:.9f} USD, the request {outcome.cost_usd:.9f} USD"
        raise Unbalanced(msg)


async def read(
    store: LedgerStore, *, since: float = 0.0, until: float | None = None, key_id: str | None = None, page: int = 1000
) -> AsyncIterator[Mapping[str, Any]]:
    """Yield booked rows of ``since <= at < until`` (wall-clock seconds), page by page; raises StoreError."""
    after = ""
    while True:
        found = await store.ledger(since=since, until=until, after=after, limit=page)
        for _, row in found:
            if key_id is None or row.get("key_id") == key_id:
                yield row
        if len(found) < page:
            return
        after = found[-1][0]


def as_csv(found: Iterable[Mapping[str, Any]], *, header: bool = True) -> str:
    """Write rows as CSV; a text that a spreadsheet would take for a formula is written behind an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for row in found:
        writer.writerow([_cell(row.get(name)) for name in COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, (list, tuple, dict)):
        return orjson.dumps(value).decode()
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    return "" if value is None else value


@dataclass(frozen=True, slots=True)
class Drift:
    """One day and model, as booked here and as billed there; money in USD, ``share`` of the billed amount."""

    day: str
    provider: str
    model: str
    booked_usd: float
    billed_usd: float
    booked_tokens: int
    billed_tokens: int | None

    @property
    def drift_usd(self) -> float:
        """Booked minus billed."""
        return self.booked_usd - self.billed_usd

    @property
    def share(self) -> float:
        """How far off the booking is, as a share of the bill; 1 when only one side knows of it."""
        if self.billed_usd <= 0.0:
            return 1.0 if self.booked_usd > 0.0 else 0.0
        return abs(self.drift_usd) / self.billed_usd


_NAMES: Final = {
    "day": ("date", "day", "usage_date", "start_date"),
    "provider": ("provider", "vendor"),
    "model": ("model", "model_name", "snapshot", "sku"),
    "cost": ("cost_usd", "cost", "amount_usd", "amount", "usd"),
    "tokens": ("total_tokens", "tokens"),
}


def read_invoice(text: str) -> list[dict[str, Any]]:
    """Read a provider's bill: CSV with a date, a model, a cost in USD, and if there are any a provider and tokens.

    Raises InvoiceError, naming the line. Columns are found by their usual names.
    """
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    headers = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    columns = {key: next((headers[name] for name in names if name in headers), None) for key, names in _NAMES.items()}
    missing = [key for key in ("day", "model", "cost") if columns[key] is None]
    if missing:
        wanted = "; ".join(f"{key}: one of {', '.join(_NAMES[key])}" for key in missing)
        msg = f"line 1: the invoice lacks a column for {wanted}"
        raise InvoiceError(msg)
    lines = []
    for number, line in enumerate(reader, start=2):
        try:
            tokens = line.get(columns["tokens"] or "") if columns["tokens"] else None
            cost = float(str(line[columns["cost"]]).strip().lstrip("$"))
            if not math.isfinite(cost):
                raise ValueError(cost)  # noqa: TRY301 - same refusal as a word where a number should be
            lines.append(
                {
                    "day": str(line[columns["day"]])[:10],
                    "provider": str(line[columns["provider"]]).strip() if columns["provider"] else "",
                    "model": str(line[columns["model"]]).strip(),
                    "cost": cost,
                    "tokens": int(float(tokens)) if tokens else None,
                }
            )
        except (TypeError, ValueError, KeyError) as exc:
            msg = f"line {number}: {exc}"
            raise InvoiceError(msg) from exc
    return lines


def compare(booked: Iterable[Mapping[str, Any]], billed: Iterable[Mapping[str, Any]]) -> list[Drift]:
    """Hold the ledger against an invoice, by day (UTC) and model; the largest difference first.

    A bill without a provider's name is matched by model alone. Days the invoice does not speak of are left out.
    """
    lines = list(billed)
    named = any(line["provider"] for line in lines)
    days = {line["day"] for line in lines}
    costs: dict[tuple[str, str, str], list[list[float]]] = {}

    def entry(day: str, provider: str, model: str) -> list[list[float]]:
        return costs.setdefault((day, provider.lower() if named else "", model.lower()), [[], [], [], []])

    for line in lines:
        found = entry(line["day"], line["provider"], line["model"])
        found[1].append(line["cost"])
        if line["tokens"] is not None:
            found[3].append(line["tokens"])
    for row in booked:
        day = datetime.fromtimestamp(float(row["at"]), UTC).strftime("%Y-%m-%d")
        if day in days:
            found = entry(day, str(row["provider"]), str(row["model"]))
            found[0].append(float(row["cost_usd"]))
            found[2].append(int(row["total_tokens"]))
    drifts = [
        Drift(day, provider, model, math.fsum(a), math.fsum(b), int(sum(c)), int(sum(d)) if d else None)
        for (day, provider, model), (a, b, c, d) in costs.items()
    ]
    return sorted(drifts, key=lambda drift: -abs(drift.drift_usd))
