"""Check that the files made by a program are what the program would make now."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
GENERATORS: Final = {
    "config/models.schema.json": "gateway.config.schema",
    "config/models.yaml": "scripts.write_models",
    "docs/failures.md": "scripts.write_docs",
}
"""A file in the tree -> the module that writes it, and that compares it when called with ``--check``."""


def exists(module: str) -> bool:
    """Whether the module is part of this checkout."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def main() -> int:
    """Ask every generator; 1 if a file is stale, or stands there with nothing that writes it."""
    sys.path.insert(0, str(ROOT))
    stale = 0
    for file, module in GENERATORS.items():
        if exists(module):
            stale |= subprocess.run([sys.executable, "-m", module, "--check"], cwd=ROOT, check=False).returncode != 0
        elif (ROOT / file).exists():
            print(f"{file} stands in the tree, but {module} that writes it does not", file=sys.stderr)
            stale = 1
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
