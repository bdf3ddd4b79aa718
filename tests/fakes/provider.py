"""A loopback provider for tests: the demo provider's server, in the test's own event loop, with its knobs at hand."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from gateway.demo.answer import AnswerSettings
from gateway.demo.control import add_faults
from gateway.demo.records import Recorded
from gateway.demo.server import DemoServer

_BASE_PATH = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}


class FakeProvider:
    """An async context manager around one provider on a free loopback port.

    ``base_url`` is what a client of that wire is given (with ``/v1`` on OpenAI's wire and ``/v1beta`` on Gemini's,
    bare on Anthropic's, as litellm expects them). A test's faults and answers are set by ``fail`` and ``answer``.
    """

    def __init__(
        self, wire: str = "openai", *, name: str = "fake", models: Sequence[str] = (), seed: int = 0, port: int = 0
    ) -> None:
        self.server = DemoServer(wire, name, tuple(models), seed)
        self.wire = wire
        self.port = port
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        """Start listening."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop at once, open streams included."""
        await self.stop()

    async def start(self) -> None:
        """Listen on ``port`` (0: any free one). A stopped provider can be started again on its old port."""
        runner = web.ServerRunner(self.server.http_server(), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        self._runner = runner

    async def stop(self) -> None:
        """Close the port and every connection: from now on it refuses."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """The base URL a client of this wire is given."""
        return self.origin + _BASE_PATH[self.wire]

    @property
    def requests(self) -> list[Recorded]:
        """The calls so far, oldest first."""
        return list(self.server.recorder.rows)

    @property
    def active(self) -> int:
        """The number of calls being answered right now."""
        return self.server.recorder.active

    def fail(self, kind: str, times: int | None = 1, **options: Any) -> None:
        """Append a fault rule (``gateway.demo.faults.FaultRule``); ``times=None`` is for ever.

        Raises ``ValueError`` for a kind or option there is not.
        """
        add_faults(self.server, [{"kind": kind, "times": times, **options}])

    def answer(self, text: str | None = None, **settings: Any) -> None:
        """Fix the answer (``gateway.demo.answer.AnswerSettings``). Raises ``ValueError`` for an unknown setting."""
        self.server.configure(AnswerSettings.of({"text": text, **settings}))

    def reset(self) -> None:
        """Forget faults, settings and records."""
        self.server.reset()
