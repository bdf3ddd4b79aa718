"""What can go wrong between the gateway and a provider's HTTP server. No message names an address or a secret."""

from __future__ import annotations


class Http1Error(Exception):
    """Any of these."""


class CannotConnect(Http1Error):
    """There is no connection: surely nothing of the request was seen."""


class ConnectTimeout(CannotConnect):
    """There was no connection within the time allowed for one."""


class NameNotResolved(CannotConnect):
    """The host's name has no address."""


class TlsFailed(CannotConnect):
    """The TLS handshake failed, or the certificate is not trusted."""


class ProxyRefused(CannotConnect):
    """The outgoing proxy did not let the call through."""


class InvalidAddress(CannotConnect):
    """The address is no http or https URL."""


class InvalidHeader(CannotConnect):
    """A header of the request would end early and begin another."""


class Disconnected(Http1Error):
    """The connection was closed before the head of the answer had come.

    ``received`` counts the bytes that had come of it: with none, the request may not have been read either.
    """

    def __init__(self, received: int = 0) -> None:
        """Keep the count."""
        super().__init__()
        self.received = received


class CutShort(Http1Error):
    """The connection was closed before the body of the answer had ended."""


class Malformed(Http1Error):
    """What came is not HTTP, or larger than a head may be."""
