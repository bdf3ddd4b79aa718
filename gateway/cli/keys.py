"""``moe-gateway keys``: create, list, rotate and revoke virtual keys in the store the gateway uses."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.config.problems import ConfigInvalid
from gateway.config.settings import Settings
from gateway.key_record import KeyAdmin, KeyRecord, UnknownKey
from gateway.state import open_store
from gateway.store_errors import StoreError
from router_core.errors import ConfigError


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "keys",
        help="manage virtual keys",
        description="Create, list, rotate and revoke virtual keys. The token is shown once; only its hash is kept.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a key and show its token")
    create.add_argument("--name", default="", help="what it is for")
    create.add_argument("--model", action="append", metavar="ID", help="a model it may use; repeat; default: all")
    create.add_argument(
        "--task", action="append", metavar="TASK", help="a task it may be used for; repeat; default: all"
    )
    create.add_argument("--policy", help="its default policy")
    create.add_argument("--hint", action="append", default=[], metavar="NAME=VALUE", help="a default hint; repeat")
    create.add_argument("--tag", action="append", default=[], metavar="TAG", help="for budgets and experiments; repeat")
    create.add_argument("--budget", action="append", default=[], metavar="WINDOW=USD", help="hour, day, month or total")
    create.add_argument("--rpm", type=int, metavar="N", help="requests per minute")
    create.add_argument("--tpm", type=int, metavar="N", help="tokens per minute")
    create.add_argument("--in-flight", type=int, metavar="N", help="requests open at the same time")
    create.add_argument("--expires-days", type=float, metavar="DAYS", help="when it ends by itself")
    create.add_argument("--no-capture", action="store_true", help="never keep the text of its prompts")
    show = actions.add_parser("list", help="show all keys, without their tokens")
    rotate = actions.add_parser("rotate", help="give a key a new token")
    rotate.add_argument("id")
    rotate.add_argument(
        "--grace-minutes", type=float, default=0.0, metavar="N", help="how long the old token stays good"
    )
    revoke = actions.add_parser("revoke", help="end a key; it stops everywhere within a second")
    revoke.add_argument("id")
    for each in (create, show, rotate, revoke):
        each.add_argument("--store", metavar="URL", help="the gateway's store (default: MOE_STORE_URL)")
        each.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Carry the action out; 0 well, 1 failed, 2 wrong usage."""
    try:
        url = args.store or Settings.from_env(os.environ, {}).store_url
        if url.startswith("memory:"):
            message = "a store in memory cannot be reached from here: use SQLite, Redis, or the gateway's /admin/keys"
            return _fail(args, message, 2)
        result = asyncio.run(_act(args, url))
    except (ConfigError, ConfigInvalid) as exc:
        return _fail(args, str(exc), 2)
    except (UnknownKey, StoreError) as exc:
        return _fail(args, str(exc), 1)
    print(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode() if args.json else _text(result))
    return 0


def _fail(args: argparse.Namespace, message: str, code: int) -> int:
    print(orjson.dumps({"ok": False, "error": message}).decode() if args.json else message, file=sys.stderr)
    return code


async def _act(args: argparse.Namespace, url: str) -> Any:
    store = open_store(url)
    await store.open()
    try:
        admin = KeyAdmin(store)
        match args.action:
            case "create":
                return _with_token(*await admin.create(wishes(args)))
            case "rotate":
                return _with_token(*await admin.rotate(args.id, grace_s=args.grace_minutes * 60.0))
            case "revoke":
                return (await admin.revoke(args.id)).shown()
            case _:
                return [record.shown() for record in await admin.list()]
    finally:
        await store.close()


def wishes(args: argparse.Namespace) -> dict[str, Any]:
    """Return a key's fields from the command line; raises ConfigError for a pair that is none."""
    expires = None if args.expires_days is None else time.time() + args.expires_days * 86_400.0
    budgets = [{"window": window, "usd": amount} for window, amount in map(_pair, args.budget)]
    return {
        "name": args.name,
        "models": args.model,
        "tasks": args.task,
        "policy": args.policy,
        "hints": {name: _value(value) for name, value in map(_pair, args.hint)},
        "tags": args.tag,
        "budgets": budgets,
        "limits": {
            "requests_per_minute": args.rpm,
            "tokens_per_minute": args.tpm,
            "max_in_flight": args.in_flight,
        },
        "capture": not args.no_capture,
        "expires_at": expires,
    }


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        msg = f"{text!r} must be NAME=VALUE"
        raise ConfigError(msg)
    return name, value


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _with_token(record: KeyRecord, token: str) -> dict[str, Any]:
    return {**record.shown(), "token": token}


def _closing(env: Mapping[str, str]) -> str:
    """Return what the first key changes for a gateway that was open, where nothing says that it has others."""
    if any(env.get(name) for name in ("MOE_ADMIN_KEYS", "MOE_ADMIN_KEYS_FILE")):
        return ""
    return "\nA gateway with a key asks everybody for one; its dashboard then needs one of MOE_ADMIN_KEYS."


def _text(result: Any) -> str:
    if isinstance(result, dict):
        head = f"key {result['id']}" + (f" ({result['name']})" if result["name"] else "")
        if "token" in result:
            return f"{head}\n{result['token']}\nThis token is not shown again.{_closing(os.environ)}"
        return f"{head} is revoked."
    lines = [f"{'id':10} {'state':8} {'budgets':24} {'models':24} name"]
    now = time.time()
    for key in result:
        ended = key["expires_at"] is not None and key["expires_at"] <= now
        state = "revoked" if key["revoked_at"] else "expired" if ended else "active"
        budgets = " ".join(f"{one['usd']:g}/{one['window']}" for one in key["budgets"]) or "-"
        models = " ".join(key["models"]) if key["models"] is not None else "all"
        lines.append(f"{key['id']:10} {state:8} {budgets[:24]:24} {models[:24]:24} {key['name']}")
    return "\n".join(lines)
