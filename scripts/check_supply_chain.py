"""Check what is installed and what the locks promise.

- every requirement in a lock is pinned and has hashes, and no lock names an address
- no lock names a release known to be malicious
- the environment runs no code at interpreter start that we do not know: no ``sitecustomize``, no stranger's ``.pth``
"""

from __future__ import annotations

import json
import re
import sys
import sysconfig
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCKS: Final = ("requirements*.lock", "tests/sdk/*/requirements.lock", "bench/**/requirements*.lock")
NPM_LOCKS: Final = ("tests/sdk/*/package-lock.json", "bench/**/package-lock.json")

BAD_RELEASES: Final = {("litellm", "1.82.7"), ("litellm", "1.82.8"), ("litellm", "1.107.0")}
"""Uploaded by thieves of the maintainers' keys in March and October 2026; they sent the environment away."""

KNOWN_PTH: Final = {
    "a1_coverage.pth": (
        "import sys; exec('"
        'import os\\n\\nif os.getenv("COVERAGE_PROCESS_START") or os.getenv("COVERAGE_PROCESS_CONFIG"):'
        '\\n try:\\n  import coverage\\n except:\\n  pass\\n else:\\n  coverage.process_startup(slug="pth")\')'
    ),
    "distutils-precedence.pth": (
        "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local'; "
        "enabled and __import__('_distutils_hack').add_shim();"
    ),
    "moe_gateway.pth": str(ROOT),
}
"""File name -> exactly what it holds. They come from coverage, from setuptools, and from this project's setup."""

REQUIREMENT: Final = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
ADDRESS: Final = re.compile(
    r"(?:https?|git\+\w+|ftp|file)://|^\s*(?:-i|-f|--index-url|--extra-index-url|--find-links)\b"
)


def lock_problems(name: str, text: str) -> list[str]:
    """What is wrong with one requirements lock."""
    found = []
    # A requirement and its hashes are one logical line, joined by backslashes.
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if ADDRESS.search(line):
            found.append(f"{name}: names an address: {line[:80]}")
            continue
        pinned = REQUIREMENT.match(line)
        if pinned is None:
            found.append(f"{name}: not pinned: {line[:80]}")
            continue
        package, version = pinned["name"].lower().replace("_", "-"), pinned["version"]
        if "--hash=sha256:" not in line:
            found.append(f"{name}: {package} has no hash")
        if (package, version) in BAD_RELEASES:
            found.append(f"{name}: {package} {version} is a malicious release")
    return found


def npm_problems(name: str, text: str) -> list[str]:
    """What is wrong with one package-lock.json."""
    found = []
    for path, entry in json.loads(text).get("packages", {}).items():
        if not path or entry.get("link"):
            continue
        if "resolved" in entry:
            found.append(f"{name}: {path} names an address")
        if "integrity" not in entry:
            found.append(f"{name}: {path} has no hash")
    return found


def site_problems(site: Path) -> list[str]:
    """What starts with every interpreter of this environment and should not."""
    found = [
        f"{path.name} stands in site-packages: it runs at every start"
        for module in ("sitecustomize", "usercustomize")
        for path in site.glob(f"{module}*")
    ]
    for path in sorted(site.glob("*.pth")):
        known = KNOWN_PTH.get(path.name)
        if known is None:
            found.append(f"{path.name} stands in site-packages and is not known")
        elif path.read_text(encoding="utf-8").strip() != known:
            found.append(f"{path.name} in site-packages does not hold what it should")
    return found


def main(root: Path = ROOT, site: Path | None = None) -> int:
    """Print every problem; 1 if there is one."""
    found: list[str] = []
    locks = [path for pattern in LOCKS for path in sorted(root.glob(pattern))]
    if not locks:
        found.append("no lock at all")
    for path in locks:
        found += lock_problems(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    for path in (path for pattern in NPM_LOCKS for path in sorted(root.glob(pattern))):
        if "node_modules" not in path.parts:
            found += npm_problems(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    found += site_problems(site or Path(sysconfig.get_path("purelib")))
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
