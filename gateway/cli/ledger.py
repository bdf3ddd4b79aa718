"""``moe-gateway ledger``: export the booked calls, or hold them against a provider's invoice."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from gateway.config.problems import ConfigInvalid
from gateway.config.settings import Settings
from gateway.ledger import Drift, InvoiceError, as_csv, compare, read, read_invoice
from gateway.state import open_store
from gateway.store_errors import StoreError


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "ledger",
        help="export booked calls, check them against an invoice",
        description="Every call the gateway made is one row of its ledger.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = actions.add_parser("export", help="write rows as CSV or JSON lines")
    export.add_argument("--format", choices=("csv", "json"), default="csv")
    export.add_argument("--key", metavar="ID", help="rows of one key only")
    check = actions.add_parser(
        "check", help="find drift against a provider's invoice", description="Exit code 1: drift."
    )
    check.add_argument(
        "--invoice", type=Path, required=True, metavar="FILE", help="CSV: date, model, cost_usd, provider"
    )
    check.add_argument("--tolerance", type=float, default=0.01, metavar="SHARE", help="drift that is let pass (0.01)")
    check.add_argument("--minimum-usd", type=float, default=0.01, metavar="USD", help="smaller differences never count")
    check.add_argument("--json", action="store_true", help="print JSON")
    for each in (export, check):
        each.add_argument("--store", metavar="URL", help="the gateway's store (default: MOE_STORE_URL)")
        each.add_argument("--since", metavar="DATE", help="first day, UTC, as 2026-01-31")
        each.add_argument("--until", metavar="DATE", help="the day after the last one")


def run(args: argparse.Namespace) -> int:
    """Carry the action out; 0 well, 1 drift or a store that failed, 2 wrong usage."""
    try:
        url = args.store or Settings.from_env(os.environ, {}).store_url
        window = {"since": _second(args.since) or 0.0, "until": _second(args.until)}
        if args.action == "export":
            asyncio.run(_export(args, url, window))
            return 0
        billed = read_invoice(args.invoice.read_text(encoding="utf-8"))
        drifts = asyncio.run(_compare(url, window, billed))
    except (ConfigInvalid, InvoiceError, ValueError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 2
    except StoreError as exc:
        print(exc, file=sys.stderr)
        return 1
    off = [one for one in drifts if one.share > args.tolerance and abs(one.drift_usd) >= args.minimum_usd]
    print(_as_json(drifts, off) if args.json else _as_text(drifts, off))
    return 1 if off else 0


def _second(date: str | None) -> float | None:
    return None if date is None else datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()


async def _export(args: argparse.Namespace, url: str, window: dict[str, Any]) -> None:
    store = open_store(url)
    await store.open()
    try:
        held: list[Mapping[str, Any]] = []
        if args.format == "csv":
            print(as_csv(()), end="")
        async for row in read(store, key_id=args.key, **window):
            held.append(row)
            if len(held) >= 1000:
                _write(args.format, held)
                held = []
        _write(args.format, held)
    finally:
        await store.close()


def _write(shape: str, held: list[Mapping[str, Any]]) -> None:
    if shape == "csv":
        print(as_csv(held, header=False), end="")
    else:
        for row in held:
            print(orjson.dumps(row).decode())


async def _compare(url: str, window: dict[str, Any], billed: list[dict[str, Any]]) -> list[Drift]:
    store = open_store(url)
    await store.open()
    try:
        return compare([row async for row in read(store, **window)], billed)
    finally:
        await store.close()


def _as_json(drifts: list[Drift], off: list[Drift]) -> str:
    table = [
        {
            "day": one.day, "provider": one.provider, "model": one.model, "booked_usd": one.booked_usd,
            "billed_usd": one.billed_usd, "drift_usd": one.drift_usd, "share": one.share,
            "booked_tokens": one.booked_tokens, "billed_tokens": one.billed_tokens, "drifted": one in off,
        }
        for one in drifts
    ]  # fmt: skip
    return orjson.dumps({"ok": not off, "drifted": len(off), "lines": table}, option=orjson.OPT_INDENT_2).decode()


def _as_text(drifts: list[Drift], off: list[Drift]) -> str:
    lines = [f"{'day':10} {'model':32} {'booked USD':>12} {'billed USD':>12} {'drift USD':>12} {'share':>7}"]
    for one in drifts:
        mark = "  <- drift" if one in off else ""
        name = f"{one.provider}/{one.model}" if one.provider else one.model
        amounts = f"{one.booked_usd:12.6f} {one.billed_usd:12.6f} {one.drift_usd:12.6f} {one.share:7.1%}"
        lines.append(f"{one.day:10} {name[:32]:32} {amounts}{mark}")
    lines.append(f"{len(off)} of {len(drifts)} lines drift.")
    return "\n".join(lines)
