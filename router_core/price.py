"""What tokens cost, and what they cost once a prompt is long."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from router_core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LongPrice:
    """What every token of a call costs, its answer's too, once its prompt has more than ``above`` tokens.

    USD per million tokens; ``cached_input`` and ``cache_write`` default to the input price, ``reasoning`` to output.
    """

    above: int
    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None

    def __post_init__(self) -> None:
        """Refuse a size below one token, and negative or non-finite prices."""
        if self.above < 1:
            msg = f"above must be at least 1 token, not {self.above!r}"
            raise ConfigError(msg)
        _check_prices(self)


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens of each kind; ``cached_input`` and ``cache_write`` default to the input price.

    ``long`` holds the prices of longer prompts, the shortest first. ``version`` changes whenever a number does; ledger
    rows name it. ``source`` is where the numbers were read.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None
    request_usd: float = 0.0
    source: str = ""
    checked: str = ""
    version: str = ""
    long: tuple[LongPrice, ...] = ()

    def __post_init__(self) -> None:
        """Refuse negative or non-finite prices, and longer prompts that do not come in order."""
        _check_prices(self)
        if not 0.0 <= self.request_usd < float("inf"):
            msg = f"price request_usd must be a finite number >= 0, not {self.request_usd!r}"
            raise ConfigError(msg)
        if any(left.above >= right.above for left, right in pairwise(self.long)):
            msg = "long must name larger and larger prompts"
            raise ConfigError(msg)

    def of(self, prompt_tokens: int) -> Price | LongPrice:
        """Return the prices of a call whose prompt has so many tokens, cached ones included."""
        found: Price | LongPrice = self
        for step in self.long:
            if prompt_tokens > step.above:
                found = step
        return found


def _check_prices(price: Price | LongPrice) -> None:
    for name in ("input", "output", "cached_input", "cache_write", "reasoning"):
        value = getattr(price, name)
        if value is not None and not 0.0 <= value < float("inf"):
            msg = f"price {name} must be a finite number >= 0, not {value!r}"
            raise ConfigError(msg)


PerToken = tuple[float, float, float, float]
"""USD per token of input, of cached input and of output (the dearer of answer and reasoning), and USD per request."""


class Rates(NamedTuple):
    """A price as the decision's inner loop reads it; ``dearest`` is USD per token of the dearest kind of input."""

    per_token: PerToken
    dearest: float
    above: int = 0


def rates_of(price: Price) -> tuple[Rates, ...]:
    """Return a price's rates, then those of longer prompts."""
    found: list[Rates] = []
    steps: tuple[Price | LongPrice, ...] = (price, *price.long)
    for step in steps:
        cached = step.input if step.cached_input is None else step.cached_input
        write = 0.0 if step.cache_write is None else step.cache_write
        thinking = step.output if step.reasoning is None else step.reasoning
        per_token = (step.input * 1e-6, cached * 1e-6, max(step.output, thinking) * 1e-6, price.request_usd)
        above = step.above if isinstance(step, LongPrice) else 0
        found.append(Rates(per_token, max(per_token[0], per_token[1], write * 1e-6), above))
    return tuple(found)
