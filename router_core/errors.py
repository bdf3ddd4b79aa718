"""What can go wrong inside the routing domain, named by whose fault it is.

RouterError
├── ConfigError            the operator's: a value in the registry or the policy cannot be
├── RequestError           the client's: the request asks for something that cannot be
│   ├── UnknownModel       no alias, route, model or deployment has this name
│   └── ForbiddenModel     the name exists, the key may not use it
├── NoCandidate            nobody's: every deployment was refused, each with its rule
└── AttemptFailed          the provider's: carries a ``Failure``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router_core.decision import Decision
    from router_core.outcome import Failure

__all__ = [
    "AttemptFailed",
    "ConfigError",
    "ForbiddenModel",
    "NoCandidate",
    "RequestError",
    "RouterError",
    "UnknownModel",
]


class RouterError(Exception):
    """Root of everything this package raises on purpose."""


class ConfigError(RouterError):
    """A value the operator wrote cannot be; the message names the key and what is allowed."""


class RequestError(RouterError):
    """The request asks for something that cannot be; ``param`` names the field."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        """Keep the client-facing message and the field it is about."""
        super().__init__(message)
        self.message = message
        self.param = param


class UnknownModel(RequestError):
    """No alias, route, model or deployment has the requested name."""


class ForbiddenModel(RequestError):
    """The requested name exists, but the caller's key may not use it."""


class NoCandidate(RouterError):
    """Every deployment was refused; ``decision.rejections`` has the rule of each."""

    def __init__(self, decision: Decision) -> None:
        """Keep the decision: the caller explains the refusal from it."""
        super().__init__("no deployment can serve this request")
        self.decision = decision


class AttemptFailed(RouterError):
    """One call to one deployment failed; ``failure`` says how."""

    def __init__(self, failure: Failure) -> None:
        """Keep the failure value: the retry policy and the breaker judge by it."""
        super().__init__(f"{failure.kind}: {failure.message}")
        self.failure = failure
