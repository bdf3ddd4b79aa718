"""``python -m bench.overhead.compare``: ours with everything on against nginx, LiteLLM Proxy and Portkey.

Every server has one core to itself, the client and the provider the other; rounds are interleaved, so that whatever
else the machine does hits all of them alike. Figures are medians over rounds; the ratios are the ones to trust.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import heading
from bench.overhead.load import Round, drive
from bench.overhead.picture import Bar, draw
from bench.overhead.servers import SERVERS, Server, install
from bench.overhead.setup import MESSAGES, WIRES, upstream

CORE = 1
OPEN = (1, 16, 64)


@dataclass(slots=True)
class Figures:
    """What was measured of one server on one wire, one value a round; times in ms."""

    server: Server
    wire: str
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def median(self, name: str) -> float:
        """Return a figure's median, not a number when it was not measured."""
        found = self.values.get(name)
        return statistics.median(found) if found else float("nan")

    @property
    def label(self) -> str:
        """The row's name."""
        return self.server.name if self.wire == "openai" else f"{self.server.name}, {self.wire} wire"


def body_for(model: str, *, stream: bool) -> dict[str, Any]:
    """Return the request every server gets."""
    return {"model": model, "messages": MESSAGES, "max_tokens": 400, "stream": stream}


async def one_round(figures: Figures, calls: int, direct: Mapping[str, Round] | None) -> None:
    """Measure one server once; ``direct`` is the same without it, at one open call."""
    server = figures.server
    url, model = server.urls[figures.wire], server.models[figures.wire]
    for stream in (False, True):
        kind = "stream" if stream else "request"
        for count in OPEN if not stream else OPEN[:2]:
            n = max(20, calls // (1 if count > 1 else 4) // (4 if stream else 1))
            found = await drive(url, body_for(model, stream=stream), n, count, server.cpu_s, server.headers)
            figures.values[f"{kind} cpu {count}"].append(found.cpu_s / n * 1000)
            figures.values[f"{kind} rate {count}"].append(n / found.took_s)
            if count == 1 and direct is not None:
                straight = direct[kind]
                for name, part in (("p50", 0.5), ("p99", 0.99)):
                    added = quantile(found.walls, part) - quantile(straight.walls, part)
                    figures.values[f"{kind} {name}"].append(added * 1000)
                if stream:
                    first = statistics.median(found.firsts) - statistics.median(straight.firsts)
                    figures.values["first"].append(first * 1000)


def quantile(values: list[float], part: float) -> float:
    """Return a quantile by the nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(part * len(ranked)))]


async def straight(base: str, wire: str, calls: int) -> dict[str, Round]:
    """Measure the provider without anything before it."""
    url = base + ("/chat/completions" if wire == "openai" else "/v1/messages")
    found = {}
    for kind, stream in (("request", False), ("stream", True)):
        n = max(20, calls // 4 // (4 if stream else 1))
        found[kind] = await drive(url, body_for("bench-model", stream=stream), n, 1, float)
    return found


COLUMNS = (
    ("CPU ms/request", "request cpu 64", 3),
    ("CPU ms/stream", "stream cpu 16", 3),
    ("req/s 1", "request rate 1", 0),
    ("req/s 16", "request rate 16", 0),
    ("req/s 64", "request rate 64", 0),
    ("+p50 ms", "request p50", 2),
    ("+p99 ms", "request p99", 2),
    ("+first ms", "first", 2),
    ("MiB", "memory", 0),
    ("start s", "start", 1),
)


def table(rows: list[Figures]) -> str:
    """Return the figures as text, and each row's CPU as a multiple of ours on the same wire."""
    lines = [f"{'':34}" + "".join(f"{head:>15}" for head, _, _ in COLUMNS)]
    lines += [
        f"{row.label:34}" + "".join(f"{row.median(name):>15.{digits}f}" for _, name, digits in COLUMNS) for row in rows
    ]
    ours = {row.wire: row for row in rows if row.server.name == "moe-gateway"}
    lines += ["", "CPU as a multiple of ours on the same wire (above 1: they need more)"]
    for row in rows:
        if row.server.name != "moe-gateway" and row.wire in ours:
            mine = ours[row.wire]
            request = row.median("request cpu 64") / mine.median("request cpu 64")
            stream = row.median("stream cpu 16") / mine.median("stream cpu 16")
            lines.append(f"{row.label:34} request {request:6.2f} x   stream of 50 chunks {stream:6.2f} x")
    return "\n".join(lines)


def main() -> None:
    """Start everything, measure in turns, print, and keep what was printed."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead.compare", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=256, help="calls a round at 16 and 64 open")
    parser.add_argument("--only", nargs="*", choices=list(SERVERS), default=list(SERVERS))
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--svg", type=Path, help="also draw the picture to this file")
    chosen = parser.parse_args()
    install()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bases = {wire: stack.enter_context(upstream(wire)) for wire in WIRES}
        rows: list[Figures] = []
        for name in chosen.only:
            try:
                server: Server = stack.enter_context(SERVERS[name](bases, folder, CORE))
            except (RuntimeError, OSError) as exc:
                print(f"# {name} is left out: {exc}")
                continue
            rows += [Figures(server, wire) for wire in server.urls]
        for number in range(chosen.rounds + 1):
            for row in rows:
                direct = asyncio.run(straight(bases[row.wire], row.wire, chosen.calls))
                asyncio.run(one_round(row, chosen.calls, direct))
            if number == 0:  # the first round warms
                for row in rows:
                    row.values.clear()
        for row in rows:
            row.values["memory"] = [row.server.memory_mib()]
            row.values["start"] = [row.server.start_s]
    head = heading("bench.overhead.compare")
    told = f"# {chosen.rounds} rounds, medians; every server on one core; 1 kB prompts; ours with everything on"
    text = f"{head}\n{told}\n\n{table(rows)}\n"
    print(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")
    if chosen.svg:
        bars = [Bar(row.label, row.median("request cpu 64"), row.median("stream cpu 16")) for row in rows]
        chosen.svg.write_text(draw(bars, head), encoding="utf-8")


if __name__ == "__main__":
    main()
