"""What the transport raises -> ``Failure``. One table, asked from top to bottom; no message names an address."""

from __future__ import annotations

from typing import Final

from gateway.forward.http1 import errors
from router_core.outcome import Failure, FailureKind

K = FailureKind
Row = tuple[type[BaseException], FailureKind, str, bool]

_BEFORE: Final[tuple[Row, ...]] = (
    (errors.ConnectTimeout, K.CONNECT, "no connection to the provider within the time allowed", False),
    (errors.TlsFailed, K.CONNECT, "the TLS handshake with the provider failed", False),
    (errors.NameNotResolved, K.CONNECT, "the provider's name does not resolve", False),
    (errors.ProxyRefused, K.CONNECT, "the outgoing proxy refused the connection", False),
    (errors.InvalidAddress, K.CONNECT, "the provider's address is not a URL", False),
    (errors.InvalidHeader, K.CONNECT, "a header for the provider cannot be sent", False),
    (errors.CannotConnect, K.CONNECT, "the provider refused the connection", False),
    (TimeoutError, K.TIMEOUT, "the provider did not answer in time", True),
    (errors.Disconnected, K.CONNECT, "the provider closed the connection before it answered", True),
)
_ANSWERING: Final[tuple[Row, ...]] = (
    (TimeoutError, K.TIMEOUT, "the provider stopped in the middle of its answer", True),
    (errors.CutShort, K.PROTOCOL, "the provider's answer was cut short", True),
)
_NOT_HTTP: Final = "the provider's answer is not HTTP as it should be"


def from_exception(exc: BaseException, *, answering: bool = False) -> Failure:
    """Judge what the transport raised. ``answering`` says that the answer's head had already come.

    ``sent`` is False where the provider surely saw nothing of the request.
    """
    for raised, kind, message, sent in _ANSWERING if answering else _BEFORE:
        if isinstance(exc, raised):
            return Failure(kind, message, sent=sent)
    return Failure(K.PROTOCOL, _NOT_HTTP)
