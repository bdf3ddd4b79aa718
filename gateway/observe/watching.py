"""What watches a gateway, put together from its settings: observer, request log, traces, webhook."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.clock import SYSTEM
from gateway.observe.logs import RequestLog
from gateway.observe.observer import Listener, Observer
from gateway.observe.tracing import Tracing, from_environment

if TYPE_CHECKING:
    from gateway.observe.webhook import Webhook

BOOT: Final = "GATEWAY_BOOT"
"""Set by whoever starts several workers, to ``SECONDS.NAME``."""

_BOOT_NAME: Final = re.compile(r"[0-9]{1,12}(\.[A-Za-z0-9_-]{1,64})?")
_log = logging.getLogger("gateway.observe")


class Address(Protocol):
    """A webhook's URL, which may hold a token and is therefore a ``Secret``."""

    def reveal(self) -> str:
        """Return the URL."""
        ...


class Watching:
    """The observer of one worker and what it tells. ``warnings`` are sentences for the operator."""

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        webhook_url: Address | None = None,
        boot: str = "",
        now: Callable[[], float] = SYSTEM.time,
    ) -> None:
        """Build everything; a webhook that may not be called is left out with a warning.

        ``boot`` names the start for Prometheus' counters; workers of one gateway find it in ``GATEWAY_BOOT``.
        """
        self.warnings: list[str] = []
        self.webhook = self._webhook(webhook_url)
        self.tracing: Tracing | None = from_environment(env)
        listeners: list[Listener] = [RequestLog()]
        if self.tracing is not None:
            listeners.append(self.tracing)
        given = boot or env.get(BOOT, "")
        named = given if _BOOT_NAME.fullmatch(given) else ""
        self.observer = Observer(now=now, boot=named, listeners=listeners, alert=self.tell, on_error=self._broken)
        self._told_of_errors = False

    def start(self) -> None:
        """Begin to deliver, on the running loop."""
        if self.webhook is not None:
            self.webhook.start()

    async def stop(self) -> None:
        """End delivery and export the last spans."""
        if self.webhook is not None:
            await self.webhook.stop()
        if self.tracing is not None:
            self.tracing.stop()
        self.observer.close()

    def tell(self, kind: str, data: Mapping[str, Any]) -> None:
        """Log an event and send it to the webhook: an anomaly, an opened circuit."""
        _log.warning("%s", kind, extra={"fields": dict(data)})
        if self.webhook is not None:
            self.webhook.tell(kind, data)

    def _webhook(self, url: Address | None) -> Webhook | None:
        if url is None:
            return None
        from gateway.observe.webhook import Webhook  # noqa: PLC0415 - it brings an HTTP client, which few need

        try:
            return Webhook(url.reveal())
        except ValueError as exc:
            self.warnings.append(str(exc))
            return None

    def _broken(self, exc: Exception) -> None:
        if not self._told_of_errors:
            self._told_of_errors = True
            _log.error("something that watches failed; told once", exc_info=exc)
