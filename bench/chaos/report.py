"""What a chaos run showed: the checks, and the report."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.chaos.load import Sent, share
from bench.chaos.watch import Watch

RESENT = ("close", "reset")
BAD = ("wrong", "truncated", "late", "unshaped")


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything the run left behind: the calls sent, those seen upstream, and what the gateway booked."""

    sent: list[Sent]
    upstream: list[dict[str, Any]]
    booked: dict[str, Any]
    active: list[int]
    watch: Watch
    seed: int
    switched: int
    left_open: int
    health: list[tuple[float, tuple[bool, ...]]]


def judge(seen: Observed) -> list[tuple[str, bool]]:
    """Return what must hold, and whether it did."""
    count = Counter(each.verdict for each in seen.sent)
    requests = sum(int(row["requests"]) for row in seen.booked["tasks"])
    unbooked = unexplained(seen)
    early, late, flat = seen.watch.memory()
    few, many, steady = seen.watch.files()
    before, after, gone = seen.watch.tasks_left()
    times = closing_times(seen.sent, seen.upstream)
    idle = share(seen.watch.idle_s, 0.99)
    half, closing = share(times, 0.5), share(times, 0.99)
    return [
        (f"no wrong text ({count['wrong']})", not count["wrong"]),
        (f"no truncated success ({count['truncated']})", not count["truncated"]),
        (f"nothing later than the deadline + 1 s ({count['late']})", not count["late"]),
        (f"no malformed error or cut connection ({count['unshaped']})", not count["unshaped"]),
        (f"every request booked once ({requests} of {len(seen.sent)})", requests == len(seen.sent)),
        (f"every upstream call booked once ({unbooked} of {len(seen.booked['calls'])} decisions differ)", not unbooked),
        (f"no upstream call left open ({sum(seen.active)})", not any(seen.active)),
        (f"memory flat ({early:.0f} to {late:.0f} MB)", flat),
        (f"open files flat ({few:.0f} to {many:.0f})", steady),
        (f"no task left behind ({before} before, {after} after)", gone),
        (
            f"upstream closed after the client left, p50 {_ms(half)}, p99 {_ms(closing)} (idle call p99 {_ms(idle)})",
            closing is None or closing <= 0.1 + (idle or 0.0),
        ),
    ]


def report(seen: Observed) -> str:
    """Return the run as text."""
    sent = seen.sent
    count = Counter(each.verdict for each in sent)
    bad = [each for each in sent if each.verdict in BAD]
    stayed = max(len(sent) - count["left"], 1)
    broken = Counter(row["fault"] for row in seen.upstream if row["fault"])
    errors = Counter(each.kind for each in sent if each.verdict == "error").most_common()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    length = max(each.ended_at for each in sent) - min(each.started_at for each in sent)
    lines = [
        f"Chaos, {dt.datetime.now(dt.UTC):%Y-%m-%d}, {length:.0f} s, seed {seen.seed}",
        f"{os.cpu_count()} cores, {memory_gb:.0f} GB, Python {platform.python_version()}, revision {commit.strip()}",
        f"{len(sent)} requests, {len(seen.upstream)} upstream calls, {broken.total()} of them broken",
        f"{seen.switched} faults switched on, {len(broken)} kinds met",
        f"whole {count['whole']} ({count['whole'] / stayed:.1%} of those that stayed), errors {count['error']}",
        f"clients that left {count['left']}, bad {len(bad)}",
        f"peak memory {max(seen.watch.rss_mb):.0f} MB, connections over the start {seen.left_open}",
        "errors: " + ", ".join(f"{kind or '?'} {number}" for kind, number in errors),
        f"errors although a provider was well all the while: {_kinds(avoidable(seen))}",
        "",
        *(f"{'holds ' if held else 'BROKEN'}  {name}" for name, held in judge(seen)),
    ]
    for each in bad[:20]:
        how = f"stream={each.stream} recovery={each.recovery}"
        lines.append(f"  {each.verdict}: {each.prompt} {how} {each.detail[:160]} {each.decision}")
    return "\n".join(lines)


def _kinds(sent: Sequence[Sent]) -> str:
    """Return how many, and of which kinds; a stream that broke in the mode that only says so is told apart."""
    told = Counter(
        f"{each.kind} (mode error, in mid-stream)" if each.status == 200 and each.recovery == "error" else each.kind
        for each in sent
    )
    return f"{len(sent)}" + "".join(f", {kind} {count}" for kind, count in told.most_common())


def prompt_of(row: dict[str, Any]) -> str:
    """Return the prompt of a recorded call, whatever the wire."""
    body = row["body"]
    content = body["contents"][0]["parts"] if "contents" in body else body["messages"][0]["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


def avoidable(seen: Observed) -> list[Sent]:
    """Return the calls that ended in an error while at least one provider had no fault at all from start to end."""
    found = []
    for each in seen.sent:
        if each.verdict != "error":
            continue
        before = [well for at, well in seen.health if at <= each.started_at][-1:]
        during = [well for at, well in seen.health if each.started_at < at <= each.ended_at]
        if any(all(column) for column in zip(*before, *during, strict=True)):
            found.append(each)
    return found


def unexplained(seen: Observed) -> int:
    """Return how many decisions name another number of calls than the providers saw.

    A call on a kept connection that the provider closes without a byte is sent once more on a fresh one, within the
    same booked call, as any HTTP client does; only that explains one call more than was booked.
    """
    upstream = Counter(prompt_of(row) for row in seen.upstream)
    resent = Counter(prompt_of(row) for row in seen.upstream if row["fault"] in RESENT)
    return sum(
        1 for prompt, calls in seen.booked["calls"].items() if not 0 <= upstream[prompt] - calls <= resent[prompt]
    )


def closing_times(sent: Sequence[Sent], upstream: Sequence[dict[str, Any]]) -> list[float]:
    """Return, for every client that left, the seconds until its open upstream calls were closed."""
    left = {each.prompt: each.left_at for each in sent if each.left_at is not None}
    found = []
    for row in upstream:
        left_at = left.get(prompt_of(row))
        if left_at is not None and row["closed_at"] is not None and row["closed_at"] > left_at:
            found.append(row["closed_at"] - left_at)
    return found


def _ms(seconds: float | None) -> str:
    return "not measured" if seconds is None else f"{seconds * 1000:.0f} ms"
