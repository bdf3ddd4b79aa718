"""The forwarder: picks the lane, fetches the key, carries the call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Final

from gateway.forward import relay, translate
from gateway.forward.exceptions import from_exception
from gateway.forward.failures import failed
from gateway.forward.http1.errors import InvalidAddress
from gateway.forward.http1.target import target
from gateway.forward.litellm_door import Door, is_open, open_door
from gateway.forward.translate import Translator
from gateway.forward.transport import Transport
from gateway.forward.warming import warm_up
from gateway.forward.wire_anthropic import AnthropicTranslator
from gateway.forward.wire_cohere import CohereTranslator
from gateway.forward.wire_gemini import GeminiTranslator
from gateway.forward.wire_openai_like import OpenAILikeTranslator
from gateway.forward.wires import Shape, Wire, base_of, lane_of, wire_of
from gateway.secrets import Secret
from router_core.deployment import Deployment, Lane, Provider
from router_core.errors import AttemptFailed, ConfigError
from router_core.outcome import FailureKind
from router_core.ports import Answer, Call, Stream

_DIAL_S: Final = 5.0
_MAKERS: Final[dict[Shape, Callable[[Door, Wire], Translator]]] = {
    Shape.OPENAI: OpenAILikeTranslator,
    Shape.ANTHROPIC: lambda door, _: AnthropicTranslator(door),
    Shape.GEMINI: lambda door, wire: GeminiTranslator(door, vertex=wire.name == "vertex_ai"),
    Shape.COHERE: lambda door, _: CohereTranslator(door),
}


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
        self._translators: dict[str, Translator] = {}
        self._warm = False
        self._called_litellm = False

    async def open(self) -> None:
        """Make the connection pool. Safe to call twice."""
        await self._transport.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()
        if self._called_litellm:
            from gateway.forward import acompletion

            await acompletion.close(await open_door())

    @property
    def litellm_ready(self) -> bool:
        """Whether litellm is imported and its first-call costs are paid."""
        return self._warm

    async def warm(self, providers: Iterable[Provider] = ()) -> bool:
        """Import litellm in a thread and translate one call for each wire of ``providers`` (all wires when empty).

        Takes seconds, off the loop; returns True when done. Nothing is sent. Not needed when no provider
        ``needs_litellm``; a translated call that comes earlier waits for the import alone.
        """
        door = await open_door()
        wanted = [provider.wire for provider in providers if needs_litellm(provider)]
        await asyncio.to_thread(warm_up, door, wanted, self._translator)
        self._warm = True
        return True

    async def dial(self, deployments: Iterable[tuple[Provider, Deployment]]) -> None:
        """Open a connection to each address that speaks TLS, so that no request waits for its handshakes. Never raises.

        Without TLS a connection costs next to nothing; litellm's own calls have connections of their own.
        """
        secure = {}
        for provider, deployment in deployments:
            with contextlib.suppress(ConfigError, InvalidAddress):
                address = target(base_of(provider, deployment))
                tls, _, _ = address.origin
                if tls and lane_of(provider) is not Lane.ACOMPLETION:
                    secure[address.origin] = address
        await asyncio.gather(*(self._transport.dial(address, connect_s=_DIAL_S) for address in secure.values()))

    async def send(self, call: Call) -> Answer | Stream:
        """Make one call. Raises ``AttemptFailed``. Cancelling closes the upstream socket at once."""
        reference = call.deployment.key_ref or call.provider.key_ref
        secret = self._secrets(reference) if reference else None
        if reference and not secret:
            raise failed(FailureKind.AUTH, "there is no key for this provider", sent=False)
        key = secret.reveal() if secret else None
        try:
            lane = lane_of(call.provider)
            if lane is Lane.RELAY:
                return await relay.send(self._transport, call, key)
            return await self._by_litellm(call, key, lane)
        except ConfigError as exc:
            raise failed(FailureKind.NOT_FOUND, str(exc), sent=False) from exc
        except InvalidAddress as exc:
            raise AttemptFailed(from_exception(exc)) from exc

    async def _by_litellm(self, call: Call, key: str | None, lane: Lane) -> Answer | Stream:
        door = await open_door()
        if lane is Lane.TRANSLATE:
            translator = self._translator(door, wire_of(call.provider.wire))
            return await translate.send(self._transport, translator, call, key)
        from gateway.forward import acompletion

        self._called_litellm = True
        return await acompletion.send(door, call, key)

    def _translator(self, door: Door, wire: Wire) -> Translator:
        found = self._translators.get(wire.name)
        if found is None:
            maker = _MAKERS.get(wire.shape)
            if maker is None:
                msg = f"wire {wire.name!r} has no translation; its lane is acompletion"
                raise ConfigError(msg)
            found = self._translators[wire.name] = maker(door, wire)
        return found


__all__ = ["HttpForwarder", "is_open", "needs_litellm"]
