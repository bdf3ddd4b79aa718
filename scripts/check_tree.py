"""Check that nothing in the tree speaks of the machine it was written on, or holds a secret.

Looks at every tracked text file, and at files about to be added. A path, a host or a key that belongs to one person's
machine is noise for everybody else at best.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
MAX_BYTES: Final = 1_000_000
"""Files beyond this belong elsewhere; the exceptions stand in LARGE."""
LARGE: Final[frozenset[str]] = frozenset()

# Written with classes such as [k] so that this file does not match itself.
EVERYWHERE: Final = {
    "a path of one machine": re.compile(
        r"(?<![\w.}])/(?:wor[k]|hom[e]/(?!(?:app|someone|user)/)[a-z]\w*|roo[t]|User[s]|opt/wheel[s])/"
    ),
    "a package index": re.compile(
        r"PIP_(?:FIND_LINK[S]|INDEX_UR[L]|EXTRA_INDEX_UR[L])|--(?:find-link[s]|(?:extra-)?index-ur[l])[ =](?=\S)"
        r"|(?i:registry\s*=\s*https?:/[/])"
    ),
    "a private host": re.compile(r"https?://[\w.-]+\.(?:intr[a]|corp[.]?|lan)\b(?!\.example)"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KE[Y]-----"),
}
OUTSIDE_TESTS: Final = {
    "an access key": re.compile(r"\b(?:AKI[A][0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|xox[bp]-[0-9]{10,})"),
    "a provider's key": re.compile(r"\bsk-(?:proj-|ant-|or-)?[A-Za-z0-9_-]{32,}|\bAIz[a][A-Za-z0-9_-]{35}"),
}
"""Tests of scrubbing show keys that were made up."""


def tracked(root: Path) -> list[str]:
    """Every file git knows or would add, as paths from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
    )
    return sorted({name for name in listed.stdout.decode().split("\0") if name})


def problems_of(name: str, data: bytes) -> list[str]:
    """What one file should not hold."""
    found = []
    if len(data) > MAX_BYTES and name not in LARGE:
        found.append(f"{name}: {len(data)} bytes, at most {MAX_BYTES}")
    if b"\0" in data[:8192]:
        return found
    rules = EVERYWHERE if name.startswith("tests/") else EVERYWHERE | OUTSIDE_TESTS
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        found += [f"{name}:{number}: {what}: {line.strip()[:80]}" for what, rule in rules.items() if rule.search(line)]
    return found


def main(root: Path = ROOT) -> int:
    """Print every problem; 1 if there is one."""
    found = []
    for name in tracked(root):
        path = root / name
        if path.is_file() and not path.is_symlink():
            found += problems_of(name, path.read_bytes())
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
