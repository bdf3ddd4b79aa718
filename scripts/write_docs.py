"""Write the parts of ``docs/failures.md`` that come from the code's own tables; ``--check`` only compares.

Run: ``python -m scripts.write_docs [--check]``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from router_core.breaker import TRANSITIONS, Signal, State
from router_core.retry_policy import RULES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "failures.md"
BEGIN, END = "<!-- begin {} -->", "<!-- end {} -->"
COUNTS = {
    "yes": "yes",
    "no": "no",
    "long": "opens at once, for `breaker.credentials_open_s`",
    "eject": "no; left alone until its Retry-After",
}


def rules_table() -> str:
    """Return the failure table: one row a kind."""
    rows = ["| kind | same deployment again | next deployment | counts for the breaker |", "|---|---|---|---|"]
    for kind, rule in RULES.items():
        again = "once" if rule.again else "no"
        rows.append(f"| `{kind}` | {again} | {'yes' if rule.next else 'no'} | {COUNTS[str(rule.counts)]} |")
    return "\n".join(rows)


def transitions_table() -> str:
    """Return the circuit's transition table: states down, signals across."""
    rows = ["| state | " + " | ".join(str(signal) for signal in Signal) + " |", "|---" * (len(Signal) + 1) + "|"]
    for state in State:
        cells = [str(TRANSITIONS[state, signal]) for signal in Signal]
        rows.append(f"| **{state}** | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def filled(text: str) -> str:
    """Return the page with its generated parts anew; raises ValueError when a marker is missing."""
    for name, table in (("rules", rules_table()), ("transitions", transitions_table())):
        head, _, rest = text.partition(BEGIN.format(name))
        _, found, tail = rest.partition(END.format(name))
        if not found:
            msg = f"{PAGE.name} lacks the markers of {name!r}"
            raise ValueError(msg)
        text = f"{head}{BEGIN.format(name)}\n{table}\n{END.format(name)}{tail}"
    return text


def main(arguments: list[str]) -> int:
    """Write or check the page; returns 1 when it is not in step."""
    held = PAGE.read_text(encoding="utf-8")
    fresh = filled(held)
    if "--check" in arguments:
        if fresh != held:
            print("docs/failures.md is not in step with the code: run python -m scripts.write_docs")
            return 1
        return 0
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
