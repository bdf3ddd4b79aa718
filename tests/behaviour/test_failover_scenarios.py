"""The sixteen public failover scenarios and some more, a tenth of their times, in each mode of stream recovery."""

from __future__ import annotations

import pytest

from bench.failover.__main__ import run
from bench.failover.scenarios import SCENARIOS
from bench.failover.setup import FAST_SCALE

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

# What a gateway that has relayed words can do about a broken stream in the mode ``error`` is to say so. An event that
# is no JSON is skipped there; where the provider's own count shows that its word is lost (X10), that is said too.
ERROR_MODE = dict.fromkeys(("S08", "S09", "S14", "X08", "X09", "X10", "X11", "X12", "X13"), "safe")


@pytest.mark.parametrize("mode", ["error", "continue", "buffer"])
async def test_the_scenarios(mode: str):
    results = await run(SCENARIOS, mode, FAST_SCALE, ("openai", "openai"))
    best = {scenario.id: "pass" for scenario in SCENARIOS} | (ERROR_MODE if mode == "error" else {})
    assert {result.id: result.verdict for result in results} == best, [r.notes for r in results if r.verdict != "pass"]
