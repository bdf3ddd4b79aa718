"""One demo provider as a process: ``python -m gateway.demo.child --wire openai --name demo-openai --port 0``.

It prints one line of JSON (name, wire, port, pid) when it listens, stops at once on SIGTERM, and never outlives its
parent: the kernel kills it, and where the kernel cannot, the end of standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiohttp import web

from gateway.demo.server import DemoServer
from gateway.demo.wires import WIRE_NAMES

_PR_SET_PDEATHSIG: Final = 1


def main(arguments: list[str] | None = None) -> int:
    """Run one provider until it is told to stop. Exit codes: 0 stopped, 2 bad arguments."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.child", description="One demo provider on loopback.")
    parser.add_argument("--wire", choices=WIRE_NAMES, required=True, help="whose wire to speak")
    parser.add_argument("--name", default="demo", help="the provider's name")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--models", default="", help="comma-separated names it serves; none: any name is served")
    parser.add_argument("--seed", type=int, default=0, help="varies the answers")
    parser.add_argument("--watch-stdin", action="store_true", help="also stop when standard input ends")
    chosen = parser.parse_args(arguments)
    models = tuple(name for name in chosen.models.split(",") if name)
    die_with_parent()
    server = DemoServer(chosen.wire, chosen.name, models, chosen.seed)
    run = _runner()
    with contextlib.suppress(KeyboardInterrupt):
        run(_serve(server, chosen.port, watch_stdin=chosen.watch_stdin))
    return 0


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends (Linux only; elsewhere nothing happens)."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended between the two calls
        sys.exit(0)


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    try:
        import uvloop  # noqa: PLC0415 - it comes with the web server, not on every platform
    except ImportError:
        return asyncio.run
    return uvloop.run


async def _serve(server: DemoServer, port: int, *, watch_stdin: bool) -> None:
    runner = web.ServerRunner(server.http_server(), handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
    await site.start()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if watch_stdin:
        loop.add_reader(sys.stdin.fileno(), _on_stdin, stopped)
    gc.freeze()
    row = {"name": server.name, "wire": server.wire.name, "port": runner.addresses[0][1], "pid": os.getpid()}
    print(json.dumps(row), flush=True)
    await stopped.wait()
    # A provider that is told to stop stops at once: open streams break, as they do when a machine goes away.
    os._exit(0)


def _on_stdin(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        stopped.set()


if __name__ == "__main__":
    sys.exit(main())
