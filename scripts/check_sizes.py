"""Keep files and functions small: a file that wants to grow is two ideas.

Lines of files count as they are; a function counts without its docstring. An exception needs a reason.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("router_core", "gateway")
FILE_LINES: Final = 300
FUNCTION_LINES: Final = 50
EXACT: Final = {"router_core/router.py": 120}
"""Files with a limit of their own."""
EXCEPTIONS: Final = {
    "router_core/policy.py": "one frozen value for each section of policy.yaml: fields with units and ranges, no logic",
}
"""``path`` or ``path::function`` -> why it may be longer."""


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, less the docstring's."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def problems_of(path: Path, name: str) -> list[str]:
    """What is too long in one file."""
    text = path.read_text(encoding="utf-8")
    found = []
    lines, limit = len(text.splitlines()), EXACT.get(name, FILE_LINES)
    if lines > limit and name not in EXCEPTIONS:
        found.append(f"{name}: {lines} lines, at most {limit}")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return [*found, f"{name}:{error.lineno}: {error.msg}"]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = length(node)
            if size > FUNCTION_LINES and f"{name}::{node.name}" not in EXCEPTIONS:
                found.append(f"{name}:{node.lineno}: {node.name} has {size} lines, at most {FUNCTION_LINES}")
    return found


def main(root: Path = ROOT) -> int:
    """Print every file and function that is too long; 1 if there is one."""
    found = [
        problem
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        for problem in problems_of(path, path.relative_to(root).as_posix())
    ]
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
