"""``moe-gateway serve``: listen and answer until told to stop."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from typing import Any

from gateway.config.problems import ConfigInvalid
from gateway.config.settings import VARIABLES, Settings, check_bind
from gateway.configured import has_callable, load_config
from gateway.demo.fleet import FLEET, DemoFailed, DemoProvider, hand_down, spawn, stop_fleet
from gateway.memory import collector_rests
from gateway.workers import WORKER, Workers, bind


def add_parser(commands: Any) -> None:
    """Add the command."""
    told = "\n".join(f"  {name:24} {meaning}" for name, meaning in VARIABLES.items())
    parser = commands.add_parser(
        "serve",
        help="listen and answer requests",
        description="Listen and answer requests. Without any provider key the built-in demo providers are used.",
        epilog=f"environment:\n{told}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", dest="config_dir", metavar="DIR", help="folder of models.yaml and policy.yaml")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default 8080; 0: any free one)")
    parser.add_argument("--workers", type=int, help="worker processes (default 1)")
    parser.add_argument("--store", dest="store_url", metavar="URL", help="where learned state is kept")


def run(args: argparse.Namespace) -> int:
    """Serve; returns 0 after a clean stop, 2 for a configuration that cannot be, 1 when the port is taken."""
    flags = {name: getattr(args, name) for name in ("config_dir", "host", "port", "workers", "store_url")}
    if flags["config_dir"] is not None:
        from pathlib import Path

        flags["config_dir"] = Path(flags["config_dir"])
    try:
        settings = Settings.from_env(os.environ, flags)
        check_bind(settings)
    except ConfigInvalid as exc:
        print(exc, file=sys.stderr)
        return 2
    if settings.workers > 1 and WORKER not in os.environ:
        return run_workers(settings)
    try:
        listener = listen(settings)
    except OSError as exc:
        return not_free(settings, exc)
    with collector_rests():
        # All that answers; a process that only watches workers needs none of it.
        from gateway.cli.worker import run_worker
    try:
        return run_worker(settings, listener)
    except (ConfigInvalid, DemoFailed) as exc:
        return not_started(exc)


def run_workers(settings: Settings) -> int:
    """Run several workers until told to stop; the demo providers, where they are needed, are this process's."""
    fleet: list[DemoProvider] = []
    try:
        bind(settings.host, settings.port).close()  # a shared bind alone would join another gateway of the same user
        held = bind(settings.host, settings.port, shared=True)
    except OSError as exc:
        return not_free(settings, exc)
    with held:
        try:
            config = load_config(settings)
            if not has_callable(config):
                fleet = spawn(FLEET)
        except (ConfigInvalid, DemoFailed) as exc:
            return not_started(exc)
        try:
            options = [f"--host={settings.host}", f"--port={held.getsockname()[1]}", f"--config={settings.config_dir}"]
            environment = {**os.environ, "MOE_STORE_URL": settings.store_url, **hand_down(fleet)}
            command = [sys.executable, "-m", "gateway.cli", "serve", *options]
            return Workers(command, environment, settings.workers, config.policy.admission.drain_s).run()
        finally:
            stop_fleet(fleet)


def not_started(exc: ConfigInvalid | DemoFailed) -> int:
    """Say what keeps the gateway from starting; returns the exit code."""
    if isinstance(exc, ConfigInvalid):
        print(exc, file=sys.stderr)
        return 2
    print(f"the demo providers did not start: {exc}", file=sys.stderr)
    return 1


def not_free(settings: Settings, exc: OSError) -> int:
    """Say that the address cannot be had; returns the exit code."""
    print(f"cannot listen on {settings.host}:{settings.port}: {exc.strerror}", file=sys.stderr)
    return 1


def listen(settings: Settings) -> socket.socket:
    """Return a socket on the settings' address; raises OSError when it is taken. A worker listens only when ready."""
    worker = WORKER in os.environ
    bound = bind(settings.host, settings.port, shared=worker)
    if not worker:
        bound.listen(2048)
    return bound
