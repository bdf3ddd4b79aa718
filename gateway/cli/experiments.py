"""``moe-gateway experiments``: make, start, stop and read the A/B tests of a running gateway."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from gateway.cli.stats import ask, default_url, explain_refusal, table, unreachable

_PATH: Final = "/v1/experiments"
_MOVES: Final = {
    "start": "let it assign requests to its arms",
    "stop": "let it assign no more; it can be started again",
    "conclude": "end it for good",
}


def add_parser(commands: Any) -> None:
    """Add the command and what it can do."""
    parser = commands.add_parser(
        "experiments",
        help="make and read A/B tests of a running gateway",
        description="A/B tests of a running gateway. Where keys are set, MOE_ADMIN_KEY holds the one to show.",
    )
    parser.set_defaults(url=None, json=False)
    _add_common(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="all experiments, the newest first")
    show = actions.add_parser("show", help="one experiment: its arms, what was measured, who is better")
    show.add_argument("id")
    for name, meaning in _MOVES.items():
        move = actions.add_parser(name, help=meaning)
        move.add_argument("id")
        move.add_argument("--reason", help="kept with the experiment")
    _add_create(actions)
    for each in actions.choices.values():
        _add_common(each)


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Add what may stand before the action and behind it; what is not said behind it leaves what was said before."""
    kept = argparse.SUPPRESS
    address = "the gateway's address (default: http://HOST:PORT of the environment)"
    parser.add_argument("--url", default=kept, help=address)
    parser.add_argument("--json", action="store_true", default=kept, help="print the answer as it came")


def _add_create(actions: Any) -> None:
    create = actions.add_parser("create", help="make a draft; 'start' begins it")
    create.add_argument("name")
    create.add_argument(
        "--arm",
        action="append",
        nargs="+",
        required=True,
        metavar="WORD",
        help="NAME deployment|policy VALUE [SHARE]; twice or more, the control first",
    )
    create.add_argument("--task", help="requests of this task type only")
    create.add_argument("--tag", help="requests of keys with this tag only")
    create.add_argument("--route", help="requests for this route (default: those for auto and its kin)")
    create.add_argument("--metric", choices=("reward", "success", "cost", "latency"), help="what decides (reward)")
    create.add_argument("--min-samples", type=int, help="per arm, before a winner is named (50)")
    create.add_argument("--ends", metavar="DATE", help="when it is concluded, as YYYY-MM-DD (UTC)")
    create.add_argument("--hypothesis", help="what you expect, in words")
    create.add_argument("--success-drop", type=float, help="stop when an arm's success falls by more (0.1)")
    create.add_argument("--latency-factor", type=float, help="stop when an arm is so many times slower")
    create.add_argument("--cost-factor", type=float, help="stop when an arm costs so many times more")


def run(args: argparse.Namespace) -> int:
    """Ask and print; returns 0, 1 when the gateway cannot be asked, 2 when it refuses or an option is wrong."""
    url = args.url or default_url(os.environ)
    try:
        status, body = ask(url, *_question(args))
    except Wrong as exc:
        print(str(exc), file=sys.stderr)
        return 2
    except (OSError, http.client.HTTPException, ValueError) as exc:
        print(unreachable(url, exc), file=sys.stderr)
        return 1
    if status not in {200, 201}:
        print(explain_refusal(status, body), file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(body, indent=2))
    elif args.action == "list":
        print(render_list(body["data"]))
    else:
        print(render_one(body))
    return 0


class Wrong(Exception):
    """An option that cannot be."""


def _question(args: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
    """Return (path, method, body)."""
    if args.action == "list":
        return _PATH, "GET", None
    if args.action == "create":
        return _PATH, "POST", wishes(args)
    one = f"{_PATH}/{quote(args.id, safe='')}"
    if args.action == "show":
        return one, "GET", None
    return f"{one}/{args.action}", "POST", {"reason": args.reason} if args.reason else {}


def wishes(args: argparse.Namespace) -> dict[str, Any]:
    """Return the body that makes an experiment; raises Wrong for an arm or a date that cannot be read."""
    body: dict[str, Any] = {"name": args.name, "arms": [_arm(words) for words in args.arm]}
    for name in ("task", "tag", "route", "metric", "hypothesis", "min_samples"):
        if getattr(args, name) is not None:
            body[name] = getattr(args, name)
    if args.ends is not None:
        try:
            body["ends_at"] = datetime.strptime(args.ends, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
        except ValueError as exc:
            msg = f"--ends must be a date such as 2030-01-31, not {args.ends!r}"
            raise Wrong(msg) from exc
    rails = {name: getattr(args, name) for name in ("success_drop", "latency_factor", "cost_factor")}
    rails = {name: value for name, value in rails.items() if value is not None}
    if rails:
        body["guardrails"] = rails
    return body


def _arm(words: Sequence[str]) -> dict[str, Any]:
    if len(words) not in {3, 4} or words[1] not in {"deployment", "policy"}:
        msg = f"--arm must be NAME deployment|policy VALUE [SHARE], not {' '.join(words)!r}"
        raise Wrong(msg)
    arm: dict[str, Any] = {"name": words[0], words[1]: words[2]}
    if len(words) == 4:
        try:
            arm["share"] = float(words[3])
        except ValueError as exc:
            msg = f"the share of arm {words[0]!r} must be a number, not {words[3]!r}"
            raise Wrong(msg) from exc
    return arm


def render_list(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of experiments."""
    if not rows:
        return "no experiments"
    header = ("id", "name", "state", "samples", "verdict")
    cells = [
        (row["id"], row["name"], row["state"], str(sum(arm["n"] for arm in row["arms"])), row["result"]["verdict"])
        for row in rows
    ]
    return "\n".join(table(header, cells))


def render_one(row: Mapping[str, Any]) -> str:
    """Return one experiment: what it is, its arms, how they compare."""
    where = [row["task"], row["tag"] and f"tag {row['tag']}", row["route"] and f"route {row['route']}"]
    about = ", ".join(filter(None, where)) or "every request for an alias"
    lines = [f"{row['id']}  {row['name']}  {row['state']}" + (f" ({row['reason']})" if row["reason"] else "")]
    lines += [f"{about}; decided by {row['metric']}: {row['result']['verdict']}", ""]
    header = ("arm", "is", "share", "n", "reward", "success", "cost $", "latency ms")
    cells = [
        (
            arm["name"],
            arm["deployment"] or f"policy {arm['policy']}",
            f"{arm['share']:.0%}",
            str(arm["n"]),
            *(_measured(arm[name]) for name in ("reward", "success", "cost_usd", "latency_ms")),
        )
        for arm in row["arms"]
    ]
    lines += table(header, cells)
    for each in row["result"]["comparisons"]:
        if each["low"] is not None:
            lines.append(
                f"{each['arm']} against {row['arms'][0]['name']}: {each['difference']:+.4g} "
                f"({each['low']:+.4g} to {each['high']:+.4g})" + (", decided" if each["decided"] else "")
            )
    return "\n".join(lines)


def _measured(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "-"
    if value["low"] is None:
        return f"{value['mean']:.4g}"
    return f"{value['mean']:.4g} ({value['low']:.4g}-{value['high']:.4g})"
