"""One worker of ``moe-gateway serve``: the process that answers, alone or as one of several."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from gateway.app import build, load_with_demo, start, stop
from gateway.cli.banner import banner
from gateway.config.settings import Settings
from gateway.http.accepting import Acceptor
from gateway.http.asgi import GatewayApp
from gateway.http.server import guarded
from gateway.memory import collector_rests, settle
from gateway.observe.logs import Logs
from gateway.services import Services
from gateway.state import connect_store
from gateway.workers import WORKER, end_with_parent


def run_worker(settings: Settings, listener: socket.socket) -> int:
    """Answer on an open socket until told to stop; returns the exit code. Raises ConfigInvalid and DemoFailed."""
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
    """Serve with the fastest event loop there is."""
    factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(serve(settings, listener))


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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on sockets that are open."""
        make: Any = self.config.http_protocol_class
        protocol = partial(make, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        acceptors: Any = [Acceptor(listener, protocol, self.config.backlog) for listener in sockets or ()]
        self.servers = acceptors
        self.started = True

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
