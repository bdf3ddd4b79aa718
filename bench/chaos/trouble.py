"""The trouble: every few seconds some providers get a random fault for a while, and sometimes none has any."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import aiohttp

from gateway.demo.fleet import DemoProvider

# A fault and its options. Malformed events in the place of good ones are left out: a stream with one word less is
# delivered by the default mode and marked, as documented, and would count here as wrong text.
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "reset"},
    {"kind": "close"},
    {"kind": "not_http"},
    {"kind": "hang"},
    {"kind": "headers_then_nothing"},
    {"kind": "server_error"},
    {"kind": "unavailable"},
    {"kind": "unavailable", "retry_after": 1},
    {"kind": "overloaded"},
    {"kind": "rate_limit"},
    {"kind": "rate_limit", "retry_after": 1},
    {"kind": "html"},
    {"kind": "html", "status": 200},
    {"kind": "error_object_200"},
    {"kind": "empty_body"},
    {"kind": "truncated_json"},
    {"kind": "short_body"},
    {"kind": "slow_first_token", "seconds": 6},
    {"kind": "role_then_silence"},
    {"kind": "keepalive_forever"},
    {"kind": "hang_after", "after": 20},
    {"kind": "reset_after", "after": 20},
    {"kind": "cut_after", "after": 30},
    {"kind": "clean_end_after", "after": 10},
    {"kind": "error_event_first"},
    {"kind": "error_event_after", "after": 15},
    {"kind": "malformed_event", "after": 12, "insert": True},
    {"kind": "redirect"},
    {"kind": "leak_headers"},
    {"kind": "no_usage"},
)


class Trouble:
    """Switches faults on and off at the providers until it is stopped.

    ``health`` says from which monotonic second on which providers had no fault.
    """

    def __init__(self, providers: list[DemoProvider], seed: int, every_s: float) -> None:
        self.providers = providers
        self.every_s = every_s
        self.dice = random.Random(seed)
        self.switched = 0
        self.health: list[tuple[float, tuple[bool, ...]]] = []

    async def run(self, session: aiohttp.ClientSession, seconds: float) -> None:
        """Make trouble for ``seconds``; at the end all providers are well."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            chosen = [self._rules() for _ in self.providers]
            # Well from now on is only who is left alone; a fault that ends may still be at work in open calls.
            self.health.append((time.monotonic(), tuple(not rules for rules in chosen)))
            for provider, rules in zip(self.providers, chosen, strict=True):
                await session.delete(provider.origin + "/_control/faults")
                await session.post(provider.origin + "/_control/faults", json=rules)
                self.switched += len(rules)
            await asyncio.sleep(min(self.every_s, max(0.0, end - time.monotonic())))
        for provider in self.providers:
            await session.delete(provider.origin + "/_control/faults")

    def _rules(self) -> list[dict[str, Any]]:
        mood = self.dice.random()
        if mood < 0.45:
            return []
        chosen = self.dice.sample(FAULTS, self.dice.choice((1, 2, 3)))
        probability = 1.0 if mood > 0.9 else self.dice.choice((0.05, 0.2, 0.5))
        return [{**rule, "times": None, "probability": probability} for rule in chosen]
