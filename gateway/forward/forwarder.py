"""The forwarder: picks the lane, fetches the key, carries the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from gateway.forward import relay
from gateway.forward.failures import failed
from gateway.forward.transport import Transport
from gateway.forward.wires import lane_of
from gateway.secrets import Secret
from router_core.deployment import Lane, Provider
from router_core.errors import ConfigError
from router_core.outcome import FailureKind
from router_core.ports import Answer, Call, Stream


def needs_litellm(provider: Provider) -> bool:
    """Say whether calls to a provider need litellm's knowledge; relayed ones do not."""
    return lane_of(provider) is not Lane.RELAY


class HttpForwarder:
    """Carries calls over HTTP; the port ``Forwarder`` of the routing domain.

    ``secrets`` gives the secret of a name, or None. ``trust_env`` obeys proxy variables, ``ca_file`` names certificate
    authorities to trust (PEM). Open it in the loop it will run in, close it there.
    """

    def __init__(
        self, *, secrets: Callable[[str], Secret | None], trust_env: bool = False, ca_file: str | None = None
    ) -> None:
        self._secrets = secrets
        self._transport = Transport(trust_env=trust_env, ca_file=ca_file)
        self._ready = asyncio.Event()

    async def open(self) -> None:
        """Make the connection pool. Safe to call twice."""
        await self._transport.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    @property
    def litellm_ready(self) -> bool:
        """Whether litellm is imported and its first-call costs are paid."""
        return self._ready.is_set()

    async def send(self, call: Call) -> Answer | Stream:
        """Make one call. Raises ``AttemptFailed``. Cancelling closes the upstream socket at once."""
        reference = call.deployment.key_ref or call.provider.key_ref
        secret = self._secrets(reference) if reference else None
        if reference and not secret:
            raise failed(FailureKind.AUTH, "there is no key for this provider", sent=False)
        key = secret.reveal() if secret else None
        try:
            return await self._lane(call, key)
        except ConfigError as exc:
            raise failed(FailureKind.NOT_FOUND, str(exc), sent=False) from exc

    async def _lane(self, call: Call, key: str | None) -> Answer | Stream:
        match lane_of(call.provider):
            case Lane.RELAY:
                return await relay.send(self._transport, call, key)
            case _:
                msg = f"wire {call.provider.wire!r} is not supported yet"
                raise ConfigError(msg)

    async def warm(self, providers: Iterable[Provider] = ()) -> bool:
        """Import litellm in a thread and pay first-call costs; returns whether it is ready."""
        del providers
        return self.litellm_ready
