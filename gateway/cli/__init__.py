"""``moe-gateway``: one command a file. Exit codes: 0 well, 1 failed, 2 wrong usage or configuration."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from gateway import VERSION
from gateway.memory import collector_rests

COMMANDS = ("serve", "check", "explain", "stats", "keys", "calibrate", "backtest", "ledger", "experiments")

_THREADS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
"""One, unless the operator says otherwise: numpy would start one per core, for products too small to be shared out."""


def parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser with those of the named commands that are there."""
    top = argparse.ArgumentParser(
        prog="moe-gateway",
        description="An OpenAI-compatible LLM gateway that decides well.",
        epilog="Run 'moe-gateway COMMAND --help' for one command's options.",
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in names:
        try:
            module = _module(name)
        except ModuleNotFoundError as exc:
            if exc.name != f"gateway.cli.{name}":
                raise
            continue
        module.add_parser(commands)
    return top


def _module(name: str) -> Any:
    with collector_rests():
        return importlib.import_module(f"gateway.cli.{name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    given = sys.argv[1:] if argv is None else argv
    if given and given[0] == "serve":
        for name in _THREADS:
            os.environ.setdefault(name, "1")
    # The command alone when it is known: nobody should wait for what the others import.
    args = parser(given[:1] if given and given[0] in COMMANDS else COMMANDS).parse_args(given)
    module = _module(args.command)
    try:
        return int(module.run(args))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
