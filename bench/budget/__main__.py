"""``python -m bench.budget``: 4 workers, 200 clients, a budget of $1.00, calls of $0.013 at worst, $0.004 in truth."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench.budget.run import spend
from tests.fakes.ports import free_port


def _redis(folder: Path) -> tuple[subprocess.Popen[bytes], str] | None:
    binary = shutil.which("redis-server")
    if binary is None:
        return None
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    return process, f"redis://127.0.0.1:{port}/0"


def main() -> None:
    print(
        f"{'store':8} {'killed':6} {'spent USD':>9} {'usable':>7} {'calls':>6} {'seconds':>8} {'waited':>7} {'429':>5}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        redis = _redis(folder)
        stores = [("sqlite", f"sqlite:///{folder}/state-%d.db")]
        if redis is not None:
            stores.append(("redis", f"{redis[1]}?prefix=bench%d"))
        try:
            number = 0
            for store, url in stores:
                for kill in (False, True):
                    number += 1
                    result = spend(url % number, folder, kill=kill)
                    spent = f"{store:8} {'one' if kill else '-':6} {result.spent:9.4f} {result.usable:7.1%}"
                    print(f"{spent} {result.calls:6} {result.seconds:8.1f} {result.waited:7} {result.refused_429:5}")
        finally:
            if redis is not None:
                redis[0].terminate()
                redis[0].wait()


if __name__ == "__main__":
    main()
