"""A bar chart as SVG, drawn by hand: readable on light and dark pages, no library, the same bytes for the same data."""

from __future__ import annotations

from html import escape
from operator import attrgetter
from typing import NamedTuple

WIDTH, ROW, LEFT, BARS = 860, 34, 250, 520
OURS, OTHERS = "#2f8f6b", "#8a94a6"


class Bar(NamedTuple):
    """One server: CPU in ms."""

    name: str
    request: float
    stream: float


def draw(rows: list[Bar], note: str) -> str:
    """Return two charts, the leanest first in each."""
    top = 66
    parts: list[str] = []
    charts = (("CPU per request, ms", attrgetter("request")), ("CPU per stream of 50 chunks, ms", attrgetter("stream")))
    for title, read in charts:
        ranked = sorted(rows, key=read)
        most = max(map(read, ranked))
        parts.append(f'<text x="24" y="{top}" class="t">{title}</text>')
        for row in ranked:
            top += ROW
            value = read(row)
            size = max(2.0, value / most * BARS)
            colour = OURS if row.name.startswith("moe-gateway") else OTHERS
            parts += [
                f'<text x="{LEFT - 12}" y="{top + 4}" text-anchor="end" class="n">{escape(row.name)}</text>',
                f'<rect x="{LEFT}" y="{top - 9}" width="{size:.1f}" height="18" rx="3" fill="{colour}"/>',
                f'<text x="{LEFT + size + 8:.1f}" y="{top + 4}" class="n">{value:.2f}</text>',
            ]
        top += 58
    height = top - 14
    style = (
        "text{font-family:system-ui,sans-serif;fill:#1f2733}.h{font-size:18px;font-weight:600}"
        ".t{font-size:14px;font-weight:600}.n{font-size:13px}.s{font-size:11px;fill:#667}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            "<title>CPU time that a gateway adds to each call</title>",
            f"<style>{style}</style>",
            f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#fbfcfe" stroke="#d8dde6"/>',
            '<text x="24" y="34" class="h">CPU time a gateway adds to each call (less is better)</text>',
            *parts,
            f'<text x="24" y="{height - 14}" class="s">{escape(note.removeprefix("# "))}</text>',
            "</svg>",
            "",
        ]
    )
