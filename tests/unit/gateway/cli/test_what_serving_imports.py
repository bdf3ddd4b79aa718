"""What a start does not wait for: a package that only some gateways need is imported where it is needed."""

from __future__ import annotations

import os
import subprocess
import sys

SERVING = ("fastapi", "uvicorn", "prometheus_client", "tokenizers", "sqlite3", "gateway.app")
LATE = (
    *SERVING,
    "litellm",
    "openai",
    "httpx",
    "aiohttp",
    "redis",
    "structlog",
    "rich",
    "gateway.observe.webhook",
    "gateway.backtest",
)


def imported(code: str) -> list[str]:
    code = f"import sys\n{code}\nprint(*[name for name in {LATE!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    return done.stdout.split()


def test_serving_imports_no_package_that_only_some_gateways_need():
    assert set(imported("import gateway.cli.worker")) <= set(SERVING)


def test_a_process_that_only_watches_workers_imports_nothing_that_answers():
    assert imported("import gateway.cli.serve, gateway.workers") == []


def test_a_console_needs_the_renderer_and_a_webhook_its_client():
    code = (
        "from gateway.observe.logs import LineFormatter; from gateway.observe.watching import Watching\n"
        "from gateway.secrets import Secret\n"
        "LineFormatter(console=True); Watching({}, webhook_url=Secret('https://hooks.example/x'))"
    )
    assert {"structlog", "gateway.observe.webhook"} <= set(imported(code))


def test_serving_starts_no_threads_for_products_and_leaves_what_the_operator_set() -> None:
    code = (
        "import os, sys; from gateway.cli import main\n"
        "main(['serve', '--config', '/nowhere/at-all'])\n"
        "print(os.environ['OPENBLAS_NUM_THREADS'], os.environ['OMP_NUM_THREADS'], len(os.listdir('/proc/self/task')))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("NUM_THREADS")}
    environment |= {"OMP_NUM_THREADS": "3", "PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.split() == ["1", "3", "1"]
