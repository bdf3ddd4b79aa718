"""``moe-gateway stats``: a running gateway's numbers, as a table or as JSON."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

REPORTS: Final = ("providers", "deployments", "tasks", "costs", "win-rates", "anomalies")
WINDOWS: Final = ("hour", "day", "week", "month", "all")
_TIMEOUT_S: Final = 10.0
_DASH: Final = "-"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "stats",
        help="show a running gateway's numbers",
        description="Show what a running gateway measured. Where keys are set, MOE_ADMIN_KEY holds the one to show.",
    )
    parser.add_argument("report", nargs="?", default="providers", choices=REPORTS, help="what to show (providers)")
    parser.add_argument("--window", choices=WINDOWS, default="day", help="how far back (day)")
    parser.add_argument("--task", help="one task type only")
    parser.add_argument("--provider", help="one provider only")
    parser.add_argument("--url", help="the gateway's address (default: http://HOST:PORT of the environment)")
    parser.add_argument("--json", action="store_true", help="print the answer as it came")


def run(args: argparse.Namespace) -> int:
    """Ask and print; returns 0, 1 when the gateway cannot be asked, 2 when it refuses the question."""
    query = {name: getattr(args, name) for name in ("window", "task", "provider") if getattr(args, name)}
    url = args.url or default_url(os.environ)
    try:
        status, body = ask(url, f"/v1/stats/{args.report}?{urlencode(query)}")
    except (OSError, http.client.HTTPException, ValueError) as exc:
        print(unreachable(url, exc), file=sys.stderr)
        return 1
    if status != 200:
        print(explain_refusal(status, body), file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(body, indent=2))
    else:
        print(render(args.report, args.window, body))
    return 0


def default_url(env: Mapping[str, str]) -> str:
    """Return the address a gateway of the same environment listens on."""
    host = env.get("HOST", "127.0.0.1")
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared with, not bound to
        host = "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{env.get('PORT', '8080')}"


def unreachable(url: str, why: Exception) -> str:
    """Return which gateway did not answer, and how to name another."""
    return f"the gateway at {url} cannot be asked: {why} (--url, or HOST and PORT, name another)"


def explain_refusal(status: int, body: Any) -> str:
    """Return why a gateway said no, and what to do about it."""
    error = body.get("error") if isinstance(body, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else f"status {status}"
    return f"the gateway refused: {message}{' (set MOE_ADMIN_KEY)' if status in {401, 403} else ''}"


def ask(url: str, path: str, method: str = "GET", body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
    """Return (status, JSON). Redirects are not followed: the key is for this gateway alone."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"{url!r} is no http address"
        raise ValueError(msg)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)
    key = os.environ.get("MOE_ADMIN_KEY", "")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["content-type"] = "application/json"
        connection.request(method, parts.path.rstrip("/") + path, body=data, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def render(report: str, window: str, body: Mapping[str, Any]) -> str:
    """Return a table of the report's rows, with a line over it."""
    columns = _COLUMNS[report]
    rows = [[show(row) for _, show in columns] for row in body["data"]]
    lines = [_headline(report, window, body)]
    if rows:
        lines += ["", *table([name for name, _ in columns], rows)]
    return "\n".join(lines)


def _headline(report: str, window: str, body: Mapping[str, Any]) -> str:
    over = "since the beginning" if window == "all" else f"over the last {window}"
    if report == "providers":
        all_ = body["summary"]
        saved = all_["savings"]["saved_share"]
        parts = [
            f"{all_['requests']} requests {over}",
            f"{_share(all_['success_rate'])} answered",
            f"p95 {_ms(all_['latency_ms']['p95'])}",
            f"{_usd(all_['cost_usd']['total'])}",
        ]
        if saved is not None:
            parts.append(f"{_share(saved)} saved against always the best model")
        return ", ".join(parts)
    if not body["data"]:
        return f"no {report.replace('-', ' ')} {over}"
    return f"{report.replace('-', ' ')} {over}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines: a header, a rule, the rows; the first column left, the others right."""
    widths = [max(len(line[index]) for line in (header, *rows)) for index in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if not index else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *rest]).rstrip()

    return [line(header), "  ".join("-" * width for width in widths), *(line(row) for row in rows)]


def _ms(value: float | None) -> str:
    if value is None:
        return _DASH
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def _usd(value: float | None) -> str:
    if value is None:
        return _DASH
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.6f}"


def _share(value: float | None) -> str:
    return _DASH if value is None else f"{value:.1%}"


def _unit(value: float | None) -> str:
    return _DASH if value is None else f"{value:.2f}"


def _breaker(row: Mapping[str, Any]) -> str:
    found = row.get("breaker")
    if not found:
        return _DASH
    wait = found.get("retry_in_s")
    return str(found["state"]).replace("_", " ") + (f" {wait:.0f} s" if wait else "")


def _failures(row: Mapping[str, Any]) -> str:
    return " ".join(f"{kind}:{count}" for kind, count in row["failures"].items()) or _DASH


Column = tuple[str, Callable[[Mapping[str, Any]], str]]


def _calls(name: str) -> tuple[Column, ...]:
    return (
        (name, lambda row: str(row[name])),
        ("circuit", _breaker),
        ("requests", lambda row: str(row["requests"])),
        ("success", lambda row: _share(row["success_rate"])),
        ("p50", lambda row: _ms(row["latency_ms"]["p50"])),
        ("p95", lambda row: _ms(row["latency_ms"]["p95"])),
        ("cost", lambda row: _usd(row["cost_usd"]["total"])),
        ("per answer", lambda row: _usd(row["cost_usd"]["per_success"])),
        ("quality", lambda row: _unit(row["quality"]["mean"])),
        ("failures", _failures),
    )


_COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    "providers": _calls("provider"),
    "deployments": _calls("deployment"),
    "tasks": (
        ("task", lambda row: str(row["task"])),
        ("requests", lambda row: str(row["requests"])),
        ("success", lambda row: _share(row["success_rate"])),
        ("p50", lambda row: _ms(row["latency_ms"]["p50"])),
        ("p95", lambda row: _ms(row["latency_ms"]["p95"])),
        ("cost", lambda row: _usd(row["cost_usd"]["total"])),
        ("mostly answered by", lambda row: next(iter(row["answered_by"]), _DASH)),
    ),
    "costs": (
        ("by", lambda row: f"{row['group']} {row['name']}".strip()),
        ("requests", lambda row: str(row["requests"])),
        ("tokens", lambda row: str(row["tokens"])),
        ("cost", lambda row: _usd(row["cost_usd"]["total"])),
        ("per request", lambda row: _usd(row["cost_usd"]["per_request"])),
    ),
    "win-rates": (
        ("deployment", lambda row: f"{row['deployment']} {row['task']}"),
        ("won", lambda row: _share(row["rate"])),
        ("95 % interval", lambda row: f"{_share(row['low'])} to {_share(row['high'])}"),
        ("wins", lambda row: str(row["wins"])),
        ("losses", lambda row: str(row["losses"])),
        ("draws", lambda row: str(row["draws"])),
    ),
    "anomalies": (
        ("deployment", lambda row: str(row["deployment"])),
        ("signal", lambda row: str(row["signal"])),
        ("state", lambda row: str(row["ended"] or row["state"])),
        ("what", lambda row: str(row["text"])),
    ),
}
