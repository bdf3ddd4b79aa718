"""``moe-gateway serve``: listen and answer until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn

from gateway.app import build, has_callable, load_config, load_with_demo, start, stop
from gateway.cli.banner import banner
from gateway.config.problems import ConfigInvalid
from gateway.config.settings import VARIABLES, Settings, check_bind
from gateway.demo.fleet import FLEET, DemoFailed, DemoProvider, hand_down, spawn, stop_fleet
from gateway.http.asgi import GatewayApp
from gateway.http.server import guarded
from gateway.memory import collector_rests, settle
from gateway.observe.logs import Logs
from gateway.services import Services
from gateway.state import connect_store
from gateway.workers import WORKER, Workers, bind, end_with_parent

_log = logging.getLogger("gateway")


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
    logs = Logs(level=settings.log_level, form=settings.log_format)
    logs.start()
    for noisy in ("LiteLLM", "httpx", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        with listener:
            return run_loop(settings, listener)
    finally:
        logs.stop()


def run_loop(settings: Settings, listener: socket.socket) -> int:
    """Serve on an open socket with the fastest event loop there is."""
    factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(serve(settings, listener))
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


async def serve(settings: Settings, listener: socket.socket) -> int:
    """Build, start, listen; on SIGTERM or SIGINT drain and flush."""
    with collector_rests():
        config, fleet = await load_with_demo(settings)
        warnings: list[str] = []
        services = build(settings, config, fleet, await connect_store(settings.store_url, warn=warnings.append))
        services.warnings.extend(warnings)
        app = GatewayApp(services)
        server = Server(services, app)
    if WORKER in os.environ:
        end_with_parent()
    try:
        with collector_rests():
            await start(services)
        settle()
        services.watcher.install_sighup()
        port = listener.getsockname()[1]
        if os.environ.get(WORKER, "0") == "0":
            print(banner(services, port), flush=True)
        await server.serve(sockets=[listener])
    finally:
        await stop(services)
    return 0


class Server(uvicorn.Server):
    """uvicorn with our way of stopping: not ready at once, streams finish, then error events, then the end."""

    def __init__(self, services: Services, app: GatewayApp) -> None:
        """Configure uvicorn for many slow clients and long streams."""
        admission = services.config.current.policy.admission
        self._services = services
        self._app = app
        config = uvicorn.Config(
            app,
            http=guarded(lambda: services.config.current.policy.limits),
            proxy_headers=False,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(admission.drain_s) + 3,
            backlog=2048,
        )
        super().__init__(config)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal ends at once."""
        del sig, frame
        if not self._services.admission.draining:
            self._services.admission.draining = True
            drain_s = self._services.config.current.policy.admission.drain_s
            self._expel = asyncio.get_running_loop().call_later(drain_s, self._end_streams)
        # Not uvicorn's own: it raises the signal again when it is done, which would end us before anything is flushed.
        self.force_exit = self.should_exit
        self.should_exit = True

    def _end_streams(self) -> None:
        """End what is still open with an error event."""
        self._services.admission.expelled = True
        for task in list(self._app.chat.tasks):
            task.cancel()
